#include "experiments/surge/surge.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "experiments/bytes.hpp"
#include "experiments/planning.hpp"
#include "experiments/surge/surge_numbers.hpp"
#include "experiments/surge/surge_reads.hpp"
#include "model/check_intervention.hpp"

namespace factflow {

template <class Archive>
void serialize(Archive& archive, SurgeFinding& f) {
  archive(f.log_probability, f.rank, f.parts, f.scale, f.competitor, f.competitor_text,
          f.competitor_log, f.loser, f.loser_text, f.loser_clean, f.loser_knocked, f.lost,
          f.half_lost, f.lens_answer, f.lens_competitor, f.lens_rank, f.answer_written,
          f.competitor_written, f.weight);
}

template <class Archive>
void serialize(Archive& archive, SurgeShape::Layer& l) {
  archive(l.added, l.from, l.heads);
}

namespace {

constexpr int kMostLosers = 100, kMostLayers = 10000;
constexpr std::int32_t kComputed = 1, kNotComputed = 0, kFailed = -2;
constexpr const char* kNotLinear =
    "the logits are not linear in the normed stream, so its parts cannot be told apart";

// Items are numbers of layers.
struct SurgePlan {
  std::vector<int> windows;
  int losers = 0;  // of all items
  SurgeShape shape;
};
template <class Archive>
void serialize(Archive& archive, SurgePlan& p) {
  archive(p.windows, p.losers, p.shape.layers);
}

// What is found about one prompt: [asked item].
struct PromptSurge {
  std::vector<SurgeFinding> of_item;
};
template <class Archive>
void serialize(Archive& archive, PromptSurge& p) {
  archive(p.of_item);
}

void append(std::vector<double>& to, const at::Tensor& values) {
  const at::Tensor all = values.contiguous();
  to.insert(to.end(), all.data_ptr<double>(), all.data_ptr<double>() + all.numel());
}

// ---- one prompt

class SurgeOfPrompt {
 public:
  SurgeOfPrompt(const LoadedModel& model, const SurgeReads& reads, const ReplayResult& result,
                int answer, int losers)
      : model_(model), reads_(reads), result_(result), answer_(answer), losers_(losers) {}

  // Why there is nothing; empty: there is.
  std::string compute() {
    for (const std::size_t run : {kClean, kKnocked}) {
      streams_[run] = reads_.streams(result_, run);
      lens_[run] = lens(model_.network(), streams_[run]);
    }
    const auto clean = split_logits(model_.network(), streams_[kClean][-1]),
               knocked = split_logits(model_.network(), streams_[kKnocked][-1]);
    if (!clean || !knocked) return kNotLinear;
    take_competitor();
    for (const double part : change_parts(*clean, *knocked, answer_, found_.competitor))
      found_.parts.push_back(part);
    found_.scale = {clean->scale, knocked->scale};
    for (const std::size_t run : {kClean, kKnocked}) {
      take_lens(run);
      take_written(run, clean->scale);
    }
    take_losers();
    found_.weight = reads_.weights(result_);
    return "";
  }
  SurgeFinding take() { return std::move(found_); }

 private:
  at::Tensor last(std::size_t run) const { return lens_[run][-1]; }

  void take_competitor() {
    at::Tensor others = last(kClean).clone();
    others[answer_] = -std::numeric_limits<double>::infinity();
    found_.competitor = static_cast<std::int32_t>(others.argmax().item<std::int64_t>());
    found_.competitor_text = model_.tokenizer().token_text(found_.competitor);
  }

  void take_lens(std::size_t run) {
    const at::Tensor& of = lens_[run];
    append(found_.lens_answer, of.select(1, answer_));
    append(found_.lens_competitor, of.select(1, found_.competitor));
    const at::Tensor likelier = of.ge(of.select(1, answer_).unsqueeze(1)).sum(1).contiguous();
    for (std::int64_t depth = 0; depth < likelier.numel(); ++depth)
      found_.lens_rank.push_back(static_cast<std::int32_t>(likelier[depth].item<std::int64_t>()));
    found_.log_probability.push_back(last(run)[answer_].item<double>());
    found_.competitor_log.push_back(last(run)[found_.competitor].item<double>());
    found_.rank.push_back(found_.lens_rank.back());
  }

  // At the clean run's scale in both runs, so that they differ in what is written alone.
  void take_written(std::size_t run, double scale) {
    const at::Tensor parts = reads_.written(result_, run), rest = streams_[run][-1] - parts.sum(0);
    const at::Tensor direct =
        scale * direct_of(model_.network(), at::cat({parts, rest.unsqueeze(0)}));
    append(found_.answer_written, direct.select(1, answer_));
    append(found_.competitor_written, direct.select(1, found_.competitor));
  }

  void take_losers() {
    const at::Tensor clean = last(kClean).exp(), knocked = last(kKnocked).exp();
    at::Tensor loss = clean - knocked;
    loss[answer_] = 0;
    loss = loss.clamp_min(0);
    const auto [sorted, tokens] = loss.sort(/*stable=*/true, /*dim=*/0, /*descending=*/true);
    found_.lost = loss.sum().item<double>();
    const at::Tensor running = sorted.cumsum(0);
    found_.half_lost =
        found_.lost > 0
            ? 1 + static_cast<std::int32_t>(running.lt(found_.lost / 2).sum().item<std::int64_t>())
            : 0;
    for (int i = 0; i < losers_ && i < loss.numel() && sorted[i].item<double>() > 0; ++i) {
      const auto token = tokens[i].item<std::int64_t>();
      found_.loser.push_back(static_cast<std::int32_t>(token));
      found_.loser_text.push_back(model_.tokenizer().token_text(static_cast<int>(token)));
      found_.loser_clean.push_back(clean[token].item<double>());
      found_.loser_knocked.push_back(knocked[token].item<double>());
    }
  }

  const LoadedModel& model_;
  const SurgeReads& reads_;
  const ReplayResult& result_;
  int answer_, losers_;
  at::Tensor streams_[kRuns], lens_[kRuns];
  SurgeFinding found_;
};

// ---- results

class SurgeArrays final : public ArrayMaker {
 public:
  SurgeArrays(const SurgePlan& plan, const Subjects& subjects) {
    for (std::uint32_t i = 0; i < subjects.asked.size(); ++i) rows_.emplace(subjects.asked[i], i);
    for (const int window : plan.windows) {
      SurgeResult& result = results_.emplace_back();
      result.window = window;
      result.layers = static_cast<std::int64_t>(plan.shape.layers.size());
      result.losers = plan.losers;
      result.components = plan.shape.components();
      for (const std::uint32_t prompt : subjects.asked)
        result.prompts.push_back(subjects.prompts[prompt].id);
      result.status.assign(result.prompts.size(),
                           subjects.parts.empty() ? kNotComputed : kSurgeNotAsked);
      result.found.resize(result.prompts.size());
    }
    for (const Subjects::Part& part : subjects.parts)
      for (const AskedItem& one : part.asked)
        for (const std::uint32_t prompt : part.prompts)
          results_.at(one.item).status[rows_.at(prompt)] = kNotComputed;
  }

  void add(std::uint32_t prompt, const Asked& asked, const std::string& values) override {
    auto found = from_bytes<PromptSurge>(values, "the last token's surge");
    for (std::size_t i = 0; i < asked.size(); ++i) {
      SurgeResult& result = results_.at(asked[i].item);
      result.status[rows_.at(prompt)] = kComputed;
      result.found[rows_.at(prompt)] = std::move(found.of_item.at(i));
    }
  }
  void add_failed(std::uint32_t prompt, const Asked& asked) override {
    for (const AskedItem& one : asked) results_.at(one.item).status[rows_.at(prompt)] = kFailed;
  }

  std::vector<ArrayGroup> groups() override {
    std::vector<ArrayGroup> groups;
    for (const SurgeResult& result : results_)
      if (!result.prompts.empty()) groups.push_back(arrays_of(result));
    return groups;
  }

 private:
  std::map<std::uint32_t, std::size_t> rows_;  // by prompt
  std::vector<SurgeResult> results_;           // [item]
};

// ---- work

class SurgeWork final : public Work {
 public:
  explicit SurgeWork(SurgePlan plan) : plan_(std::move(plan)) {}
  std::string bytes() const override { return to_bytes(plan_); }

  std::string describe(const Asked& asked) const override {
    std::vector<int> windows;
    for (const AskedItem& one : asked) windows.push_back(plan_.windows.at(one.item));
    return fmt::format("the last token's surge, last {} layers", fmt::join(windows, " "));
  }
  std::string summary() const override {
    return plan_.windows.empty() ? "" : "the last token's surge";
  }

  std::vector<Replays> replays(const Asked& asked, double) const override {
    std::vector<Replays> replays;
    for (const AskedItem& one : asked) {
      const int layers = static_cast<int>(plan_.shape.layers.size()),
                first = layers - plan_.windows.at(one.item);
      replays.push_back({1, {{first, layers}}});
      std::vector<Window> single;
      for (int layer = first; layer < layers; ++layer) single.push_back({layer, layer + 1});
      replays.push_back({4, std::move(single)});
    }
    return replays;
  }
  PromptBytes bytes_of_prompt(const Asked& asked, double) const override {
    const auto layers = static_cast<double>(plan_.shape.layers.size());
    double numbers = 0;
    for (const AskedItem& one : asked)
      numbers +=
          kRuns * (2.5 * (layers + 1) + 2 * static_cast<double>(plan_.shape.components().size())) +
          kSources * plan_.windows.at(one.item) + 4 * plan_.losers;
    return {numbers * sizeof(double), numbers * sizeof(double)};
  }

  // The items' series and reads, one item after the other.
  ReplayRequest request(const Asked& asked, const TokenizedPrompt& prompt,
                        std::span<const TokenizedPrompt>) const override {
    ReplayRequest all{prompt.ids, prompt.answer};
    for (const AskedItem& one : asked) {
      const SurgeReads reads(plan_.shape, plan_.windows.at(one.item), prompt);
      for (ReadAt read : reads.request().reads) {
        if (read.under) read.under->series += all.series.size();
        all.reads.push_back(std::move(read));
      }
      all.series.insert(all.series.end(), reads.request().series.begin(),
                        reads.request().series.end());
    }
    return all;
  }
  Finding record(const LoadedModel& model, const Asked& asked, const TokenizedPrompt& prompt,
                 std::span<const TokenizedPrompt>, const ReplayResult& result) const override {
    PromptSurge found;
    std::size_t first = 0;  // of the item's reads
    for (const AskedItem& one : asked) {
      const SurgeReads reads(plan_.shape, plan_.windows.at(one.item), prompt);
      ReplayResult own;
      const std::size_t count = reads.request().reads.size();
      own.reads.assign(result.reads.begin() + static_cast<std::ptrdiff_t>(first),
                       result.reads.begin() + static_cast<std::ptrdiff_t>(first + count));
      first += count;
      SurgeOfPrompt surge(model, reads, own, prompt.answer, plan_.losers);
      if (std::string failure = surge.compute(); !failure.empty()) return {failure, ""};
      found.of_item.push_back(surge.take());
    }
    return {"", to_bytes(found)};
  }

  std::unique_ptr<ArrayMaker> arrays(const Subjects& subjects) const override {
    return std::make_unique<SurgeArrays>(plan_, subjects);
  }

 private:
  SurgePlan plan_;
};

// ---- the section

Fields<SurgeConfig> surge_fields() {
  using T = SurgeConfig;
  Fields<T> fields = {
      field("layers", &T::layers,
            word_or("9 of 64", std::vector<int>{}, list_of(whole_number<int>(1, kMostLayers))),
            "how many of the last layers lose the edge last -> last; by default as large a part of "
            "the model as 9 of 64"),
      field("losers", &T::losers, whole_number<int>(1, kMostLosers),
            "how many of the tokens that lose most are stored"),
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

class SurgePlanner {
 public:
  SurgePlanner(const ModelToPlan& model, std::size_t entries) : model_(model), entries_(entries) {
    plan_.shape = surge_shape(model.architecture);
  }

  Asked add(std::size_t index, const SurgeConfig& entry) {
    const auto key = [&](const char* name) {
      return key_in_entry(surge_kind().section(), index, entries_, name);
    };
    check_sizes(model_, key("layers"), entry.layers);
    check_edges(key("layers"));
    check_logits(key("layers"));
    if (plan_.losers != 0 && plan_.losers != entry.losers)
      throw InputError(model_.file.string(),
                       fmt::format("key {}: model {} has other losers in an earlier entry",
                                   key("losers"), model_.name),
                       "give both entries the same");
    plan_.losers = entry.losers;
    Asked asked;
    for (const int window : windows_of(entry))
      asked.push_back({place_in(plan_.windows, window), {}});
    std::sort(asked.begin(), asked.end());
    return asked;
  }

  SurgePlan take() { return std::move(plan_); }

 private:
  std::vector<int> windows_of(const SurgeConfig& entry) const {
    if (!entry.layers.empty()) return entry.layers;
    return {std::max(1, static_cast<int>(std::lround(9.0 * model_.architecture.layers / 64)))};
  }

  // Some layer may have no tokens mixed.
  void check_edges(const std::string& key) const {
    const int layers = model_.architecture.layers;
    try {
      InterventionCheck(model_.architecture)
          .series(Series({0}, {0}, ChannelSet{}, {{layers - 1, layers}}));
    } catch (const std::invalid_argument& error) {
      throw InputError(model_.file.string(),
                       fmt::format("key {}: model {}: {}", key, model_.name, error.what()),
                       "leave the model out by an entry with models: [...]");
    }
  }

  void check_logits(const std::string& key) const {
    if (model_.architecture.logits_cap != 0)
      throw InputError(
          model_.file.string(),
          fmt::format("key {}: model {} caps its logits: {}", key, model_.name, kNotLinear),
          "leave the model out by an entry with models: [...]");
  }

  const ModelToPlan& model_;
  std::size_t entries_;
  SurgePlan plan_;
};

class SurgeKind final : public ExperimentKind {
 public:
  std::string name() const override { return "surge"; }
  std::uint32_t number() const override { return 13; }

  std::string section() const override { return "surge"; }
  Form<Entries> form() const override { return section_form(surge_form()); }

  PlannedWork plan(const Entries& entries, const ModelToPlan& model) const override {
    return planned_by<SurgeConfig, SurgePlanner, SurgeWork>(entries, model);
  }
  std::shared_ptr<const Work> work_from(const std::string& bytes) const override {
    return std::make_shared<SurgeWork>(
        from_bytes<SurgePlan>(bytes, "the plan of the last token's surge"));
  }

  std::string progress(const PromptCount& count, std::uint32_t asked) const override {
    return asked == 0 ? "no prompt to look for the surge in"
                      : in_words(count, asked, "selected prompt", "looked at for the surge");
  }
};

}  // namespace

Form<std::vector<SurgeConfig>> surge_form() {
  return one_or_several(section(surge_fields()));
}

const ExperimentKind& surge_kind() {
  static const SurgeKind kind;
  return kind;
}

}  // namespace factflow
