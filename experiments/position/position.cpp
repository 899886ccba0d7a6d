#include "experiments/position/position.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "experiments/bytes.hpp"
#include "experiments/cell_collector.hpp"
#include "experiments/forms.hpp"
#include "experiments/intervene/group_bytes.hpp"
#include "experiments/intervene/intervene.hpp"
#include "experiments/planning.hpp"
#include "model/check_intervention.hpp"

namespace factflow {
namespace {

constexpr int kLongest = 100000;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// An item: an edge, in the prompt with so many neutral tokens somewhere.
struct PositionSpec {
  TokenGroup from, to;
  NeutralPlace place = NeutralPlace::kBefore;
  std::int32_t length = 0;
  bool operator==(const PositionSpec&) const = default;
  PositionItem named() const {
    return {to_string(from) + "->" + to_string(to), to_string(place), length};
  }
};
template <class Archive>
void serialize(Archive& archive, PositionSpec& s) {
  archive(s.from, s.to, s.place, s.length);
}

struct PositionPlan {
  std::vector<PositionSpec> items;
  std::vector<WindowSeries> series;
  std::vector<std::string> texts;
  std::uint64_t seed = 1;
  std::int64_t positions = 0;  // that the model has; 0 = no limit
  bool routes = false;         // whether it has experts
  std::int32_t longest() const {
    std::int32_t longest = 0;
    for (const PositionSpec& item : items) longest = std::max(longest, item.length);
    return longest;
  }
};
template <class Archive>
void serialize(Archive& archive, PositionPlan& p) {
  archive(p.items, p.series, p.texts, p.seed, p.positions, p.routes);
}

StoredCells stored_by(const PositionPlan& plan) {
  return {.log_changes = true, .rerouted = plan.routes};
}

// What is found about one prompt: [asked item].
struct PromptPositions {
  std::vector<CellValues> items;
  std::vector<double> clean_log_probability;
  std::vector<std::int32_t> clean_rank, subject_at, distance;
  std::vector<std::int32_t> neutral;  // token ids
};
template <class Archive>
void serialize(Archive& archive, PromptPositions& p) {
  archive(p.items, p.clean_log_probability, p.clean_rank, p.subject_at, p.distance, p.neutral);
}

// ---- results

std::map<std::uint32_t, std::string> names_of(const std::vector<PositionSpec>& items) {
  std::map<std::uint32_t, std::string> names;
  for (const PositionSpec& item : items)
    names.emplace(static_cast<std::uint32_t>(names.size()), to_string(item.named()));
  return names;
}

class PositionArrays final : public ArrayMaker {
 public:
  PositionArrays(const PositionPlan& plan, const Subjects& subjects)
      : cells_(names_of(plan.items), plan.series, subjects, stored_by(plan)),
        prompts_(subjects.asked.size()) {
    const std::size_t cells = plan.items.size() * prompts_;
    places_.clean_log_probability.assign(cells, kNaN);
    places_.clean_rank.assign(cells, 0);
    places_.subject_at.assign(cells, -1);
    places_.distance.assign(cells, -1);
    places_.longest = plan.longest();
    places_.neutral.assign(prompts_ * static_cast<std::size_t>(places_.longest), -1);
  }

  void add(std::uint32_t prompt, const Asked& asked, const std::string& values) override {
    const auto found = from_bytes<PromptPositions>(values, "positions of a subject");
    const std::size_t row = cells_.row_of(prompt);
    std::copy(found.neutral.begin(), found.neutral.end(),
              places_.neutral.begin() +
                  static_cast<std::ptrdiff_t>(row * static_cast<std::size_t>(places_.longest)));
    for (std::size_t i = 0; i < asked.size(); ++i) {
      cells_.add(prompt, asked[i], found.items.at(i));
      const std::size_t cell = asked[i].item * prompts_ + row;
      places_.clean_log_probability[cell] = found.clean_log_probability.at(i);
      places_.clean_rank[cell] = found.clean_rank.at(i);
      places_.subject_at[cell] = found.subject_at.at(i);
      places_.distance[cell] = found.distance.at(i);
    }
  }
  void add_failed(std::uint32_t prompt, const Asked& asked) override {
    cells_.add_failed(prompt, asked);
  }

  std::vector<ArrayGroup> groups() override {
    if (cells_.empty()) return {};
    std::vector<ArrayGroup> groups = {arrays_of(cells_.axes(), places_)};
    cells_.add_windows(position_names(), groups);
    return groups;
  }

 private:
  CellCollector cells_;
  std::size_t prompts_;
  PositionPlaces places_;
};

// ---- work

// One text of a prompt with its neutral tokens, and the items that are asked of it.
struct Variant {
  NeutralPlace place = NeutralPlace::kBefore;
  std::int32_t length = 0;
  std::vector<std::size_t> asked;  // places in what is asked
};

class PositionWork final : public Work {
 public:
  explicit PositionWork(PositionPlan plan) : plan_(std::move(plan)) {}
  std::string bytes() const override { return to_bytes(plan_); }

  std::string describe(const Asked& asked) const override {
    return fmt::format("positions, {}, windows {}",
                       counted(asked.size(), "edge and length", "edges and lengths"),
                       fmt::join(asked_sizes(plan_.series, asked), " "));
  }
  std::string summary() const override {
    return plan_.items.empty()
               ? ""
               : counted(variants_of_plan(), "length of neutral text", "lengths of neutral text");
  }

  std::vector<Replays> replays(const Asked& asked, double) const override {
    std::vector<Replays> replays;
    for (const AskedItem& one : asked) replays.push_back({1, windows_of(plan_.series, one.series)});
    return replays;
  }
  PromptBytes bytes_of_prompt(const Asked& asked, double) const override {
    double cells = 0;
    for (const AskedItem& one : asked)
      cells += static_cast<double>(windows_of(plan_.series, one.series).size());
    const double beside = 20.0 * static_cast<double>(asked.size()) + 4.0 * plan_.longest();
    const double bytes = cells * stored_by(plan_).bytes() + beside;
    return {bytes, bytes};
  }

  // For the self-check and for estimates: the edges in the prompt itself, since the model's
  // tokenizer has to say what the neutral tokens are.
  ReplayRequest request(const Asked& asked, const TokenizedPrompt& prompt,
                        std::span<const TokenizedPrompt>) const override {
    ReplayRequest request{prompt.ids, prompt.answer};
    for (const AskedItem& one : asked)
      if (plan_.items.at(one.item).length == 0) request.series.push_back(series_of(one, prompt));
    return request;
  }
  Finding record(const LoadedModel&, const Asked&, const TokenizedPrompt&,
                 std::span<const TokenizedPrompt>, const ReplayResult&) const override {
    throw std::logic_error("positions are made of several results");
  }

  std::vector<Finding> compute(LoadedModel& model, const Asked& asked,
                               std::span<const TokenizedPrompt> prompts) const override {
    std::vector<std::vector<int>> texts;
    for (const std::string& text : plan_.texts)
      texts.push_back(model.tokenizer().encode(" " + text, /*add_special_tokens=*/false).ids);
    std::vector<Finding> findings;
    for (const TokenizedPrompt& prompt : prompts)
      findings.push_back(finding_of(model, asked, texts, prompt));
    return findings;
  }

  std::unique_ptr<ArrayMaker> arrays(const Subjects& subjects) const override {
    return std::make_unique<PositionArrays>(plan_, subjects);
  }

 private:
  std::size_t variants_of_plan() const {
    std::set<std::pair<NeutralPlace, std::int32_t>> all;
    for (const PositionSpec& item : plan_.items) all.emplace(item.place, item.length);
    return all.size();
  }

  std::vector<Variant> variants_of(const Asked& asked) const {
    std::vector<Variant> variants;
    for (std::size_t i = 0; i < asked.size(); ++i) {
      const PositionSpec& item = plan_.items.at(asked[i].item);
      auto found = std::find_if(variants.begin(), variants.end(), [&](const Variant& variant) {
        return variant.place == item.place && variant.length == item.length;
      });
      if (found == variants.end())
        found = variants.insert(variants.end(), {item.place, item.length, {}});
      found->asked.push_back(i);
    }
    return variants;
  }

  Series series_of(const AskedItem& one, const TokenizedPrompt& prompt) const {
    const PositionSpec& item = plan_.items.at(one.item);
    return {positions_of(item.to, prompt, 0), positions_of(item.from, prompt, 0), ChannelSet{},
            windows_of(plan_.series, one.series)};
  }

  bool fits(const TokenizedPrompt& prompt, std::int32_t length) const {
    return plan_.positions == 0 ||
           static_cast<std::int64_t>(prompt.ids.size()) + length <= plan_.positions;
  }

  Finding finding_of(LoadedModel& model, const Asked& asked,
                     const std::vector<std::vector<int>>& texts,
                     const TokenizedPrompt& prompt) const {
    PromptPositions found = no_positions(asked);
    const auto longest = static_cast<std::size_t>(plan_.longest());
    const std::vector<int> neutral = neutral_tokens(texts, prompt, plan_.seed, longest);
    found.neutral.assign(neutral.begin(), neutral.end());
    std::vector<TokenizedPrompt> longer;
    std::vector<ReplayRequest> requests;
    std::vector<Variant> variants = variants_of(asked);
    std::erase_if(variants, [&](const Variant& v) { return !fits(prompt, v.length); });
    for (const Variant& variant : variants) {
      longer.push_back(
          with_neutral(prompt, variant.place, {neutral.end() - variant.length, neutral.end()}));
      ReplayRequest& request =
          requests.emplace_back(ReplayRequest{longer.back().ids, longer.back().answer});
      for (const std::size_t i : variant.asked)
        request.series.push_back(series_of(asked[i], longer.back()));
    }
    if (requests.empty()) return {"", to_bytes(found)};
    const std::vector<ReplayResult> results = model.replay(requests);
    for (std::size_t v = 0; v < variants.size(); ++v) {
      if (!is_finite(results[v])) return {kNotFinite, ""};
      for (std::size_t i = 0; i < variants[v].asked.size(); ++i)
        take(results[v], i, longer[v], asked, variants[v].asked[i], found);
    }
    return {"", to_bytes(found)};
  }

  // Nothing to block anywhere.
  PromptPositions no_positions(const Asked& asked) const {
    PromptPositions found;
    const std::size_t count = asked.size();
    for (const AskedItem& one : asked)
      found.items.push_back(
          no_answers(windows_of(plan_.series, one.series).size(), stored_by(plan_)));
    found.clean_log_probability.assign(count, kNaN);
    found.clean_rank.assign(count, 0);
    found.subject_at.assign(count, -1);
    found.distance.assign(count, -1);
    return found;
  }

  void take(const ReplayResult& result, std::size_t series, const TokenizedPrompt& prompt,
            const Asked& asked, std::size_t i, PromptPositions& found) const {
    const PositionSpec& item = plan_.items.at(asked[i].item);
    found.clean_log_probability[i] = result.clean.log_probability;
    found.clean_rank[i] = result.clean.rank;
    found.subject_at[i] = prompt.subject.front();
    found.distance[i] = static_cast<std::int32_t>(prompt.ids.size()) - 1 - prompt.subject.back();
    found.items[i] = cells_of_edge(
        result.knockouts[series], result.clean.log_probability,
        count_edges(positions_of(item.to, prompt, 0), positions_of(item.from, prompt, 0)),
        stored_by(plan_));
  }

  PositionPlan plan_;
};

// ---- the section

Form<NeutralPlace> place_form() {
  return one_of<NeutralPlace>(
      "place", {{"before", NeutralPlace::kBefore}, {"between", NeutralPlace::kBetween}});
}

Fields<PositionConfig> position_fields() {
  using T = PositionConfig;
  constexpr FieldOptions kRequired = {.required = true};
  Fields<T> fields = {
      field("windows", &T::windows, section(windows_fields()), "windows of layers", kRequired),
      field("from", &T::from, list_of(token_group_form()), "source tokens, as of interventions",
            kRequired),
      field("to", &T::to, word_or("last", std::vector<TokenGroup>{}, list_of(token_group_form())),
            "target tokens; every pair of both lists is an edge"),
      field("places", &T::places, list_of(place_form()),
            "where the neutral text stands: before the prompt's text, or between subject and last "
            "token, right behind the subject"),
      field("lengths", &T::lengths, list_of(whole_number<int>(1, kLongest)),
            "how many neutral tokens; none of them is always computed as well", kRequired),
      field("texts", &T::texts, list_of(text()),
            "neutral texts, which are repeated in an order drawn for each prompt", kRequired),
      field("seed", &T::seed, whole_number<std::uint64_t>(0, std::numeric_limits<int>::max()),
            "draws that order"),
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

class PositionPlanner {
 public:
  PositionPlanner(const ModelToPlan& model, std::size_t entries)
      : model_(model), entries_(entries) {
    plan_.positions = model.architecture.max_positions;
    plan_.routes = model.architecture.routes();
  }

  Asked add(std::size_t index, const PositionConfig& entry) {
    const auto key = [&](const char* name) {
      return key_in_entry(position_kind().section(), index, entries_, name);
    };
    check_sizes(model_, key("windows.sizes"), entry.windows.sizes);
    check_lengths(entry, key("lengths"));
    take_texts(entry, key("texts"));
    const std::vector<std::uint32_t> series = add_series(
        plan_.series, entry.windows.sizes, entry.windows.placement, model_.architecture.layers);
    const std::vector<TokenGroup> targets =
        entry.to.empty() ? std::vector<TokenGroup>{TokenGroup{}} : entry.to;
    Asked asked;
    for (const TokenGroup& from : entry.from)
      for (const TokenGroup& to : targets) {
        check_group(from, key("from"));
        check_group(to, key("to"));
        for (const NeutralPlace place : entry.places) {
          asked.push_back({place_in(plan_.items, {from, to, place, 0}), series});
          for (const int length : entry.lengths)
            asked.push_back({place_in(plan_.items, {from, to, place, length}), series});
        }
      }
    std::sort(asked.begin(), asked.end());
    return asked;
  }

  PositionPlan take() { return std::move(plan_); }

 private:
  void check_group(const TokenGroup& group, const std::string& key) const {
    if (group.one_by_one())
      throw InputError(model_.file.string(), fmt::format("key {}: each is no group here", key),
                       "name roles or places");
    require_in_text(group, model_.prompts, model_.file.string(), key);
  }

  void check_lengths(const PositionConfig& entry, const std::string& key) const {
    for (const int length : entry.lengths)
      if (plan_.positions > 0 && length >= plan_.positions)
        throw InputError(
            model_.file.string(),
            fmt::format("key {}: {} neutral tokens do not fit model {}, which has {} positions",
                        key, length, model_.name, plan_.positions),
            "leave the length to models that have more by an entry with models: [...]");
  }

  // All entries of a model draw from the same texts.
  void take_texts(const PositionConfig& entry, const std::string& key) {
    if (!plan_.texts.empty() && (plan_.texts != entry.texts || plan_.seed != entry.seed))
      throw InputError(model_.file.string(),
                       fmt::format("key {}: model {} has other texts or another seed in an earlier "
                                   "entry",
                                   key, model_.name),
                       "give both entries the same");
    plan_.texts = entry.texts;
    plan_.seed = entry.seed;
  }

  const ModelToPlan& model_;
  std::size_t entries_;
  PositionPlan plan_;
};

class PositionKind final : public ExperimentKind {
 public:
  std::string name() const override { return "position"; }
  std::uint32_t number() const override { return 14; }

  std::string section() const override { return "position"; }
  Form<Entries> form() const override { return section_form(position_form()); }
  std::optional<Placement> placement(const Entry& entry) const override {
    return static_cast<const PositionConfig&>(entry).windows.placement;
  }

  PlannedWork plan(const Entries& entries, const ModelToPlan& model) const override {
    return planned_by<PositionConfig, PositionPlanner, PositionWork>(entries, model);
  }
  std::shared_ptr<const Work> work_from(const std::string& bytes) const override {
    return std::make_shared<PositionWork>(from_bytes<PositionPlan>(bytes, "the plan of positions"));
  }

  std::string progress(const PromptCount& count, std::uint32_t asked) const override {
    return asked == 0 ? "no prompt to put neutral text into"
                      : in_words(count, asked, "selected prompt", "moved by neutral text");
  }
};

}  // namespace

Form<std::vector<PositionConfig>> position_form() {
  return one_or_several(section(position_fields()));
}

const ExperimentKind& position_kind() {
  static const PositionKind kind;
  return kind;
}

}  // namespace factflow
