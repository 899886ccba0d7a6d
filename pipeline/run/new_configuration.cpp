#include "pipeline/run/new_configuration.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "pipeline/input/config.hpp"
#include "pipeline/input/dataset.hpp"
#include "pipeline/run/asked_prompts.hpp"
#include "pipeline/run/found_checkpoints.hpp"
#include "pipeline/run/job_builder.hpp"
#include "pipeline/run/run_plan.hpp"
#include "results/reserved_names.hpp"

namespace factflow {
namespace {

constexpr size_t kLongestName = 80, kCommitDigits = 40;
constexpr int kWindows[] = {1, 5, 9};  // sizes of the paper's sweeps
constexpr int kHeatmapWindow = 5;
constexpr int kFewestToDivide = 3;  // a third of them is `slow`

// What can be asked of some of the models, so that a line asks it.
struct Wishes {
  int layers = 0;         // of the shallowest
  bool channels = false;  // slow and fast ones
  bool paths = false;     // attention beside a recurrent state
};

struct Candidate {
  std::string name, source;
  std::string words = {};    // what it is
  std::string refusal = {};  // why it cannot be asked
  Wishes wishes = {};
};

bool is_allowed(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

// The last part of the path that says something: of a snapshot in the hub's cache, the model.
std::string last_part(const std::string& source) {
  std::filesystem::path path = source;
  if (path.filename().empty()) path = path.parent_path();
  const std::string commit = path.filename().string();
  if (commit.size() == kCommitDigits && path.parent_path().filename() == "snapshots") {
    const std::string folder = path.parent_path().parent_path().filename().string();
    return folder.substr(folder.rfind("--") == std::string::npos ? 0 : folder.rfind("--") + 2);
  }
  return commit.substr(0, source.starts_with("hf:") ? commit.find('@') : commit.npos);
}

// A name that a configuration allows and no other model has.
std::string new_name(const std::string& source, std::set<std::string>& taken) {
  std::string name = last_part(source);
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !is_allowed(c); }, '-');
  name.erase(0, std::min(name.find_first_not_of("._-"), name.size()));
  name.resize(std::min(name.size(), kLongestName));
  static const std::set<std::string> kWords = {"", "all", "self", "none"};
  if (kWords.contains(name) || is_reserved_group(name)) name = "model-" + name;
  std::string free = name;
  for (int i = 2; !taken.insert(free).second; ++i) free = fmt::format("{}-{}", name, i);
  return free;
}

std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? "''" : std::string(1, c);
  return out + "'";
}

bool can_be_written(const std::string& text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

std::string model_line(const Candidate& model) {
  return fmt::format("  - {{name: {}, path: {}}}", model.name, quoted(model.source));
}

std::string models_section(const std::vector<Candidate>& asked,
                           const std::vector<Candidate>& left_out) {
  std::string text = "models:\n";
  for (const Candidate& model : asked) {
    text += model_line(model);
    text += model.words.empty() ? "\n" : fmt::format("   # {}\n", model.words);
  }
  if (left_out.empty()) return text;
  text += "# Left out, since this cannot be asked of them:\n";
  for (const Candidate& model : left_out)
    text += fmt::format("#  {}\n#    {}\n",
                        can_be_written(model.source) ? model_line(model) : in_quotes(model.source),
                        model.refusal);
  return text;
}

std::string windows_for(int layers) {
  std::vector<std::string> sizes;
  for (const int size : kWindows)
    if (size <= layers) sizes.push_back(std::to_string(size));
  return join(sizes);
}

// All that follows the models.
std::string questions(const Wishes& wishes) {
  std::string text = fmt::format(
      "# The prompts that count. all: those that every model here gets right; self: for each "
      "model, "
      "those that it gets\n"
      "# right itself; none: every prompt. The run says how many each model gets right, and how "
      "many "
      "it costs the others.\n"
      "select: {{correct_for: all}}\n\n"
      "# Knockouts: a window of so many layers, at every place, in which `to` cannot read `from`. "
      "factflow ls roles names the tokens.\n"
      "sweep:\n"
      "  windows: {{sizes: [{}], placement: fit}}\n"
      "  knockouts:\n"
      "    - {{from: [subject, relation, last, first], to: last}}\n",
      windows_for(wishes.layers));
  if (wishes.channels)
    text +=
        "    - {from: subject, to: last, channels: [slow, fast]}   # thirds of the channels by "
        "their "
        "decay, where a model has one\n";
  if (wishes.paths)
    text +=
        "    - {from: subject, to: last, path: [attention, recurrent]}   # of models that have "
        "both\n";
  text += fmt::format(
      "\n# Each single token -> last, in windows of {} layers, for the first prompts that count.\n"
      "heatmaps: {{window: {}, prompts: 8}}\n\n"
      "# Other questions have sections of their own (factflow ls kinds). Where the subject's "
      "values "
      "bring the answer back:\n"
      "# trace: {{prompts: 20, directions: [restore]}}\n\n"
      "# auto: a GPU for each rank, else the CPU. On a GPU, precision: tf32x3 is two to three "
      "times "
      "as fast and nearly as exact.\n"
      "run: {{device: auto, precision: fp32}}\n",
      std::min(kHeatmapWindow, wishes.layers), std::min(kHeatmapWindow, wishes.layers));
  return text;
}

std::string head(const NewConfiguration& wanted) {
  return fmt::format(
      "# Written by factflow init. factflow run --help explains every key.\n"
      "#   factflow validate FILE   checks all that can be checked before a run\n"
      "#   factflow plan FILE       says how long it takes\n"
      "#   factflow run FILE        runs it, or continues it; then factflow analyse runs/{}\n"
      "name: {}   # results in runs/{}\n\n"
      "dataset:\n  path: {}\n{}\n",
      wanted.name, quoted(wanted.name), wanted.name, quoted(wanted.dataset),
      wanted.limit > 0
          ? fmt::format("  limit: {}   # the first ones; leave it out for all\n", wanted.limit)
          : "  # limit: 200   # only the first ones, for a quick look\n");
}

std::string whole(const NewConfiguration& wanted, const std::vector<Candidate>& asked,
                  const std::vector<Candidate>& left_out) {
  Wishes together = asked.front().wishes;
  for (const Candidate& model : asked) {
    together.layers = std::min(together.layers, model.wishes.layers);
    together.channels |= model.wishes.channels;
    together.paths |= model.wishes.paths;
  }
  return head(wanted) + models_section(asked, left_out) + "\n" + questions(together);
}

Wishes wishes_of(const Architecture& architecture) {
  return {architecture.layers, architecture.channels() >= kFewestToDivide,
          architecture.has(Path::kAttention) && architecture.has(Path::kRecurrent)};
}

// What validate would say of a configuration with this model alone.
void look_at(Candidate& model, const NewConfiguration& wanted, const std::vector<Prompt>& prompts) {
  try {
    if (!can_be_written(model.source))
      throw InputError(in_quotes(model.source), "has a control character in its name", "rename it");
    model.words = checkpoint_in_words(model.source);
    // First without questions: they depend on what the model has.
    const Config alone = parse_config(head(wanted) + models_section({model}, {}), wanted.file);
    model.wishes =
        wishes_of(build_job(alone, prompts, Completeness::kWhole).models[0].architecture);
    build_job(parse_config(whole(wanted, {model}, {}), wanted.file), prompts, Completeness::kWhole);
  } catch (const Error& error) {
    model.refusal = error.what();
    std::replace(model.refusal.begin(), model.refusal.end(), '\n', ' ');
  }
}

}  // namespace

WrittenConfiguration write_configuration(const NewConfiguration& wanted) {
  if (!can_be_written(wanted.dataset))
    throw InputError(in_quotes(wanted.dataset), "has a control character in its name", "rename it");
  if (!can_be_written(wanted.name))
    throw InputError("factflow init", "--name has a control character", "use letters and digits");
  // Throws for a name that a configuration does not allow.
  parse_config(fmt::format("name: {}\ndataset: {{path: x}}\nmodels: {{name: x, path: x}}\n",
                           quoted(wanted.name)),
               "factflow init");
  DatasetConfig prompts_of;
  prompts_of.path = wanted.dataset;
  prompts_of.limit = wanted.limit;
  const Dataset dataset = read_dataset(prompts_of);
  std::set<std::string> names;
  std::vector<Candidate> asked, left_out;
  for (const std::string& source : wanted.sources) {
    Candidate model{new_name(source, names), source};
    look_at(model, wanted, dataset.prompts);
    (model.refusal.empty() ? asked : left_out).push_back(std::move(model));
  }
  WrittenConfiguration written;
  written.prompts = dataset.prompts.size();
  for (const Candidate& model : asked) written.models.push_back(model.name);
  for (const Candidate& model : left_out)
    written.left_out.push_back(
        fmt::format("{}: {}", can_be_written(model.source) ? model.source : in_quotes(model.source),
                    model.refusal));
  if (asked.empty())
    throw InputError("factflow init", left_out.size() == 1
                                          ? left_out[0].refusal
                                          : fmt::format("none of {} can be asked; the first: {}",
                                                        counted(left_out.size(), "checkpoint"),
                                                        left_out[0].refusal));
  written.yaml = whole(wanted, asked, left_out);
  // All of them together, as validate does it.
  Config config = parse_config(written.yaml, wanted.file);
  const Dataset all = read_prompts(config);
  const PlannedJob planned = build_job(config, all.prompts, Completeness::kWhole);
  const RunPlan plan(config, all, planned);
  return written;
}

}  // namespace factflow
