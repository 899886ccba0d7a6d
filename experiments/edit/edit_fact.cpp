#include "experiments/edit/edit_fact.hpp"

#include <algorithm>
#include <utility>

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include "base/error.hpp"
#include "model/edit/optimise.hpp"
#include "model/reference/reference_rows.hpp"

namespace factflow {
namespace {
constexpr const char* kBehindContext = ". ";  // between a context and the prompt
constexpr const char* kEssence = " is a";     // behind the subject

// The last token that covers a byte of [begin, end), of texts that stand behind `added` tokens.
int last_token(const Encoding& text, std::int64_t begin, std::int64_t end,
               const std::string& where) {
  for (std::size_t i = text.ids.size(); i-- > 0;)
    if (text.offsets[i].first < end && text.offsets[i].second > begin) return static_cast<int>(i);
  throw InputError(where, "no token covers the subject");
}

// log p of what comes after each, float64 [vocabulary], on the CPU.
std::vector<at::Tensor> next_tokens(const Network& network,
                                    const std::vector<EditFact::Other>& prompts) {
  const ReferenceRows forward(network);
  std::vector<std::int64_t> lengths;
  for (const EditFact::Other& one : prompts)
    lengths.push_back(static_cast<std::int64_t>(one.prompt.ids.size()));
  std::vector<at::Tensor> all(prompts.size());
  for (const std::vector<std::size_t>& batch : row_batches(lengths, network.architecture())) {
    std::vector<std::vector<int>> ids;
    std::vector<std::int64_t> rows, last;
    for (const std::size_t i : batch) {
      rows.push_back(static_cast<std::int64_t>(ids.size()));
      last.push_back(lengths[i] - 1);
      ids.push_back(prompts[i].prompt.ids);
    }
    const at::Tensor top =
        forward.through(forward.embedded(ids), 0, network.architecture().layers).h;
    const at::Tensor states =
        top.index({indices_on(rows, network.device()), indices_on(last, network.device())});
    const at::Tensor log_p = forward.logits(states).to(at::kDouble).log_softmax(1).cpu();
    for (std::size_t i = 0; i < batch.size(); ++i)
      all[batch[i]] = log_p[static_cast<std::int64_t>(i)];
  }
  return all;
}

class FactMaker {
 public:
  FactMaker(const LoadedModel& model, const EditConfig& config, const FactPool& pool,
            const EditBackground& background, const TokenizedPrompt& prompt)
      : model_(model),
        config_(config),
        pool_(pool),
        background_(background),
        tokens_(prompt),
        prompt_(prompt.prompt),
        where_(fmt::format("prompt {}", prompt_.id)) {}

  EditFact fact() {
    if (prompt_.new_answer.empty())
      throw InputError(where_, "the dataset says no other answer that an edit could give it");
    if (prompt_.new_answer == prompt_.answer)
      throw InputError(where_, "its new answer is the one that it has");
    EditFact fact;
    fact.new_ids = answer(prompt_.new_answer);
    fact.true_ids = answer(prompt_.answer);
    ask(fact, EditQuestion::kRewrite, {prompt_.text});
    ask(fact, EditQuestion::kParaphrase, pool_.paraphrases(prompt_, count(config_.paraphrases)));
    ask(fact, EditQuestion::kNeighbour, pool_.neighbours(prompt_, count(config_.neighbours)));
    for (const OtherFact kind : kOtherFacts) look_at(fact, kind);
    fact.request = request(fact);
    return fact;
  }

 private:
  static std::size_t count(int number) { return static_cast<std::size_t>(number); }

  std::vector<int> answer(const std::string& text) const {
    std::vector<int> ids = model_.answer_tokens(prompt_.text, text);
    if (ids.empty()) throw InputError(where_, fmt::format("the answer '{}' has no token", text));
    check(ids);
    return ids;
  }

  void check(const std::vector<int>& ids) const {
    require_tokens(ids, model_.network().architecture(), where_);
  }

  // Questions with either answer must be what the model takes.
  void ask(EditFact& fact, EditQuestion kind, const std::vector<std::string>& texts) const {
    int number = 0;
    for (const std::string& text : texts) {
      const bool itself = kind == EditQuestion::kRewrite;
      std::vector<int> ids = itself ? tokens_.ids : model_.tokenizer().encode(text).ids;
      if (ids.empty())
        throw InputError(where_, fmt::format("its {} '{}' has no tokens", to_string(kind), text));
      check(joined(ids, fact.new_ids));
      check(joined(ids, fact.true_ids));
      fact.questions.push_back({kind, number++, text, std::move(ids)});
    }
  }

  // Prompts without tokens are failures of their own.
  void look_at(EditFact& fact, OtherFact kind) const {
    std::vector<Prompt> prompts;
    for (const Prompt* other : pool_.others(prompt_, kind, count(config_.others)))
      prompts.push_back(*other);
    int number = 0;
    for (TokenizedPrompt& other : model_.tokenize_usable(prompts))
      fact.others.push_back({kind, number++, std::move(other)});
  }

  EditRequest request(EditFact& fact) const {
    EditRequest request;
    request.prompt = tokens_.ids;
    request.subject_last = tokens_.subject.back();
    request.answer = tokens_.answer;
    request.target = fact.new_ids;
    request.contexts = background_.contexts;
    const std::string behind = kBehindContext + prompt_.text;
    const Encoding continued = model_.tokenizer().encode_raw(behind);
    const std::int64_t begin =
        prompt_.subject_begin + static_cast<std::int64_t>(std::string(kBehindContext).size());
    const auto length = static_cast<std::int64_t>(prompt_.subject.size());
    request.continued = continued.ids;
    request.continued_subject_last = last_token(continued, begin, begin + length, where_);
    for (const std::vector<int>& context : request.contexts)
      if (!context.empty()) check(joined(joined(context, request.continued), fact.new_ids));
    fact.essence = prompt_.subject + kEssence;
    const Encoding essence = model_.tokenizer().encode(fact.essence);
    request.essence = essence.ids;
    request.essence_subject_last = last_token(essence, 0, length, where_);
    check(request.essence);
    return request;
  }

  const LoadedModel& model_;
  const EditConfig& config_;
  const FactPool& pool_;
  const EditBackground& background_;
  const TokenizedPrompt& tokens_;
  const Prompt& prompt_;
  std::string where_;
};

}  // namespace

EditFact edit_fact(const LoadedModel& model, const EditConfig& config, const FactPool& pool,
                   const EditBackground& background, const TokenizedPrompt& prompt) {
  return FactMaker(model, config, pool, background, prompt).fact();
}

EditVerdict verdict(const Network& network, const EditFact& fact) {
  const at::NoGradGuard no_graph;
  std::vector<Continuation> asked;
  for (const std::vector<int>* answer : {&fact.new_ids, &fact.true_ids})
    for (const EditFact::Question& question : fact.questions)
      asked.push_back({question.ids, *answer});
  const std::vector<ContinuationOutcome> outcomes = continuations(network, asked);
  const auto half = outcomes.begin() + static_cast<std::ptrdiff_t>(fact.questions.size());
  return {{outcomes.begin(), half}, {half, outcomes.end()}, next_tokens(network, fact.others)};
}

}  // namespace factflow
