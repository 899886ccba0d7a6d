#include "experiments/parts/ranking.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>

#include <fmt/format.h>

#include "base/error.hpp"
#include "experiments/drawn_prompts.hpp"
#include "experiments/forms.hpp"
#include "model/network.hpp"

namespace factflow {
namespace {

constexpr int kMostRanking = 100000;

Fields<RankingConfig> ranking_fields() {
  using R = RankingConfig;
  return {field("prompts", &R::prompts, whole_number<int>(1, kMostRanking),
                "in how many prompts of the dataset the decay is measured", {.required = true}),
          field<R, std::uint64_t>("seed", &R::seed,
                                  whole_number<std::uint64_t>(0, std::numeric_limits<int>::max()),
                                  "draws these prompts")};
}

}  // namespace

Form<RankingConfig> ranking_form() {
  return word_or("usual", RankingConfig{}, section(ranking_fields()));
}

std::vector<Prompt> ranking_prompts(const RankingConfig& config,
                                    const std::vector<Prompt>& dataset) {
  const auto prompts =
      static_cast<std::size_t>(config.prompts > 0 ? config.prompts : kUsualRanking);
  return drawn_prompts(dataset, std::min(prompts, dataset.size()), config.seed);
}

const DecayInPrompts& decay_of(LoadedModel& model, const std::vector<Prompt>& ranking) {
  std::string key = "decay in prompts";
  for (const Prompt& prompt : ranking) key += fmt::format(" {}", prompt.id);
  return model.derived<DecayInPrompts>(key, [&] {
    std::vector<std::vector<int>> prompts;
    for (const TokenizedPrompt& prompt : model.tokenize_usable(ranking))
      prompts.push_back(prompt.ids);
    try {
      return decay_in_prompts(model.network(), prompts);
    } catch (const std::invalid_argument& error) {
      throw RunError(fmt::format("exp(A dt) cannot be measured: {}", error.what()));
    }
  });
}

std::vector<int> slice_by_decay(const ChannelSet& slice, const std::vector<float>& decay) {
  const std::vector<bool> loses =
      channels_of(slice, std::vector<double>(decay.begin(), decay.end()));
  std::vector<int> lost;
  for (std::size_t i = 0; i < loses.size(); ++i)
    if (loses[i]) lost.push_back(static_cast<int>(i));
  return lost;
}

}  // namespace factflow
