#include "experiments/answers/answers.hpp"

#include <algorithm>
#include <limits>
#include <map>
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

namespace factflow {
namespace {

constexpr double kUsualTokens = 3;  // of an answer, for estimates
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

struct EdgeSpec {
  TokenGroup from, to;
  bool operator==(const EdgeSpec&) const = default;
  std::string label() const { return to_string(from) + "->" + to_string(to); }
};
template <class Archive>
void serialize(Archive& archive, EdgeSpec& e) {
  archive(e.from, e.to);
}

// Items 2 e and 2 e + 1 are edge e, judged by the first token and by the whole answer. Both are
// always asked for.
struct AnswersPlan {
  std::vector<EdgeSpec> edges;
  std::vector<WindowSeries> series;
  std::int64_t positions = 0;  // that the model has; 0 = no limit
  bool routes = false;         // whether it has experts
};
template <class Archive>
void serialize(Archive& archive, AnswersPlan& p) {
  archive(p.edges, p.series, p.positions, p.routes);
}

StoredCells stored_by(const AnswersPlan& plan) {
  return {.log_changes = true, .rerouted = plan.routes};
}

// What is found about one prompt.
struct PromptAnswers {
  std::int32_t tokens = 0;
  double clean_first = kNaN, clean_whole = kNaN;
  std::vector<CellValues> items;  // [asked item]
};
template <class Archive>
void serialize(Archive& archive, PromptAnswers& p) {
  archive(p.tokens, p.clean_first, p.clean_whole, p.items);
}

// The answers of several runs as that of all of them: none where one is none. The last run has the
// edges of all the others.
Answer joined(const std::vector<Answer>& tokens) {
  Answer all{0, 0, 0};
  for (const Answer& token : tokens) {
    if (token.rank == 0) return {};
    all.log_probability += token.log_probability;
    if (token.rank > all.rank) {
      all.rank = token.rank;
      all.tied = token.tied;
    }
    all.blocked_edges = token.blocked_edges;
    all.rerouted = std::max(all.rerouted, token.rerouted);
  }
  return all;
}

// ---- results

std::map<std::uint32_t, std::string> names_of(const std::vector<EdgeSpec>& edges) {
  std::map<std::uint32_t, std::string> names;
  for (const EdgeSpec& edge : edges)
    for (const bool whole : {false, true})
      names.emplace(static_cast<std::uint32_t>(names.size()),
                    to_string(AnswersItem{edge.label(), whole}));
  return names;
}

class AnswersArrays final : public ArrayMaker {
 public:
  AnswersArrays(const AnswersPlan& plan, const Subjects& subjects)
      : cells_(names_of(plan.edges), plan.series, subjects, stored_by(plan)) {
    answers_.tokens.assign(subjects.asked.size(), 0);
    answers_.clean_first.assign(subjects.asked.size(), kNaN);
    answers_.clean_whole.assign(subjects.asked.size(), kNaN);
  }

  void add(std::uint32_t prompt, const Asked& asked, const std::string& values) override {
    const auto found = from_bytes<PromptAnswers>(values, "whole answers");
    const std::size_t row = cells_.row_of(prompt);
    answers_.tokens[row] = found.tokens;
    answers_.clean_first[row] = found.clean_first;
    answers_.clean_whole[row] = found.clean_whole;
    for (std::size_t i = 0; i < asked.size(); ++i) cells_.add(prompt, asked[i], found.items.at(i));
  }
  void add_failed(std::uint32_t prompt, const Asked& asked) override {
    cells_.add_failed(prompt, asked);
  }

  std::vector<ArrayGroup> groups() override {
    if (cells_.empty()) return {};
    std::vector<ArrayGroup> groups = {arrays_of(cells_.axes(), answers_)};
    cells_.add_windows(answers_names(), groups);
    return groups;
  }

 private:
  CellCollector cells_;
  AnswersOfPrompts answers_;
};

// ---- work

class AnswersWork final : public Work {
 public:
  explicit AnswersWork(AnswersPlan plan) : plan_(std::move(plan)) {}
  std::string bytes() const override { return to_bytes(plan_); }

  std::string describe(const Asked& asked) const override {
    return fmt::format("whole answers, {}, windows {}", counted(asked.size() / 2, "edge"),
                       fmt::join(asked_sizes(plan_.series, asked), " "));
  }
  std::string summary() const override {
    return plan_.edges.empty() ? ""
                               : counted(plan_.edges.size(), "edge judged by whole answers",
                                         "edges judged by whole answers");
  }

  std::vector<Replays> replays(const Asked& asked, double) const override {
    std::vector<Replays> replays;
    for (const AskedItem& one : asked)
      if (one.item % 2 == 0)
        replays.push_back({kUsualTokens, windows_of(plan_.series, one.series)});
    return replays;
  }
  PromptBytes bytes_of_prompt(const Asked& asked, double) const override {
    double cells = 0;
    for (const AskedItem& one : asked)
      cells += static_cast<double>(windows_of(plan_.series, one.series).size());
    return {cells * stored_by(plan_).bytes(), cells * stored_by(plan_).bytes()};
  }

  // Of the answer's first token; also for the self-check and for estimates.
  ReplayRequest request(const Asked& asked, const TokenizedPrompt& prompt,
                        std::span<const TokenizedPrompt>) const override {
    return request_behind(asked, prompt, {prompt.answer}, 0);
  }
  Finding record(const LoadedModel&, const Asked&, const TokenizedPrompt&,
                 std::span<const TokenizedPrompt>, const ReplayResult&) const override {
    throw std::logic_error("whole answers are made of several results");
  }

  std::vector<Finding> compute(LoadedModel& model, const Asked& asked,
                               std::span<const TokenizedPrompt> prompts) const override {
    std::vector<ReplayRequest> requests;
    std::vector<std::size_t> counts;  // of requests, per prompt
    for (const TokenizedPrompt& prompt : prompts) {
      std::vector<int> answer = model.answer_tokens(prompt.prompt.text, prompt.prompt.answer);
      answer.front() = prompt.answer;
      counts.push_back(fits(prompt, answer) ? answer.size() : 0);
      for (std::size_t token = 0; token < counts.back(); ++token)
        requests.push_back(request_behind(asked, prompt, answer, token));
    }
    const std::vector<ReplayResult> results = model.replay(requests);
    std::vector<Finding> findings;
    std::size_t first = 0;
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      findings.push_back(
          counts[i] == 0
              ? Finding{"prompt and answer are longer than the model's positions", ""}
              : finding_of(asked, prompts[i], std::span(results).subspan(first, counts[i])));
      first += counts[i];
    }
    return findings;
  }

  std::unique_ptr<ArrayMaker> arrays(const Subjects& subjects) const override {
    return std::make_unique<AnswersArrays>(plan_, subjects);
  }

 private:
  bool fits(const TokenizedPrompt& prompt, const std::vector<int>& answer) const {
    return plan_.positions == 0 ||
           static_cast<std::int64_t>(prompt.ids.size() + answer.size()) - 1 <= plan_.positions;
  }

  // The prompt with the answer's first `token` tokens behind it, asked for the next one. What is
  // blocked into the prompt's last token is blocked into these as well.
  ReplayRequest request_behind(const Asked& asked, const TokenizedPrompt& prompt,
                               const std::vector<int>& answer, std::size_t token) const {
    ReplayRequest request{prompt.ids, answer[token]};
    request.ids.insert(request.ids.end(), answer.begin(),
                       answer.begin() + static_cast<std::ptrdiff_t>(token));
    const int last = static_cast<int>(prompt.ids.size()) - 1;
    for (const AskedItem& one : asked) {
      if (one.item % 2 != 0) continue;
      const EdgeSpec& edge = plan_.edges.at(one.item / 2);
      std::vector<int> targets = positions_of(edge.to, prompt, 0);
      if (!targets.empty() && targets.back() == last)
        for (std::size_t i = 0; i < token; ++i) targets.push_back(last + 1 + static_cast<int>(i));
      request.series.push_back({std::move(targets), positions_of(edge.from, prompt, 0),
                                ChannelSet{}, windows_of(plan_.series, one.series)});
    }
    return request;
  }

  Finding finding_of(const Asked& asked, const TokenizedPrompt& prompt,
                     std::span<const ReplayResult> tokens) const {
    if (!std::all_of(tokens.begin(), tokens.end(), is_finite)) return {kNotFinite, ""};
    PromptAnswers found;
    found.tokens = static_cast<std::int32_t>(tokens.size());
    std::vector<Answer> clean;
    for (const ReplayResult& token : tokens) clean.push_back(token.clean);
    found.clean_first = clean.front().log_probability;
    found.clean_whole = joined(clean).log_probability;
    std::size_t series = 0;
    for (std::size_t i = 0; i < asked.size(); i += 2, ++series) {
      const EdgeSpec& edge = plan_.edges.at(asked[i].item / 2);
      const std::vector<int> targets = positions_of(edge.to, prompt, 0),
                             sources = positions_of(edge.from, prompt, 0);
      std::vector<Answer> first, whole;
      for (std::size_t w = 0; w < tokens[0].knockouts[series].size(); ++w) {
        std::vector<Answer> of_tokens;
        for (const ReplayResult& token : tokens) of_tokens.push_back(token.knockouts[series][w]);
        first.push_back(of_tokens.front());
        whole.push_back(joined(of_tokens));
      }
      const std::int64_t edges = count_edges(targets, sources);
      found.items.push_back(cells_of_edge(first, found.clean_first, edges, stored_by(plan_)));
      found.items.push_back(cells_of_edge(whole, found.clean_whole, edges, stored_by(plan_)));
    }
    return {"", to_bytes(found)};
  }

  AnswersPlan plan_;
};

// ---- the section

Fields<AnswersConfig> answers_fields() {
  using T = AnswersConfig;
  constexpr FieldOptions kRequired = {.required = true};
  Fields<T> fields = {
      field("windows", &T::windows, section(windows_fields()), "windows of layers", kRequired),
      field("from", &T::from, list_of(token_group_form()), "source tokens, as of interventions",
            kRequired),
      field("to", &T::to, word_or("last", std::vector<TokenGroup>{}, list_of(token_group_form())),
            "target tokens; every pair of both lists is an edge. What is blocked into the last "
            "token is blocked into the answer's tokens behind it as well"),
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

class AnswersPlanner {
 public:
  AnswersPlanner(const ModelToPlan& model, std::size_t entries) : model_(model), entries_(entries) {
    plan_.positions = model.architecture.max_positions;
    plan_.routes = model.architecture.routes();
  }

  Asked add(std::size_t index, const AnswersConfig& entry) {
    const auto key = [&](const char* name) {
      return key_in_entry(answers_kind().section(), index, entries_, name);
    };
    check_sizes(model_, key("windows.sizes"), entry.windows.sizes);
    const std::vector<std::uint32_t> series = add_series(
        plan_.series, entry.windows.sizes, entry.windows.placement, model_.architecture.layers);
    const std::vector<TokenGroup> targets =
        entry.to.empty() ? std::vector<TokenGroup>{TokenGroup{}} : entry.to;
    Asked asked;
    for (const TokenGroup& from : entry.from)
      for (const TokenGroup& to : targets) {
        check_group(from, key("from"));
        check_group(to, key("to"));
        const std::uint32_t edge = place_in(plan_.edges, {from, to});
        asked.push_back({2 * edge, series});
        asked.push_back({2 * edge + 1, series});
      }
    std::sort(asked.begin(), asked.end());
    return asked;
  }

  AnswersPlan take() { return std::move(plan_); }

 private:
  void check_group(const TokenGroup& group, const std::string& key) const {
    if (group.one_by_one())
      throw InputError(model_.file.string(), fmt::format("key {}: each is no group here", key),
                       "name roles or places");
    require_in_text(group, model_.prompts, model_.file.string(), key);
  }

  const ModelToPlan& model_;
  std::size_t entries_;
  AnswersPlan plan_;
};

class AnswersKind final : public ExperimentKind {
 public:
  std::string name() const override { return "answers"; }
  std::uint32_t number() const override { return 15; }

  std::string section() const override { return "answers"; }
  Form<Entries> form() const override { return section_form(answers_form()); }
  std::optional<Placement> placement(const Entry& entry) const override {
    return static_cast<const AnswersConfig&>(entry).windows.placement;
  }

  PlannedWork plan(const Entries& entries, const ModelToPlan& model) const override {
    return planned_by<AnswersConfig, AnswersPlanner, AnswersWork>(entries, model);
  }
  std::shared_ptr<const Work> work_from(const std::string& bytes) const override {
    return std::make_shared<AnswersWork>(
        from_bytes<AnswersPlan>(bytes, "the plan of whole answers"));
  }

  std::string progress(const PromptCount& count, std::uint32_t asked) const override {
    return asked == 0 ? "no prompt to judge by whole answers"
                      : in_words(count, asked, "selected prompt", "judged by whole answers");
  }
};

}  // namespace

Form<std::vector<AnswersConfig>> answers_form() {
  return one_or_several(section(answers_fields()));
}

const ExperimentKind& answers_kind() {
  static const AnswersKind kind;
  return kind;
}

}  // namespace factflow
