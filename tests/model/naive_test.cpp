// The engine against whole forwards with materialised mixing matrices: every role, channel set and
// kind of window, several prompts in one run.
#include <cmath>

#include <gtest/gtest.h>

#include "model/prompt.hpp"
#include "model/replay/replay.hpp"
#include "model/threads.hpp"
#include "naive_forward.hpp"
#include "random_checkpoint.hpp"

namespace factflow {
namespace {

constexpr TokenRole kGroups[] = {
    TokenRole::kLast,    TokenRole::kFirst, TokenRole::kSubject,          TokenRole::kRelation,
    TokenRole::kContext, TokenRole::kAll,   TokenRole::kRelationMinusLast};

// All windows of a three-layer model, the empty one included: both placements of every size are
// among them.
const std::vector<Window> kWindows = {{0, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3}, {2, 3}, {1, 1}};

std::vector<ChannelSet> channel_sets(bool state_space, TokenRole from, TokenRole to) {
  std::vector<ChannelSet> sets = {{}};
  const bool pair = (from == TokenRole::kSubject && to == TokenRole::kLast) ||
                    (from == TokenRole::kAll && to == TokenRole::kAll) ||
                    (from == TokenRole::kRelation && to == TokenRole::kSubject);
  if (state_space && pair)
    for (const char* name :
         {"slow", "fast", "not-slow", "not-fast", "quantile 1/4", "quantile 3/4"})
      sets.push_back(parse_channel_set(name));
  return sets;
}

ReplayRequest request_of(const TokenizedPrompt& prompt, bool state_space) {
  ReplayRequest request{prompt.ids, prompt.answer, {}};
  for (const TokenRole from : kGroups)
    for (const TokenRole to : kGroups)
      for (const ChannelSet& channels : channel_sets(state_space, from, to))
        request.series.push_back(
            {positions_of(to, prompt), positions_of(from, prompt), channels, kWindows});
  // `each`: one knockout per single token, into the last one and into itself.
  const int last = static_cast<int>(prompt.ids.size()) - 1;
  for (int token = 0; token <= last; ++token) {
    request.series.push_back({{last}, {token}, {}, {{0, 1}, {0, 3}, {2, 3}}});
    request.series.push_back({{token}, {token}, {}, {{0, 2}}});
  }
  return request;
}

// Prompts of several lengths: subject inside, in front, everything, and one token alone.
std::vector<TokenizedPrompt> prompts_of(unsigned seed) {
  const auto id = [&](size_t i) { return static_cast<int>((seed * 7 + i * i * 5 + i * 3) % 29); };
  std::vector<TokenizedPrompt> prompts;
  for (const auto& [length, subject] :
       {std::pair<size_t, std::vector<int>>{8, {2, 3, 4}}, {5, {0, 1}}, {3, {1, 2}}, {1, {0}}}) {
    TokenizedPrompt& prompt = prompts.emplace_back();
    for (size_t i = 0; i < length; ++i) prompt.ids.push_back(id(i + 10 * prompts.size()));
    prompt.subject = subject;
    prompt.answer = id(99 + prompts.size());
  }
  return prompts;
}

struct Deviation {
  double worst = 0;
  int answers = 0;

  void add(const Answer& answer, const at::Tensor& expected, int token) {
    const auto* log = expected.data_ptr<double>();
    const double error = std::abs(answer.log_probability - log[token]);
    worst = std::isnan(error) ? INFINITY : std::max(worst, error);
    ++answers;
    int surely = 1, perhaps = 0;
    for (std::int64_t i = 0; i < expected.numel(); ++i) {
      surely += log[i] > log[token] + 1e-9 ? 1 : 0;
      perhaps += log[i] > log[token] - 1e-9 ? 1 : 0;
    }
    EXPECT_GE(answer.rank, surely);
    EXPECT_LE(answer.rank, perhaps);
  }
};

class Naive : public testing::TestWithParam<std::string> {};

TEST_P(Naive, EveryKnockoutAgrees) {
  set_threads(1, 1);
  const std::shared_ptr<const Checkpoint> checkpoint = random_checkpoint(GetParam(), 11);
  const auto network = Network::load(checkpoint, at::kCPU, Precision::kFp64);
  const NaiveModel naive(*checkpoint);
  const std::vector<TokenizedPrompt> prompts = prompts_of(3);
  std::vector<ReplayRequest> requests;
  for (const TokenizedPrompt& prompt : prompts)
    requests.push_back(request_of(prompt, network->architecture().channels() > 0));
  const std::vector<ReplayResult> results = ReplayEngine(*network, 0).run(requests);
  Deviation deviation;
  for (size_t r = 0; r < requests.size(); ++r) {
    const ReplayRequest& request = requests[r];
    deviation.add(results[r].clean, naive.log_probabilities(request.ids, {}), request.answer);
    for (size_t c = 0; c < request.series.size(); ++c) {
      const Series& cut = request.series[c];
      for (size_t w = 0; w < (*cut.windows).size(); ++w) {
        const Answer& answer = results[r].knockouts[c][w];
        const bool edge = count_edges(cut.block().targets, cut.block().sources) > 0;
        ASSERT_EQ(answer.rank > 0, edge);
        if (edge)
          deviation.add(answer,
                        naive.log_probabilities(request.ids, std::get<Block>(cut.run(w).front())),
                        request.answer);
      }
    }
  }
  RecordProperty("worst", std::to_string(deviation.worst * 1e12) + "e-12");
  EXPECT_GT(deviation.answers, 900);
  EXPECT_LT(deviation.worst, 1e-9);
}

INSTANTIATE_TEST_SUITE_P(Families, Naive,
                         testing::Values("gpt2", "llama", "mistral", "qwen2", "gpt_neox", "mamba",
                                         "falcon_mamba", "mamba2", "mamba_ssm", "mamba_ssm2"),
                         [](const auto& test) { return test.param; });
INSTANTIATE_TEST_SUITE_P(Decoders, Naive, testing::ValuesIn(small_decoders()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace factflow
