// The section `lre` of a configuration.
#include <charconv>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "experiments/forms.hpp"
#include "experiments/lre/lre.hpp"

namespace factflow {
namespace {

constexpr std::int64_t kMostPrompts = std::numeric_limits<std::int64_t>::max();
constexpr int kMostLayer = 10000, kMostRank = 1 << 20, kMostTraining = 64, kMostTrials = 100;
constexpr double kMostBeta = 1000;

Form<double> beta_form() {
  const auto parse = [](const std::string& given) {
    double value = 0;
    const auto [end, error] = std::from_chars(given.data(), given.data() + given.size(), value);
    if (error != std::errc() || end != given.data() + given.size() ||
        !(std::fabs(value) <= kMostBeta))
      throw InputError("", fmt::format("expected a number of at most {}, found {}", kMostBeta,
                                       in_quotes(given)));
    return value;
  };
  return text_form("a number", parse, [](double value) { return fmt::format("{}", value); });
}

Fields<LreConfig> lre_fields() {
  using T = LreConfig;
  using Numbers = std::vector<int>;
  Fields<T> fields = {
      field<T, Numbers>(
          "layers", &T::layers,
          word_or("coarse", Numbers{},
                  word_or("all", Numbers{-1}, list_of(whole_number<int>(0, kMostLayer)))),
          "layers whose input is the subject's state; coarse: about twelve"),
      field<T, std::vector<double>>("betas", &T::betas,
                                    word_or("usual", std::vector<double>{}, list_of(beta_form())),
                                    "factors of W s; usual: 0, 0.25, .. 5"),
      field<T, Numbers>(
          "ranks", &T::ranks,
          word_or("coarse", Numbers{},
                  word_or("off", Numbers{0}, list_of(whole_number<int>(1, kMostRank)))),
          "ranks of the inverse that edits subjects; coarse: 8, 16, .. 256; off: nothing is "
          "edited"),
      field("train", &T::train, whole_number<int>(1, kMostTraining),
            "how many facts of a relation a trial is fitted on"),
      field("trials", &T::trials, whole_number<int>(1, kMostTrials), "how many training sets"),
      field("examples", &T::examples, yes_or_no(),
            "whether prompts stand behind the trial's other training facts, a line each"),
      field<T, std::uint64_t>("seed", &T::seed,
                              whole_number<std::uint64_t>(0, std::numeric_limits<int>::max()),
                              "draws training sets and what edits are after"),
      field<T, std::int64_t>(
          "prompts", &T::prompts,
          word_or("all", std::int64_t{0}, whole_number<std::int64_t>(1, kMostPrompts)),
          "only the first N prompts of the set are tested"),
  };
  for (Field<T>& more : whom_fields<T>()) fields.push_back(std::move(more));
  return fields;
}

}  // namespace

Form<std::vector<LreConfig>> lre_form() {
  return one_or_several(section(lre_fields()));
}

}  // namespace factflow
