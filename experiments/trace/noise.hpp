// Noise on a subject's embeddings, by which the run of another subject is replaced (Meng et al.
// 2022, section 2.1): copies of the clean run, each with other noise, over which probabilities are
// averaged.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/experiment.hpp"
#include "model/intervention.hpp"

namespace factflow {

struct NoiseConfig {
  int copies = 10;
  double sigma = 0;  // standard deviation; 0 = 3 of the subjects' embeddings
  bool operator==(const NoiseConfig&) const = default;
};
Form<NoiseConfig> noise_form();

// Part of a plan; without copies there is no noise.
struct NoisePlan {
  NoiseConfig config = {0, 0};
  std::uint64_t seed = 0;
  int hidden = 0;
  std::vector<Prompt> prompts;  // whose subjects' embeddings say what 3 deviations are

  bool any() const { return config.copies > 0; }
  std::size_t copies() const { return static_cast<std::size_t>(config.copies); }
};
// Holds of the dataset no more than what is needed.
NoisePlan noise_plan(const NoiseConfig& config, std::uint64_t seed, const ModelToPlan& model);

// The standard deviation of what is added. Relative to the model: 3 times that of all numbers that
// enter layer 0 at the subjects' tokens, every prompt of the plan counting; the same on every rank.
double deviation_of(const NoisePlan& plan, LoadedModel& model);

// What is done to a clean run of the prompt in one of its copies. Other numbers for every prompt,
// copy, token and channel, the same whatever else is done.
std::vector<Intervention> noise_of(const NoisePlan& plan, double deviation,
                                   const TokenizedPrompt& prompt, std::size_t copy);

template <class Archive>
void serialize(Archive& archive, NoiseConfig& n) {
  archive(n.copies, n.sigma);
}
template <class Archive>
void serialize(Archive& archive, NoisePlan& n) {
  archive(n.config, n.seed, n.hidden, n.prompts);
}

}  // namespace factflow
