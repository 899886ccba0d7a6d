#include "experiments/trace/noise.hpp"

#include <cmath>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/random.hpp"
#include "experiments/bytes.hpp"
#include "experiments/forms.hpp"
#include "model/locate_interventions.hpp"

namespace factflow {
namespace {

constexpr double kDeviations = 3;
constexpr int kMostCopies = 1000;

// All numbers that enter layer 0 at the tokens of subjects: their standard deviation, by Welford's
// recurrence (Technometrics 4, 1962).
double spread_of_subjects(const std::vector<Prompt>& prompts, const LoadedModel& model) {
  double count = 0, mean = 0, squares = 0;
  for (const TokenizedPrompt& prompt : model.tokenize_usable(prompts)) {
    const at::Tensor h =
        model.network().embedded(prompt.ids).to(at::kCPU, at::kDouble).contiguous();
    for (const int token : prompt.subject) {
      const double* row = h.data_ptr<double>() + token * h.size(1);
      for (std::int64_t i = 0; i < h.size(1); ++i) {
        const double step = row[i] - mean;
        mean += step / ++count;
        squares += step * (row[i] - mean);
      }
    }
  }
  if (count < 2) throw InputError("trace.noise", "the model has no tokens of any subject");
  return std::sqrt(squares / (count - 1));
}

}  // namespace

Form<NoiseConfig> noise_form() {
  using N = NoiseConfig;
  Form<double> sigma = number();
  sigma.type = "a number above 0";
  sigma.read = [read = sigma.read](const YamlNode& node, const Place& place) {
    constexpr const char* kType = "3 std, or a number above 0";
    double value = 0;
    try {
      value = read(node, place);
    } catch (const InputError&) {
      reject_type(place, node, kType);
    }
    if (!(value > 0)) reject_type(place, node, kType);
    return value;
  };
  return section<N>({field("copies", &N::copies, whole_number<int>(1, kMostCopies),
                           "runs with other noise, whose probabilities are averaged"),
                     field("sigma", &N::sigma, word_or("3 std", 0.0, sigma),
                           "standard deviation of the noise; 3 std: three of the embeddings of all "
                           "subjects of the dataset")});
}

NoisePlan noise_plan(const NoiseConfig& config, std::uint64_t seed, const ModelToPlan& model) {
  NoisePlan plan{config, seed, model.architecture.hidden, {}};
  if (config.sigma > 0) return plan;
  for (const Prompt& prompt : model.prompts) {
    Prompt& one = plan.prompts.emplace_back(prompt);
    one.new_answer.clear();
    one.paraphrases.clear();
    one.neighbours.clear();
  }
  return plan;
}

double deviation_of(const NoisePlan& plan, LoadedModel& model) {
  if (plan.config.sigma > 0) return plan.config.sigma;
  return model.derived<double>("trace: three deviations of the subjects' embeddings", [&] {
    return kDeviations * spread_of_subjects(plan.prompts, model);
  });
}

std::vector<Intervention> noise_of(const NoisePlan& plan, double deviation,
                                   const TokenizedPrompt& prompt, std::size_t copy) {
  std::uint64_t seed = mixed_bits(plan.seed);
  seed = mixed_bits(seed ^ static_cast<std::uint64_t>(prompt.prompt.id));
  seed = mixed_bits(seed ^ copy);
  std::vector<std::vector<double>> noise;
  for (int token = prompt.subject.front(); token <= prompt.subject.back(); ++token)
    noise.push_back(normal_deviates(mixed_bits(seed ^ noise.size()), plan.hidden, deviation));
  return noised(noise, prompt.subject.front());
}

}  // namespace factflow
