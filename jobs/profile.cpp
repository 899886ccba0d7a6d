#include "jobs/profile.hpp"

#include <algorithm>
#include <cctype>
#include <map>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "base/text_file.hpp"
#include "fields/fields.hpp"
#include "jobs/quantities.hpp"

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

Form<std::string> time_limit() {
  return text_form("a time limit: 4h, 04:00:00, unlimited", parse_time_limit, same);
}

Form<std::string> memory() {
  return text_form("a size like 64G", parse_memory,
                   [](const std::string& value) { return value == "0" ? "all" : value; });
}

// Options on which a run that is submitted depends, and what says them.
std::string said_by(const std::string& option) {
  static const std::map<std::string, std::string> others = {
      {"time", "say it with the key time"},
      {"mem", "say it with the key memory"},
      {"signal", "say it with the key signal_lead"},
      {"export", "say it with the keys environment and inherit"},
      {"export-file", "say it with the keys environment and inherit"},
      {"get-user-env", "say it with the keys environment and inherit"},
      {"array", "say it with factflow submit --array"},
      {"job-name", "status and submit find the jobs by it"},
      {"output", "the logs are in the run directory"},
      {"chdir", "jobs start where factflow submit does"},
      {"dependency", "follow-ups have dependencies of their own"},
      {"parsable", "factflow submit says it"},
      {"test-only", "use factflow submit --dry-run"},
      {"wait", "factflow submit does not wait for jobs"},
      {"wrap", "the script is factflow's"}};
  const std::string name = option.substr(2, option.find('=') - 2);
  for (const auto& [other, remedy] : others)  // sbatch takes any beginning of a name
    if (!name.empty() && other.starts_with(name)) return remedy;
  return "";
}

Form<std::string> sbatch_option() {
  return text_form(
      "an option of sbatch",
      [](const std::string& given) {
        if (!given.starts_with("--") || !only(given, "-_.,:+*/@%&|()[]="))
          throw InputError("",
                           "expected an option like --reservation=lab, found " + in_quotes(given));
        if (const std::string remedy = said_by(given); !remedy.empty())
          throw InputError("", in_quotes(given) + " is none of the further options", remedy);
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

Form<std::string> variable_name() {
  return text_form(
      "the name of a variable",
      [](const std::string& given) {
        if (!is_variable_name(given))
          throw InputError("", in_quotes(given) + " is no name of a variable",
                           "give it a value with the key environment");
        return given;
      },
      same);
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
      field("time", &A::time, time_limit(), "limit of the job"),
      field("memory", &A::memory, unless_given(memory()), "memory of the job"),
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
      field("time", &P::time,
            unless_given(word_or(kFromPlan, std::string(kFromPlan), time_limit())),
            "limit of each job; `plan` = twice what the rates of a device say"),
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
      field("memory", &P::memory,
            unless_given(word_or(kFromPlan, std::string(kFromPlan), memory())),
            "memory of each node; `plan` = what its ranks need, `all` = what it has"),
      field("modules", &P::modules, lines_of(option_word("a module")), "loaded before the launch"),
      field("container", &P::container, word_or("none", std::string(), shell_line()),
            "image in which apptainer starts the program"),
      field("setup", &P::setup, lines_of(shell_line()), "lines of shell before the launch"),
      field("environment", &P::environment, variables(), "variables for the run"),
      field("inherit", &P::inherit, lines_of(variable_name()),
            "variables that the run takes over from the shell that submits; it has no others"),
      field("launcher", &P::launcher, launcher(), "what starts the ranks; srun takes --mpi=pmix"),
      field("program", &P::program, word_or("this", std::string(), shell_line()),
            "path of factflow on the nodes"),
      field(
          "signal_lead", &P::signal_lead, whole_number<std::int64_t>(1, 65535),
          "seconds before the time limit at which the run is told to stop; the units in work have "
          "most of them"),
      field("follow_ups", &P::follow_ups, whole_number<std::int64_t>(0, 100),
            "further jobs that continue an unfinished run"),
      field("requeue", &P::requeue, yes_or_no(),
            "start again after preemption or the failure of a node"),
      field("options", &P::options, lines_of(sbatch_option()), "further options of sbatch"),
      field("analysis", &P::analysis, section(analysis_fields()), ""),
  };
  return fields;
}

// A job that is signalled at its start ends at once, and so do all that follow on it.
void check_lead(const SlurmProfile& profile, const YamlNode& node,
                const std::filesystem::path& file) {
  const std::optional<std::int64_t> limit = seconds_of_limit(profile.time);
  if (!limit || profile.signal_lead < *limit) return;
  const YamlNode* lead = node.find("signal_lead");
  reject({file, "signal_lead"}, (lead != nullptr ? lead : node.find("time"))->line,
         fmt::format("is {} s, and the time limit {} s: every job would be told to stop at once",
                     profile.signal_lead, *limit),
         "give the jobs more time, or a shorter warning");
}

}  // namespace

SlurmProfile parse_profile(const std::string& yaml, const std::filesystem::path& file) {
  const YamlNode node = parse_yaml(yaml, file);
  const SlurmProfile profile = read_fields(profile_fields(), node, {file, ""});
  if (!profile.gpu_type.empty() && profile.gpus_per_node == 0)
    throw InputError(file.string(), "key gpu_type: names a kind of GPU, but gpus_per_node is 0",
                     "say how many with gpus_per_node");
  check_lead(profile, node, file);
  return profile;
}

SlurmProfile read_profile(const std::filesystem::path& file) {
  return parse_profile(read_text_file(file, kLargestProfile), file);
}

std::string doubt_about(const SlurmProfile& profile) {
  constexpr std::int64_t kEarly = 60;  // sbatch(1): the signal may come so much before its time
  const std::optional<std::int64_t> limit = seconds_of_limit(profile.time);
  if (!limit || profile.signal_lead + kEarly < *limit) return "";
  return fmt::format(
      "a job of {} s is told to stop {} s before its end, and SLURM may do so a minute early: "
      "little or nothing is computed",
      *limit, profile.signal_lead);
}

std::string profile_help() {
  return help_text("Keys of a profile (YAML): kind of value, default in brackets, meaning.",
                   help_of(profile_fields()));
}

}  // namespace factflow
