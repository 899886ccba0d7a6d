#include "experiments/evaluate/evaluate.hpp"

#include <cmath>
#include <limits>

#include "experiments/bytes.hpp"
#include "experiments/evaluate/evaluation_arrays.hpp"
#include "results/answer_summary.hpp"

namespace factflow {

template <class Archive>
void serialize(Archive& archive, PromptEvaluation& p) {
  archive(p.probability, p.rank, p.tied, p.answer_token, p.answer_text, p.changes, p.token_count,
          p.subject_begin, p.subject_end, p.top_token, p.top_probability, p.top_text);
}

std::string encode(const PromptEvaluation& evaluation) {
  return to_bytes(evaluation);
}
PromptEvaluation decode_evaluation(const std::string& values) {
  return from_bytes<PromptEvaluation>(values, "an evaluation");
}

namespace {

constexpr int kTopTokens = 5;
constexpr UnitLimits kPromptsPerUnit = {512, 64};  // about nine columns each
constexpr double kBytesOfResults = 120;            // of one prompt
constexpr std::size_t kTokenText = 6;              // bytes, for estimates
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

class EvaluationArrays final : public ArrayMaker {
 public:
  explicit EvaluationArrays(const Subjects& subjects)
      : subjects_(subjects), found_(subjects.prompts.size()) {}

  void add(std::uint32_t prompt, const Asked&, const std::string& values) override {
    found_.at(prompt) = decode_evaluation(values);
  }

  std::vector<ArrayGroup> groups() override {
    out_.top = kTopTokens;
    for (std::size_t p = 0; p < found_.size(); ++p) add_row(subjects_.prompts[p], found_[p]);
    return {arrays_of(out_)};
  }

  std::vector<std::string> warnings() const override { return answers_.warnings(); }

 private:
  void add_row(const Prompt& prompt, const PromptEvaluation& one) {
    const bool good = one.rank > 0;
    if (good) answers_.add(prompt.answer, one.answer_token, one.answer_text, one.changes);
    out_.prompt.push_back(prompt.id);
    out_.probability.push_back(good ? one.probability : kNaN);
    out_.rank.push_back(good ? one.rank : 0);
    out_.tied.push_back(good ? one.tied : 0);
    out_.answer_token.push_back(good ? one.answer_token : -1);
    out_.answer_text.push_back(good ? one.answer_text : "");
    out_.changes.push_back(good && one.changes ? 1 : 0);
    out_.token_count.push_back(good ? one.token_count : 0);
    out_.subject_begin.push_back(good ? one.subject_begin : 0);
    out_.subject_end.push_back(good ? one.subject_end : 0);
    for (std::size_t k = 0; k < kTopTokens; ++k) {
      const bool there = k < one.top_token.size();
      out_.top_token.push_back(there ? one.top_token[k] : -1);
      out_.top_probability.push_back(there ? one.top_probability[k] : kNaN);
      out_.top_text.push_back(there ? one.top_text[k] : "");
    }
  }

  const Subjects& subjects_;
  std::vector<PromptEvaluation> found_;  // [prompt] rank 0 = failed, or not computed yet
  EvaluationResult out_;
  AnswerSummary answers_;
};

class EvaluateWork final : public Work {
 public:
  std::string bytes() const override { return ""; }
  std::string describe(const Asked&) const override { return "evaluate"; }

  std::vector<Replays> replays(const Asked&, double) const override { return {}; }
  UnitLimits limits(const Asked&) const override { return kPromptsPerUnit; }
  PromptBytes bytes_of_prompt(const Asked&, double) const override {
    PromptEvaluation sample;
    const std::string token(kTokenText, 'x');
    sample.answer_text = token;
    sample.top_token.resize(kTopTokens);
    sample.top_probability.resize(kTopTokens);
    sample.top_text.assign(kTopTokens, token);
    return {kBytesOfResults, static_cast<double>(encode(sample).size())};
  }

  ReplayRequest request(const Asked&, const TokenizedPrompt& prompt,
                        std::span<const TokenizedPrompt>) const override {
    return {prompt.ids, prompt.answer, {}};
  }
  int top_tokens() const override { return kTopTokens; }

  Finding record(const LoadedModel& model, const Asked&, const TokenizedPrompt& prompt,
                 std::span<const TokenizedPrompt>, const ReplayResult& result) const override {
    const Tokenizer& tokenizer = model.tokenizer();
    PromptEvaluation evaluation;
    evaluation.probability = static_cast<float>(std::exp(result.clean.log_probability));
    evaluation.rank = result.clean.rank;
    evaluation.tied = result.clean.tied;
    evaluation.answer_token = prompt.answer;
    evaluation.answer_text = tokenizer.token_text(prompt.answer);
    evaluation.changes = prompt.changes;
    evaluation.token_count = static_cast<std::int32_t>(prompt.ids.size());
    evaluation.subject_begin = prompt.subject.front();
    evaluation.subject_end = prompt.subject.back() + 1;
    for (const TopToken& top : result.top) {
      evaluation.top_token.push_back(top.token);
      evaluation.top_probability.push_back(static_cast<float>(top.probability));
      // Rows of the embedding without a token are padding.
      evaluation.top_text.push_back(tokenizer.has_token(top.token) ? tokenizer.token_text(top.token)
                                                                   : "");
    }
    return {"", encode(evaluation)};
  }

  std::unique_ptr<ArrayMaker> arrays(const Subjects& subjects) const override {
    return std::make_unique<EvaluationArrays>(subjects);
  }
};

class EvaluateKind final : public ExperimentKind {
 public:
  std::string name() const override { return "evaluate"; }
  std::uint32_t number() const override { return 1; }
  bool offers_ranks() const override { return true; }
  std::int32_t rank_in(const std::string& values) const override {
    return decode_evaluation(values).rank;
  }
  PlannedWork plan(const Entries&, const ModelToPlan&) const override {
    return {std::make_shared<EvaluateWork>(), {}};
  }
  std::shared_ptr<const Work> work_from(const std::string&) const override {
    return std::make_shared<EvaluateWork>();
  }
  std::string progress(const PromptCount& count, std::uint32_t asked) const override {
    return in_words(count, asked, "prompt", "evaluated");
  }
};

}  // namespace

const ExperimentKind& evaluate_kind() {
  static const EvaluateKind kind;
  return kind;
}

}  // namespace factflow
