#include "jobs/profile.hpp"

#include <algorithm>
#include <cctype>

#include "base/error.hpp"
#include "base/text.hpp"
#include "base/text_file.hpp"
#include "pipeline/input/fields.hpp"

namespace factflow {
namespace {

constexpr std::int64_t kMany = 1'000'000;
constexpr std::size_t kLargestProfile = std::size_t{1} << 20;

bool only(const std::string& text, std::string_view allowed) {
  return std::all_of(text.begin(), text.end(), [&](unsigned char c) {
    return (c < 128 && std::isalnum(c) != 0) ||
           allowed.find(static_cast<char>(c)) != std::string_view::npos;
  });
}

std::string same(const std::string& value) {
  return value;
}

// What stands behind `--option=` in the head of a script: one word, nothing that sbatch or a shell
// would take apart.
Form<std::string> option_word(const std::string& type) {
  return text_form(
      type,
      [type](const std::string& given) {
        if (!only(given, "-_.,:+*/@%&|()[]="))
          throw InputError("", "expected " + type + ", found " + in_quotes(given),
                           "write it as sbatch takes it, without spaces");
        return given;
      },
      same);
}

Form<std::string> unless_given(Form<std::string> form) {
  return word_or("default", std::string(), std::move(form));
}

Form<std::string> shell_line() {
  return text_form(
      "a line of shell",
      [](const std::string& given) {
        if (std::any_of(given.begin(), given.end(),
                        [](unsigned char c) { return c < 32 && c != '\t'; }))
          throw InputError("", "expected one line, found " + in_quotes(given),
                           "make it several items of the list");
        return given;
      },
      same);
}

Form<std::string> sbatch_option() {
  return text_form(
      "an option of sbatch",
      [](const std::string& given) {
        if (!given.starts_with("--") || !only(given, "-_.,:+*/@%&|()[]="))
          throw InputError("",
                           "expected an option like --reservation=lab, found " + in_quotes(given));
        return given;
      },
      same);
}

Form<Launcher> launcher() {
  return text_form(
      "mpirun | srun",
      [](const std::string& given) {
        if (given != "mpirun" && given != "srun")
          throw InputError("", unknown_word("launcher", given, {"mpirun", "srun"}));
        return given == "srun" ? Launcher::kSrun : Launcher::kMpirun;
      },
      [](Launcher value) { return std::string(value == Launcher::kSrun ? "srun" : "mpirun"); });
}

// A list that may be left out, shown as `none`.
Form<std::vector<std::string>> lines_of(Form<std::string> form) {
  return word_or("none", std::vector<std::string>{}, list_of(std::move(form)));
}

bool is_variable_name(const std::string& name) {
  return !name.empty() && only(name, "_") && std::isdigit(static_cast<unsigned char>(name[0])) == 0;
}

Form<std::map<std::string, std::string>> variables() {
  using Variables = std::map<std::string, std::string>;
  const auto read = [](const YamlNode& node, const Place& place) {
    if (node.kind != YamlNode::Kind::kMap) reject_type(place, node, "a mapping of names to values");
    Variables values;
    for (size_t i = 0; i < node.keys.size(); ++i) {
      if (!is_variable_name(node.keys[i]))
        reject(place.child(node.keys[i]), node.key_lines[i], "is no name of a variable");
      values[node.keys[i]] = shell_line().read(node.items[i], place.child(node.keys[i]));
    }
    return values;
  };
  const auto write = [](const Variables& values, Purpose) -> std::optional<YamlNode> {
    if (values.empty()) return std::nullopt;
    YamlNode map = YamlNode::of_map();
    for (const auto& [name, value] : values) map.put(name, YamlNode::of_text(value));
    return map;
  };
  return {"NAME: value pairs", read, write};
}

Fields<AnalysisJob> analysis_fields() {
  using A = AnalysisJob;
  return {
      field("partition", &A::partition, unless_given(option_word("a partition")),
            "default = that of the run"),
      field("time", &A::time, option_word("a time limit"), "limit of the job"),
      field("memory", &A::memory, unless_given(option_word("a size like 8G")), "memory of the job"),
      field("cpus", &A::cpus, whole_number<std::int64_t>(1, kMany), "processors of the job"),
  };
}

const Fields<SlurmProfile>& profile_fields() {
  using P = SlurmProfile;
  static const Fields<SlurmProfile> fields = {
      field("partition", &P::partition, unless_given(option_word("a partition")),
            "queue to wait in"),
      field("account", &P::account, unless_given(option_word("an account")), "who pays"),
      field("qos", &P::qos, unless_given(option_word("a quality of service")),
            "quality of service"),
      field("constraint", &P::constraint, unless_given(option_word("node features")),
            "features that the nodes must have"),
      field("time", &P::time, unless_given(option_word("a time limit")),
            "limit of each job, as DAYS-HH:MM:SS or HH:MM:SS; `plan` = twice what the rates of a "
            "device say"),
      field("rates", &P::rates, word_or("none", std::string(), shell_line()),
            "device, as `factflow plan` calls it, whose rates `time: plan` is made of"),
      field("nodes", &P::nodes, whole_number<std::int64_t>(1, kMany), "nodes of a job"),
      field("ranks_per_node", &P::ranks_per_node, whole_number<std::int64_t>(1, kMany),
            "MPI ranks on each node; one per GPU"),
      field("cpus_per_rank", &P::cpus_per_rank,
            word_or("default", std::int64_t{0}, whole_number<std::int64_t>(1, kMany)),
            "processors of each rank"),
      field("gpus_per_node", &P::gpus_per_node, whole_number<std::int64_t>(0, kMany),
            "GPUs of each node"),
      field("gpu_type", &P::gpu_type, word_or("any", std::string(), option_word("a kind of GPU")),
            "as the cluster calls it: h100"),
      field("memory", &P::memory, unless_given(option_word("a size like 64G")),
            "memory of each node; `plan` = what its ranks need"),
      field("modules", &P::modules, lines_of(option_word("a module")), "loaded before the launch"),
      field("container", &P::container, word_or("none", std::string(), shell_line()),
            "image in which apptainer starts the program"),
      field("setup", &P::setup, lines_of(shell_line()), "lines of shell before the launch"),
      field("environment", &P::environment, variables(), "variables for the run"),
      field("launcher", &P::launcher, launcher(), "what starts the ranks; srun takes --mpi=pmix"),
      field("program", &P::program, word_or("this", std::string(), shell_line()),
            "path of factflow on the nodes"),
      field("signal_lead", &P::signal_lead, whole_number<std::int64_t>(1, 65535),
            "seconds before the time limit at which the run is told to stop"),
      field("follow_ups", &P::follow_ups, whole_number<std::int64_t>(0, 100),
            "further jobs that continue an unfinished run"),
      field("requeue", &P::requeue, yes_or_no(),
            "start again after preemption or the failure of a node"),
      field("options", &P::options, lines_of(sbatch_option()), "further options of sbatch"),
      field("analysis", &P::analysis, section(analysis_fields()), ""),
  };
  return fields;
}

}  // namespace

SlurmProfile parse_profile(const std::string& yaml, const std::filesystem::path& file) {
  const YamlNode node = parse_yaml(yaml, file);
  const SlurmProfile profile = read_fields(profile_fields(), node, {file, ""});
  if (!profile.gpu_type.empty() && profile.gpus_per_node == 0)
    throw InputError(file.string(), "key gpu_type: names a kind of GPU, but gpus_per_node is 0",
                     "say how many with gpus_per_node");
  return profile;
}

SlurmProfile read_profile(const std::filesystem::path& file) {
  return parse_profile(read_text_file(file, kLargestProfile), file);
}

std::string profile_help() {
  return help_text("Keys of a profile (YAML): kind of value, default in brackets, meaning.",
                   help_of(profile_fields()));
}

}  // namespace factflow
