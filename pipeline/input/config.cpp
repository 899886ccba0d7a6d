#include "pipeline/input/config.hpp"

#include <algorithm>
#include <limits>
#include <map>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "base/text_file.hpp"
#include "experiments/table.hpp"
#include "fields/fields.hpp"
#include "fields/plain_text.hpp"
#include "fields/yaml_setting.hpp"
#include "pipeline/input/config_paths.hpp"
#include "pipeline/input/config_values.hpp"
#include "pipeline/input/dataset.hpp"
#include "results/reserved_names.hpp"

namespace factflow {
namespace {

constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();
constexpr FieldOptions kRequired = {.required = true};
constexpr int kLargestRank = 10'000'000;

Form<std::int64_t> all_or_count() {
  return word_or("all", std::int64_t{0}, whole_number<std::int64_t>(1, kLargest));
}

Fields<DatasetConfig> dataset_fields() {
  using D = DatasetConfig;
  const auto all_relations = word_or("all", std::vector<std::string>{}, list_of(text()));
  const auto all_ids = word_or("all", std::vector<std::int64_t>{}, list_of(prompt_id()));
  return {
      field("path", &D::path, text(), "file of prompts, or a directory of Relations files",
            kRequired),
      field("format", &D::format, dataset_format(),
            "auto looks at the content; else one of " + join(dataset_format_names())),
      field("relations", &D::relations, all_relations, "keep only prompts of these relation ids"),
      field("ids", &D::ids, all_ids, "keep only the prompts with these ids"),
      field("sample", &D::sample, all_or_count(),
            "then draw that many prompts at random, and keep them in dataset order"),
      field("seed", &D::seed, whole_number<std::uint64_t>(0, kLargest), "seed of the sample"),
      field("limit", &D::limit, all_or_count(), "then keep the first N prompts"),
      field("reference_ids", &D::reference_ids, yes_or_no(),
            "record beside each id the number that the reference code gives to the prompt"),
  };
}

Fields<ModelConfig> model_fields() {
  using M = ModelConfig;
  const auto own_tokenizer = word_or("own", std::string(), text());
  return {
      field("name", &M::name, safe_name(), "group of the model in the results; unique", kRequired),
      field("path", &M::path, checkpoint_path(), "checkpoint in the Hugging Face layout",
            kRequired),
      field("tokenizer", &M::tokenizer, own_tokenizer,
            "directory or tokenizer.json; own = the one beside the checkpoint"),
      field("head", &M::head, head_choice(),
            "matrix of the logits where config.json and the tensors disagree: the input embedding, "
            "or the file's own head"),
      field("gated_norm", &M::gated_norm, gated_norm_choice(),
            "mean square of a Mamba-2's gated norm with several groups: all-channels is what "
            "transformers took up to 5.17"),
  };
}

// The words of correct_for that are rules, and therefore no names of models.
const std::map<std::string, SelectConfig::Rule>& rule_words() {
  static const std::map<std::string, SelectConfig::Rule> words = {
      {"all", SelectConfig::Rule::kAllModels},
      {"self", SelectConfig::Rule::kSelf},
      {"none", SelectConfig::Rule::kNone}};
  return words;
}

void read_correct_for(SelectConfig& select, const YamlNode& node, const Place& place) {
  const auto word = rule_words().find(node.text);
  if (node.kind == YamlNode::Kind::kText && word != rule_words().end()) {
    select.rule = word->second;
    return;
  }
  select.rule = SelectConfig::Rule::kTheseModels;
  select.models = list_of(text()).read(node, place);
}

std::optional<YamlNode> write_correct_for(const SelectConfig& select) {
  if (select.rule == SelectConfig::Rule::kIds) return std::nullopt;
  for (const auto& [word, rule] : rule_words())
    if (select.rule == rule) return YamlNode::of_text(word);
  return list_of(text()).write(select.models, Purpose::kResolved);
}

Fields<SelectConfig> select_fields() {
  const auto read_ids_file = [](SelectConfig& select, const YamlNode& node, const Place& place) {
    select.ids_file = text().read(node, place);
    select.rule = SelectConfig::Rule::kIds;
  };
  const auto write_ids_file = [](const SelectConfig& select) -> std::optional<YamlNode> {
    if (select.rule != SelectConfig::Rule::kIds) return std::nullopt;
    return YamlNode::of_text(select.ids_file);
  };
  return {
      field("name", &SelectConfig::name, safe_name(),
            "by which sweeps and heat maps ask for the set; unique"),
      field_of_all<SelectConfig>(
          "correct_for", "all | self | none | model names",
          "prompts that all models get right, that the model itself gets right, every "
          "prompt, or prompts that the named models get right",
          read_correct_for, write_correct_for),
      field_of_all<SelectConfig>(
          "ids", "file", "the prompts of this file, a JSON list or one id per line, instead",
          read_ids_file, write_ids_file),
      field("rank", &SelectConfig::rank, whole_number<int>(1, kLargestRank),
            "a model is right if the answer is among its likeliest so many tokens"),
      field("answer", &SelectConfig::answer, answer_rule(),
            "the answer's token: the first one behind the prompt's when both are encoded together, "
            "or the first one of the answer alone; the same in all sets"),
  };
}

Form<SelectConfig> prompt_set_form() {
  return checked(section(select_fields()), [](const SelectConfig& set, const YamlNode& node,
                                              const Place& place) {
    if (node.find("ids") != nullptr && node.find("correct_for") != nullptr)
      reject(place.child("ids"), node.line, "is given beside 'correct_for'", "keep one of them");
    if (node.find("ids") != nullptr && set.rank != 1)
      reject(place.child("rank"), node.line, "is given beside 'ids'",
             "a list of ids asks no model");
  });
}

Form<std::vector<SelectConfig>> select_form() {
  const auto check = [](const std::vector<SelectConfig>& sets, const YamlNode& node,
                        const Place& place) {
    std::map<std::string, size_t> seen;
    for (size_t i = 0; i < sets.size(); ++i) {
      if (sets[i].name == kFirstSet)
        reject(place.item(i).child("name"), node.line,
               fmt::format("a set cannot be called '{}'", kFirstSet), "sweeps use this word");
      if (sets[i].answer != sets[0].answer)
        reject(place.item(i).child("answer"), node.items[i].line,
               fmt::format("is '{}', that of the first set is '{}'", to_string(sets[i].answer),
                           to_string(sets[0].answer)),
               "an answer is one token throughout a run: give all sets the same, or make two runs");
      if (const auto [first, is_new] = seen.emplace(sets[i].name, i); !is_new)
        reject(
            place.item(i).child("name"), node.items[i].line,
            fmt::format("'{}' is the name of {} too", sets[i].name, place.item(first->second).key),
            "give each set of prompts a name of its own");
    }
  };
  return checked(one_or_several(prompt_set_form()), check);
}

Fields<RunConfig> run_fields() {
  using R = RunConfig;
  const FieldOptions tuning = {.in_identity = false};
  return {
      field("device", &R::device, device(),
            "where the ranks compute; auto = a GPU each where there is one", tuning),
      field("precision", &R::precision, precision(),
            "arithmetic of the models; fp64 on the CPU only; it changes the results"),
      field("threads_per_rank", &R::threads_per_rank,
            word_or("auto", 0, whole_number<int>(1, 4096)),
            "CPU threads; auto = the cores of a node divided among its ranks", tuning),
      field("memory_limit", &R::memory_limit, word_or("auto", std::int64_t{0}, byte_size()),
            "memory of a rank for activations; auto = 2 GiB on a CPU, most of a GPU; it changes "
            "last digits",
            tuning),
      field("share_gpus", &R::share_gpus, yes_or_no(),
            "let ranks share a GPU where there are more ranks than GPUs", tuning),
      field("heartbeat_timeout", &R::heartbeat_timeout, whole_number<int>(2, 86400),
            "seconds without a sign of life after which a rank counts as lost and the run ends",
            tuning),
      field(
          "self_check", &R::self_check, on_or_off(),
          "before the first unit of a model, hold the engine against whole forwards of one prompt",
          tuning),
  };
}

Form<RunConfig> run_form() {
  return checked(section(run_fields()),
                 [](const RunConfig& run, const YamlNode& node, const Place& place) {
                   if (run.precision == "fp64" && run.device.starts_with("cuda"))
                     reject(place.child("precision"), node.line,
                            fmt::format("fp64 runs on the CPU only, found device {}", run.device),
                            "write device: cpu, or another precision");
                   if (run.device == "cpu" && run.precision != "fp64" && run.precision != "fp32")
                     reject(place.child("precision"), node.line,
                            fmt::format("{} runs on a GPU only, found device cpu", run.precision),
                            "write device: auto or cuda, or precision: fp32 or fp64");
                 });
}

void check_models(const std::vector<ModelConfig>& models, const YamlNode& node,
                  const Place& place) {
  std::map<std::string, size_t> seen;
  for (size_t i = 0; i < models.size(); ++i) {
    const bool is_list = node.kind == YamlNode::Kind::kList;
    const Place at = (is_list ? place.item(i) : place).child("name");
    const int line = is_list ? node.items[i].line : node.line;
    const std::string name = models[i].name;
    if (rule_words().contains(name))
      reject(at, line, fmt::format("a model cannot be called '{}'", name),
             "select.correct_for uses this word");
    if (is_reserved_group(name))
      reject(at, line, fmt::format("a model cannot be called '{}'", name),
             "results.h5 has something else of this name");
    if (const auto [first, is_new] = seen.emplace(name, i); !is_new)
      reject(at, line,
             fmt::format("repeats the name '{}' of {}", name, place.item(first->second).key),
             "names must be unique");
  }
}

// The lines of a section that may stand as a list or alone.
struct Listed {
  const YamlNode& node;
  Place place;
};
Listed entry(const YamlNode& root, const Place& place, const char* key, size_t index) {
  const YamlNode& node = *root.find(key);
  if (node.kind != YamlNode::Kind::kList) return {node, place.child(key)};
  return {node.items[index], place.child(key).item(index)};
}

void check_names(const std::vector<std::string>& used, const std::vector<std::string>& known,
                 const char* kind, const char* key, const Listed& at) {
  for (const std::string& name : used)
    if (std::find(known.begin(), known.end(), name) == known.end())
      reject(at.place.child(key), at.node.find(key)->line,
             unknown_word(kind, excerpt(name), known));
}

// Names of models and of prompt sets exist.
void check_names_in_use(const Config& config, const YamlNode& node, const Place& place) {
  std::vector<std::string> models, sets;
  for (const ModelConfig& model : config.models) models.push_back(model.name);
  for (const SelectConfig& set : config.select) sets.push_back(set.name);
  for (size_t i = 0; i < config.select.size(); ++i)
    if (!config.select[i].models.empty())
      check_names(config.select[i].models, models, "model", "correct_for",
                  entry(node, place, "select", i));
  for (size_t kind = 0; kind < experiment_kinds().size(); ++kind) {
    const std::string section = experiment_kinds()[kind]->section();
    for (size_t i = 0; i < config.experiments[kind].size(); ++i) {
      const Entry& one = *config.experiments[kind][i];
      const Listed at = entry(node, place, section.c_str(), i);
      check_names(one.models, models, "model", "models", at);
      if (!one.select.empty()) check_names({one.select}, sets, "set of prompts", "select", at);
    }
  }
}

// Windows of one size mean one thing in one run.
void check_placements(const Config& config, const YamlNode& node, const Place& place) {
  std::optional<Placement> first;
  std::string first_section;
  for (size_t kind = 0; kind < experiment_kinds().size(); ++kind) {
    const ExperimentKind& of_kind = *experiment_kinds()[kind];
    for (size_t i = 0; i < config.experiments[kind].size(); ++i) {
      const std::optional<Placement> here = of_kind.placement(*config.experiments[kind][i]);
      if (!here) continue;
      if (!first) {
        first = here;
        first_section = of_kind.section();
      }
      if (*here == *first) continue;
      const Listed at = entry(node, place, of_kind.section().c_str(), i);
      reject(at.place.child("windows.placement"), at.node.line,
             "differs from that of the first " + first_section,
             "windows of one run are all placed alike");
    }
  }
}

// The section of one kind of experiment.
Field<Config> section_of(size_t kind) {
  const ExperimentKind& one = *experiment_kinds()[kind];
  const Form<Entries> form = one.form();
  Field<Config> section{one.section(), form.type, "", {}, nullptr, nullptr, form.help, form.many};
  section.read = [kind, read = form.read](Config& config, const YamlNode& node,
                                          const Place& place) {
    config.experiments.of_kind.resize(experiment_kinds().size());
    config.experiments.of_kind[kind] = read(node, place);
  };
  section.write = [kind, write = form.write](const Config& config, Purpose purpose) {
    return write(config.experiments[kind], purpose);
  };
  return section;
}

// The one list of everything that a configuration may hold.
Fields<Config> all_fields() {
  using C = Config;
  Fields<Config> fields = {
      field("name", &C::name, safe_name(), "results go to runs/NAME unless --out says otherwise",
            kRequired),
      field("dataset", &C::dataset, section(dataset_fields()), "", kRequired),
      field("models_directory", &C::models_directory, word_or("none", std::string(), text()),
            "where hf:ORG/NAME lies as ORG/NAME or NAME; none = in the Hugging Face cache",
            {.in_identity = false}),
      field("models", &C::models, checked(list_of(section(model_fields())), check_models), "",
            kRequired),
      field("select", &C::select, select_form(), ""),
  };
  for (size_t kind = 0; kind < experiment_kinds().size(); ++kind)
    if (!experiment_kinds()[kind]->section().empty()) fields.push_back(section_of(kind));
  fields.push_back(field("run", &C::run, run_form(), ""));
  return fields;
}

const Fields<Config>& config_fields() {
  static const Fields<Config> fields = all_fields();
  return fields;
}

// A run's directory is easily given in place of its configuration.
void refuse_directory(const std::filesystem::path& file) {
  std::error_code error;
  if (!std::filesystem::is_directory(file, error)) return;
  const std::filesystem::path copy = file / "config.yaml";
  if (std::filesystem::exists(copy, error))
    throw InputError(
        file.string(), "is the directory of a run, expected a configuration",
        fmt::format("name the run's own copy, {}, or the file it was made from", copy.string()));
  throw InputError(file.string(), "is a directory, expected a configuration (a YAML file)");
}

Config config_of(const YamlNode& node, const std::filesystem::path& file) {
  const Place place{file, ""};
  Config config = read_fields(config_fields(), node, place);
  check_names_in_use(config, node, place);
  check_placements(config, node, place);
  config.file = file;
  return config;
}

}  // namespace

Config parse_config(const std::string& yaml, const std::filesystem::path& file) {
  return config_of(parse_yaml(yaml, file), file);
}

Config read_config(const std::filesystem::path& file, const std::vector<std::string>& set) {
  refuse_directory(file);
  YamlNode node = parse_yaml(read_text_file(file, size_t{1} << 20), file);
  for (const std::string& setting : set) set_key(node, setting);
  Config config = config_of(node, file);
  find_paths(config, node);
  return config;
}

void apply(const ConfigOverrides& overrides, Config& config) {
  if (overrides.limit) config.dataset.limit = *overrides.limit;
  if (!overrides.dataset.empty()) config.dataset.path = overrides.dataset;
  if (!overrides.models_directory.empty()) config.models_directory = overrides.models_directory;
}

size_t prompt_set(const Config& config, const std::string& name) {
  const auto set = std::find_if(config.select.begin(), config.select.end(),
                                [&](const SelectConfig& one) { return one.name == name; });
  return set == config.select.end() ? 0 : static_cast<size_t>(set - config.select.begin());
}

Placement placement_of(const Config& config) {
  for (size_t kind = 0; kind < experiment_kinds().size(); ++kind)
    for (const std::shared_ptr<const Entry>& entry : config.experiments[kind])
      if (const std::optional<Placement> placement = experiment_kinds()[kind]->placement(*entry))
        return *placement;
  return Placement::kFit;
}

std::string resolved_yaml(const Config& config) {
  return write_yaml(write_fields(config_fields(), config, Purpose::kResolved));
}

std::string identity_yaml(const Config& config) {
  return write_yaml(write_fields(config_fields(), config, Purpose::kIdentity));
}

std::string config_help() {
  return help_text("Keys of a configuration (YAML): kind of value, default in brackets, meaning.",
                   help_of(config_fields()));
}

}  // namespace factflow
