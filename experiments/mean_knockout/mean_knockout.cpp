#include "experiments/mean_knockout/mean_knockout.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "experiments/bytes.hpp"
#include "experiments/cell_collector.hpp"
#include "experiments/drawn_prompts.hpp"
#include "experiments/forms.hpp"
#include "experiments/planning.hpp"
#include "experiments/text_documents.hpp"
#include "model/check_intervention.hpp"
#include "model/locate_interventions.hpp"

namespace factflow {
namespace {

constexpr int kUsualReferences = 128, kMostReferences = 100000, kMostWindow = 10000;
constexpr int kLongestDocument = 128;  // tokens, as published
// Every run holds the means that it writes: so many prompts go through the engine together.
constexpr std::size_t kPromptsTogether = 4;

// What is done: an item of what is asked.
struct KnockoutSpec {
  KnockoutMode mode = KnockoutMode::kMeanA;
  KnockoutSet set = KnockoutSet::kSubject;
  bool operator==(const KnockoutSpec&) const = default;
};
template <class Archive>
void serialize(Archive& archive, KnockoutSpec& k) {
  archive(k.mode, k.set);
}

struct MeanKnockoutPlan {
  std::vector<KnockoutSpec> knockouts;
  std::vector<WindowSeries> series;  // centred
  int layers = 0;
  // What means are of: one of both; none where no knockout needs means.
  std::vector<Prompt> references;
  std::vector<std::string> documents;
  bool routes = false;  // whether the model has experts
};
template <class Archive>
void serialize(Archive& archive, MeanKnockoutPlan& p) {
  archive(p.knockouts, p.series, p.layers, p.references, p.documents, p.routes);
}

StoredCells stored_by(const MeanKnockoutPlan& plan) {
  return {.log_changes = true, .rerouted = plan.routes};
}

// What is found about one prompt.
struct PromptKnockouts {
  std::vector<CellValues> items;  // [asked item]
  std::int64_t reference_tokens = 0;
};
template <class Archive>
void serialize(Archive& archive, PromptKnockouts& p) {
  archive(p.items, p.reference_tokens);
}

std::string label_of(const KnockoutSpec& knockout) {
  return fmt::format("{} {}", to_string(knockout.mode), to_string(knockout.set));
}

std::optional<Site> site_of(KnockoutMode mode) {
  switch (mode) {
    case KnockoutMode::kEdges:
      return std::nullopt;
    case KnockoutMode::kMeanA:
    case KnockoutMode::kTwoStreamA:
      return Site::kA;
    case KnockoutMode::kMeanXbc:
    case KnockoutMode::kTwoStreamXbc:
      return Site::kXbc;
  }
  return std::nullopt;
}
bool is_two_stream(KnockoutMode mode) {
  return mode == KnockoutMode::kTwoStreamA || mode == KnockoutMode::kTwoStreamXbc;
}

std::vector<int> layers_in(const Window& window) {
  std::vector<int> layers;
  for (int layer = window.begin; layer < window.end; ++layer) layers.push_back(layer);
  return layers;
}

// ---- means

// Of one site, over the tokens of each prompt, then over the prompts.
struct ReferenceMeans {
  SiteMeans means;
  std::int64_t tokens = 0;
};

constexpr const char* kReferencesKey = "mean_knockout.references";

std::vector<std::vector<int>> tokens_of_prompts(const LoadedModel& model,
                                                const std::vector<Prompt>& prompts) {
  const std::vector<TokenizedPrompt> references = model.tokenize_usable(prompts);
  if (references.size() != prompts.size())
    throw InputError(kReferencesKey,
                     fmt::format("the model has tokens for {} of the {} reference prompts",
                                 references.size(), prompts.size()),
                     "leave out prompts without a subject in their text, or take another seed");
  std::vector<std::vector<int>> runs;
  for (const TokenizedPrompt& reference : references) runs.push_back(reference.ids);
  return runs;
}

std::vector<std::vector<int>> tokens_of_documents(const LoadedModel& model,
                                                  const std::vector<std::string>& documents) {
  std::vector<std::vector<int>> runs;
  for (const std::string& text : documents) {
    runs.push_back(document_tokens(model, text, kLongestDocument, kReferencesKey));
    if (runs.back().empty())
      throw InputError(kReferencesKey, fmt::format("{} has no tokens", in_quotes(text)),
                       "leave the line out");
  }
  return runs;
}

ReferenceMeans means_of(LoadedModel& model, Site site, int layers,
                        const std::vector<std::vector<int>>& references) {
  ReferenceMeans found{{site, {}}, 0};
  std::vector<at::Tensor> sums(static_cast<std::size_t>(layers));
  for (const std::vector<int>& ids : references) {
    ReplayRequest request{ids, ids.back()};
    const std::size_t tokens = ids.size();
    for (int layer = 0; layer < layers; ++layer)
      for (std::size_t token = 0; token < tokens; ++token)
        request.reads.push_back({{site, layer}, static_cast<int>(token), std::nullopt});
    const std::vector<ReplayResult> results = model.replay({request});
    if (!is_finite(results[0]))
      throw RunError("means of a reference text: " + std::string(kNotFinite));
    for (std::size_t layer = 0; layer < sums.size(); ++layer) {
      std::vector<at::Tensor> values;
      for (std::size_t token = 0; token < tokens; ++token)
        values.push_back(
            results[0].reads[layer * tokens + token].value().to(at::kCPU, at::kDouble));
      const at::Tensor mean = at::stack(values).mean(0);
      sums[layer] = sums[layer].defined() ? sums[layer] + mean : mean;
    }
    found.tokens += static_cast<std::int64_t>(tokens);
  }
  for (const at::Tensor& sum : sums) {
    const at::Tensor mean = (sum / static_cast<double>(references.size())).contiguous();
    found.means.of_layer.emplace_back(mean.data_ptr<double>(),
                                      mean.data_ptr<double>() + mean.numel());
  }
  return found;
}

// ---- results

std::map<std::uint32_t, std::string> labels_of(const std::vector<KnockoutSpec>& knockouts) {
  std::map<std::uint32_t, std::string> labels;
  for (const KnockoutSpec& knockout : knockouts)
    labels.emplace(static_cast<std::uint32_t>(labels.size()), label_of(knockout));
  return labels;
}

class MeanKnockoutArrays final : public ArrayMaker {
 public:
  MeanKnockoutArrays(const MeanKnockoutPlan& plan, const Subjects& subjects)
      : cells_(labels_of(plan.knockouts), plan.series, subjects, stored_by(plan)) {
    for (const Prompt& prompt : plan.references) references_.prompts.push_back(prompt.id);
    references_.documents = static_cast<std::int64_t>(plan.documents.size());
  }

  void add(std::uint32_t prompt, const Asked& asked, const std::string& values) override {
    const auto found = from_bytes<PromptKnockouts>(values, "a knockout by means");
    references_.tokens = found.reference_tokens;
    for (std::size_t i = 0; i < asked.size(); ++i) cells_.add(prompt, asked[i], found.items.at(i));
  }
  void add_failed(std::uint32_t prompt, const Asked& asked) override {
    cells_.add_failed(prompt, asked);
  }

  std::vector<ArrayGroup> groups() override {
    if (cells_.empty()) return {};
    std::vector<ArrayGroup> groups = {arrays_of(cells_.axes(), references_)};
    cells_.add_windows(mean_knockout_names(), groups);
    return groups;
  }

 private:
  CellCollector cells_;
  MeanReferences references_;
};

// ---- work

class MeanKnockoutWork final : public Work {
 public:
  explicit MeanKnockoutWork(MeanKnockoutPlan plan) : plan_(std::move(plan)) {}
  std::string bytes() const override { return to_bytes(plan_); }

  std::string describe(const Asked& asked) const override {
    return fmt::format("knockouts by means, {}, windows {}",
                       counted(asked.size(), "mode and set", "modes and sets"),
                       fmt::join(asked_sizes(plan_.series, asked), " "));
  }
  std::string summary() const override {
    return plan_.knockouts.empty()
               ? ""
               : counted(plan_.knockouts.size(), "knockout by means", "knockouts by means");
  }

  // A two-stream knockout goes up layer by layer.
  std::vector<Replays> replays(const Asked& asked, double) const override {
    std::vector<Replays> replays;
    for (const AskedItem& one : asked)
      for (const std::uint32_t series : one.series)
        replays.push_back({is_two_stream(plan_.knockouts.at(one.item).mode)
                               ? plan_.series.at(series).size + 1.0
                               : 1.0,
                           plan_.series.at(series).windows});
    return replays;
  }
  PromptBytes bytes_of_prompt(const Asked& asked, double) const override {
    PromptKnockouts sample;
    double cells = 0;
    for (const AskedItem& one : asked) {
      const std::size_t windows = windows_of(plan_.series, one.series).size();
      sample.items.push_back(no_answers(windows, stored_by(plan_)));
      cells += static_cast<double>(windows);
    }
    return {cells * stored_by(plan_).bytes(), static_cast<double>(to_bytes(sample).size())};
  }

  // For estimates: the same writes with zeros, since the model has to say what the means are.
  ReplayRequest request(const Asked& asked, const TokenizedPrompt& prompt,
                        std::span<const TokenizedPrompt>) const override {
    ReplayRequest request{prompt.ids, prompt.answer};
    for (const AskedItem& one : asked) {
      const KnockoutSpec& knockout = plan_.knockouts.at(one.item);
      const TokenKnockout tokens{prompt.ids, positions_of(knockout.set, prompt)};
      if (tokens.positions.empty()) continue;
      const std::optional<Site> site = site_of(knockout.mode);
      request.series.emplace_back(
          site ? std::vector<Intervention>{written(*site, {}, tokens.positions, Zero{})}
               : cut_edges(tokens, {}),
          windows_of(plan_.series, one.series));
    }
    return request;
  }
  // With the means, in the first, middle and last window of each item.
  ReplayRequest request_to_check(LoadedModel& model, const Asked& asked,
                                 const TokenizedPrompt& prompt,
                                 std::span<const TokenizedPrompt>) const override {
    ReplayRequest request{prompt.ids, prompt.answer};
    for (const AskedItem& one : asked) {
      const std::vector<Window> all = windows_of(plan_.series, one.series);
      std::set<std::size_t> places = {0, all.size() / 2, all.size() - 1};
      std::vector<Window> some;
      for (const std::size_t place : places) some.push_back(all[place]);
      const ReferenceMeans* means = means_of_item(model, one);
      for (TwoStreamKnockout& run : runs_of(model, one, means, {&prompt, 1}, some))
        request.series.emplace_back(std::move(run.together), std::nullopt);
    }
    return request;
  }
  Finding record(const LoadedModel&, const Asked&, const TokenizedPrompt&,
                 std::span<const TokenizedPrompt>, const ReplayResult&) const override {
    throw std::logic_error("a knockout by means is made of several results");
  }

  std::vector<Finding> compute(LoadedModel& model, const Asked& asked,
                               std::span<const TokenizedPrompt> prompts) const override {
    std::vector<Finding> findings;
    for (std::size_t first = 0; first < prompts.size(); first += kPromptsTogether)
      for (Finding& finding :
           compute_some(model, asked,
                        prompts.subspan(first, std::min(kPromptsTogether, prompts.size() - first))))
        findings.push_back(std::move(finding));
    return findings;
  }

  std::unique_ptr<ArrayMaker> arrays(const Subjects& subjects) const override {
    return std::make_unique<MeanKnockoutArrays>(plan_, subjects);
  }

 private:
  // The same on every rank: the same prompts in the same order, each alone.
  const ReferenceMeans& means_at(LoadedModel& model, Site site) const {
    std::string key = "mean_knockout " + to_string(site);
    for (const Prompt& prompt : plan_.references) key += fmt::format(" {}", prompt.id);
    for (const std::string& text : plan_.documents) key += "\n" + text;
    return model.derived<ReferenceMeans>(key, [&] {
      return means_of(model, site, plan_.layers,
                      plan_.documents.empty() ? tokens_of_prompts(model, plan_.references)
                                              : tokens_of_documents(model, plan_.documents));
    });
  }
  // nullptr where none are needed.
  const ReferenceMeans* means_of_item(LoadedModel& model, const AskedItem& one) const {
    const std::optional<Site> site = site_of(plan_.knockouts.at(one.item).mode);
    return site ? &means_at(model, *site) : nullptr;
  }

  std::vector<Finding> compute_some(LoadedModel& model, const Asked& asked,
                                    std::span<const TokenizedPrompt> prompts) const {
    std::vector<PromptKnockouts> found(prompts.size());
    std::vector<bool> finite(prompts.size(), true);
    for (const AskedItem& one : asked) {
      const ReferenceMeans* means = means_of_item(model, one);
      for (PromptKnockouts& prompt : found)
        if (means != nullptr) prompt.reference_tokens = means->tokens;
      add_item(model, one, means, prompts, found, finite);
    }
    std::vector<Finding> findings;
    for (std::size_t i = 0; i < prompts.size(); ++i)
      findings.push_back(finite[i] ? Finding{"", to_bytes(found[i])} : Finding{kNotFinite, ""});
    return findings;
  }

  static Replayer replayer_of(LoadedModel& model) {
    return [&model](const std::vector<ReplayRequest>& requests) { return model.replay(requests); };
  }

  // What is done, [prompt with such tokens * windows + window].
  std::vector<TwoStreamKnockout> runs_of(LoadedModel& model, const AskedItem& one,
                                         const ReferenceMeans* means,
                                         std::span<const TokenizedPrompt> prompts,
                                         const std::vector<Window>& windows) const {
    const KnockoutSpec& knockout = plan_.knockouts.at(one.item);
    std::vector<TwoStreamKnockout> runs;
    for (const TokenizedPrompt& prompt : prompts)
      if (const TokenKnockout tokens{prompt.ids, positions_of(knockout.set, prompt)};
          !tokens.positions.empty())
        for (const Window& window : windows)
          runs.push_back({tokens, means == nullptr ? nullptr : &means->means, prompt.answer,
                          layers_in(window)});
    if (is_two_stream(knockout.mode))
      take_second_streams(replayer_of(model), runs);
    else
      for (TwoStreamKnockout& run : runs)
        run.together = means == nullptr ? cut_edges(run.knockout, run.layers)
                                        : mean_knockout(run.knockout, means->means, run.layers);
    return runs;
  }

  // One item of all the prompts, in all its windows.
  void add_item(LoadedModel& model, const AskedItem& one, const ReferenceMeans* means,
                std::span<const TokenizedPrompt> prompts, std::vector<PromptKnockouts>& found,
                std::vector<bool>& finite) const {
    const KnockoutSet set = plan_.knockouts.at(one.item).set;
    const std::vector<Window> windows = windows_of(plan_.series, one.series);
    std::vector<TwoStreamKnockout> runs = runs_of(model, one, means, prompts, windows);
    ReplayBatch batch;
    std::vector<ReplayBatch::Run> clean, knocked;
    for (const TokenizedPrompt& prompt : prompts)
      clean.push_back(batch.ask(prompt.ids, prompt.answer, {}));
    for (TwoStreamKnockout& run : runs)
      knocked.push_back(batch.ask(run.knockout.ids, run.answer, std::move(run.together)));
    batch.compute(replayer_of(model));
    for (std::size_t i = 0, next = 0; i < prompts.size(); ++i) {
      const std::size_t touched = positions_of(set, prompts[i]).size();
      std::vector<Answer> answers;
      for (std::size_t w = 0; w < windows.size(); ++w)
        answers.push_back(touched > 0 ? batch.answer(knocked[next++]) : Answer{});
      if (!add_answers(batch.answer(clean[i]), answers, static_cast<std::int64_t>(touched),
                       found[i]))
        finite[i] = false;
    }
  }

  // False: some answer is not finite. An answer of rank 0 is none.
  bool add_answers(const Answer& clean, const std::vector<Answer>& answers, std::int64_t touched,
                   PromptKnockouts& found) const {
    CellValues& values = found.items.emplace_back();
    values.touched = touched;
    bool finite = clean.rank != kernels::kNoRank;
    for (const Answer& answer : answers) {
      finite = finite && answer.rank != kernels::kNoRank;
      values.add(answer, clean.log_probability, stored_by(plan_));
    }
    return finite;
  }

  MeanKnockoutPlan plan_;
};

// ---- the section

constexpr const char* kOfDataset = "dataset";

template <class V>
Form<V> one_word(const std::string& what, const std::vector<V>& values) {
  std::vector<std::pair<std::string, V>> words;
  for (const V value : values) words.emplace_back(to_string(value), value);
  return one_of<V>(what, words);
}

const std::vector<KnockoutMode> kModes = {KnockoutMode::kMeanA, KnockoutMode::kTwoStreamA,
                                          KnockoutMode::kMeanXbc, KnockoutMode::kTwoStreamXbc,
                                          KnockoutMode::kEdges};

Form<std::string> reference_text() {
  const std::string type = "dataset, or the path of a text file";
  return {type,
          [type](const YamlNode& node, const Place& place) {
            const std::string given = read_text(node, place, type);
            return given == kOfDataset ? std::string() : file_beside(place, given);
          },
          [](const std::string& file, Purpose) {
            return YamlNode::of_text(file.empty() ? kOfDataset : file);
          }};
}

Fields<MeanReferencesConfig> reference_fields() {
  using R = MeanReferencesConfig;
  return {field("prompts", &R::prompts, word_or("128", 0, whole_number<int>(1, kMostReferences)),
                "how many prompts of the dataset, or documents of the text, the means are of; by "
                "default 128, or all where there are fewer"),
          field("text", &R::text, reference_text(),
                "dataset: its prompts; or a file with a document a line, of each at most 128 "
                "tokens"),
          field("seed", &R::seed, whole_number<std::uint64_t>(0, std::numeric_limits<int>::max()),
                "draws them")};
}

Fields<MeanKnockoutConfig> mean_knockout_fields() {
  using T = MeanKnockoutConfig;
  Fields<T> fields = {
      field("modes", &T::modes,
            word_or("all", std::vector<KnockoutMode>{},
                    list_of(one_word<KnockoutMode>("mode", kModes))),
            "mean: the site is its mean at the tokens; two-stream: only the last token sees the "
            "mean; edges: the tokens' edges to the last one are cut; all: as far as a model has "
            "them"),
      field("sets", &T::sets, list_of(one_word<KnockoutSet>("set", T{}.sets)),
            "tokens: of the subject, its last one, all others but the prompt's last, that"),
      field("window", &T::window, word_or("10 of 64", 0, whole_number<int>(1, kMostWindow)),
            "layers around the centre; by default as large a part of the model as 10 of 64"),
      field("references", &T::references, section(reference_fields()),
            "prompts that the means are of"),
      field<T, std::int64_t>(
          "prompts", &T::prompts,
          word_or("all", std::int64_t{0},
                  whole_number<std::int64_t>(1, std::numeric_limits<std::int64_t>::max())),
          "only the first N prompts of the set"),
  };
  for (Field<T>& more : whom_fields<T>()) fields.push_back(std::move(more));
  return fields;
}

// ---- the kind

// Throws std::invalid_argument for what some layer does not have.
void check_mode(const Architecture& architecture, KnockoutMode mode) {
  const std::vector<Window> windows =
      window_series(1, Placement::kCentred, architecture.layers).windows;
  const std::optional<Site> site = site_of(mode);
  std::vector<Intervention> together =
      site ? std::vector<Intervention>{written(*site, {}, {0}, Zero{})} : cut_edges({{0}, {0}}, {});
  if (is_two_stream(mode)) together.emplace_back(written(Site::kS, {}, {0}, Zero{}));
  InterventionCheck(architecture).series(Series(std::move(together), windows));
}

class MeanKnockoutPlanner {
 public:
  MeanKnockoutPlanner(const ModelToPlan& model, std::size_t entries)
      : model_(model), entries_(entries) {
    plan_.layers = model.architecture.layers;
    plan_.routes = model.architecture.routes();
  }

  Asked add(std::size_t index, const MeanKnockoutConfig& entry) {
    const auto key = [&](const char* name) {
      return key_in_entry(mean_knockout_kind().section(), index, entries_, name);
    };
    if (entry.window > 0) check_sizes(model_, key("window"), {entry.window});
    const std::vector<std::uint32_t> series =
        add_series(plan_.series, {window_of(entry)}, Placement::kCentred, plan_.layers);
    Asked asked;
    for (const KnockoutMode mode : modes(entry, key("modes"))) {
      if (site_of(mode)) take_references(entry.references, key("references"));
      for (const KnockoutSet set : entry.sets)
        asked.push_back({place_in(plan_.knockouts, {mode, set}), series});
    }
    std::sort(asked.begin(), asked.end());
    return asked;
  }

  MeanKnockoutPlan take() { return std::move(plan_); }

 private:
  // Sharma et al. knock out in 10 of 64 layers.
  int window_of(const MeanKnockoutConfig& entry) const {
    return entry.window > 0 ? entry.window
                            : std::max(1, static_cast<int>(std::lround(10.0 * plan_.layers / 64)));
  }

  std::vector<KnockoutMode> modes(const MeanKnockoutConfig& entry, const std::string& key) const {
    if (entry.modes.empty()) return modes_of(model_.architecture);
    for (const KnockoutMode mode : entry.modes) try {
        check_mode(model_.architecture, mode);
      } catch (const std::invalid_argument& error) {
        throw InputError(model_.file.string(),
                         fmt::format("key {}: {}: model {}: {}", key, to_string(mode), model_.name,
                                     error.what()),
                         "leave the mode to models that have it by an entry with models: [...]");
      }
    return entry.modes;
  }

  // All entries of a model have the same means.
  void take_references(const MeanReferencesConfig& config, const std::string& key) {
    if (references_.value_or(config) != config)
      throw InputError(model_.file.string(),
                       fmt::format("key {}: model {} has other references in an earlier entry", key,
                                   model_.name),
                       "give both entries the same");
    if (references_) return;
    references_ = config;
    if (config.text.empty()) {
      const std::size_t count =
          count_of(config, model_.prompts.size(), key, "the dataset", "prompt");
      plan_.references = drawn_prompts(model_.prompts, count, config.seed);
      return;
    }
    plan_.documents = drawn_documents(text_of(config, key), config.seed);
    plan_.documents.resize(count_of(config, plan_.documents.size(), key, config.text, "document"));
  }

  // How many of those that are there.
  std::size_t count_of(const MeanReferencesConfig& config, std::size_t there,
                       const std::string& key, const std::string& where,
                       const std::string& noun) const {
    const auto wanted = static_cast<std::size_t>(config.prompts);
    if (wanted > there || there == 0)
      throw InputError(
          model_.file.string(),
          fmt::format("key {}.prompts: {} has only {}", key, where, counted(there, noun)),
          "ask for fewer");
    return wanted > 0 ? wanted : std::min<std::size_t>(kUsualReferences, there);
  }

  std::vector<std::string> text_of(const MeanReferencesConfig& config,
                                   const std::string& key) const {
    try {
      return documents_in(config.text);
    } catch (const InputError& error) {
      throw InputError(model_.file.string(), fmt::format("key {}.text: {}", key, error.what()),
                       "name a text file, or dataset");
    }
  }

  const ModelToPlan& model_;
  std::size_t entries_;
  MeanKnockoutPlan plan_;
  std::optional<MeanReferencesConfig> references_;
};

class MeanKnockoutKind final : public ExperimentKind {
 public:
  std::string name() const override { return "mean-knockout"; }
  std::uint32_t number() const override { return 9; }

  std::string section() const override { return "mean_knockout"; }
  Form<Entries> form() const override { return section_form(mean_knockout_form()); }

  PlannedWork plan(const Entries& entries, const ModelToPlan& model) const override {
    return planned_by<MeanKnockoutConfig, MeanKnockoutPlanner, MeanKnockoutWork>(entries, model);
  }
  std::shared_ptr<const Work> work_from(const std::string& bytes) const override {
    return std::make_shared<MeanKnockoutWork>(
        from_bytes<MeanKnockoutPlan>(bytes, "the plan of knockouts by means"));
  }

  std::string progress(const PromptCount& count, std::uint32_t asked) const override {
    return asked == 0 ? "no prompt to knock out by means"
                      : in_words(count, asked, "selected prompt", "knocked out by means");
  }
};

}  // namespace

std::string to_string(KnockoutMode mode) {
  switch (mode) {
    case KnockoutMode::kEdges:
      return "edges";
    case KnockoutMode::kMeanA:
      return "mean-a";
    case KnockoutMode::kMeanXbc:
      return "mean-xbc";
    case KnockoutMode::kTwoStreamA:
      return "two-stream-a";
    case KnockoutMode::kTwoStreamXbc:
      return "two-stream-xbc";
  }
  return "";
}

std::string to_string(KnockoutSet set) {
  switch (set) {
    case KnockoutSet::kSubject:
      return "subject";
    case KnockoutSet::kSubjectLast:
      return "subject-last";
    case KnockoutSet::kNonSubject:
      return "non-subject";
    case KnockoutSet::kPromptLast:
      return "prompt-last";
  }
  return "";
}

std::vector<int> positions_of(KnockoutSet set, const TokenizedPrompt& prompt) {
  const int last = static_cast<int>(prompt.ids.size()) - 1;
  switch (set) {
    case KnockoutSet::kSubject:
      return prompt.subject;
    case KnockoutSet::kSubjectLast:
      return {prompt.subject.back()};
    case KnockoutSet::kPromptLast:
      return {last};
    case KnockoutSet::kNonSubject:
      break;
  }
  std::vector<int> others;
  for (int token = 0; token < last; ++token)
    if (!std::binary_search(prompt.subject.begin(), prompt.subject.end(), token))
      others.push_back(token);
  return others;
}

std::vector<KnockoutMode> modes_of(const Architecture& architecture) {
  std::vector<KnockoutMode> modes;
  for (const KnockoutMode mode : kModes) try {
      check_mode(architecture, mode);
      modes.push_back(mode);
    } catch (const std::invalid_argument&) {  // not of this family
    }
  return modes;
}

Form<std::vector<MeanKnockoutConfig>> mean_knockout_form() {
  return one_or_several(section(mean_knockout_fields()));
}

const ExperimentKind& mean_knockout_kind() {
  static const MeanKnockoutKind kind;
  return kind;
}

}  // namespace factflow
