#include "pipeline/run/accuracy.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text.hpp"

namespace factflow {
namespace {

using Rule = SelectConfig::Rule;

bool within(std::int32_t rank, int most) {
  return rank >= 1 && rank <= most;
}

std::string with_share(std::int64_t part, std::int64_t whole) {
  return fmt::format(
      "{} ({:.1f} %)", part,
      whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string prompts_in_words(std::int64_t count) {
  return counted(static_cast<std::uint64_t>(count), "prompt");
}

std::string words_of(const SelectConfig& set) {
  std::string text = set.rule == Rule::kAllModels
                         ? "correct_for: all"
                         : fmt::format("correct_for: [{}]", join(set.models));
  if (set.rank != 1) text += fmt::format(" with rank: {}", set.rank);
  return text;
}

SetAccuracy accuracy_of_set(const Config& config, const SelectConfig& set,
                            const CleanRanks& ranks) {
  SetAccuracy accuracy{set.name, words_of(set), set.rank, 0, 0, 0, {}};
  std::vector<const std::vector<std::int32_t>*> judging;
  for (std::size_t m = 0; m < config.models.size(); ++m) {
    const std::string& name = config.models[m].name;
    if (!judges(set, name, name)) continue;
    accuracy.judges.push_back({name, 0, 0});
    judging.push_back(&ranks.at(m));
  }
  accuracy.prompts = judging.empty() ? 0 : static_cast<std::int64_t>(judging.front()->size());
  for (std::size_t p = 0; p < static_cast<std::size_t>(accuracy.prompts); ++p) {
    std::vector<std::size_t> wrong;
    bool lenient = true;
    for (std::size_t j = 0; j < judging.size(); ++j) {
      if (!within((*judging[j])[p], set.rank)) wrong.push_back(j);
      lenient = lenient && within((*judging[j])[p], kLenientRank);
    }
    for (const std::size_t j : wrong) ++accuracy.judges[j].takes_out;
    if (wrong.size() == 1) ++accuracy.judges[wrong.front()].alone;
    accuracy.kept += wrong.empty() ? 1 : 0;
    accuracy.lenient += lenient ? 1 : 0;
  }
  return accuracy;
}

}  // namespace

ModelAccuracy accuracy_of(const std::string& model, const std::vector<std::int32_t>& ranks) {
  ModelAccuracy accuracy{model};
  for (const std::int32_t rank : ranks) {
    ++(rank == 0 ? accuracy.failed : accuracy.prompts);
    accuracy.right += within(rank, 1) ? 1 : 0;
    accuracy.lenient += within(rank, kLenientRank) ? 1 : 0;
  }
  return accuracy;
}

std::string describe(const ModelAccuracy& accuracy) {
  const std::string right = with_share(accuracy.right, accuracy.prompts);
  const std::size_t share = right.find(' ');
  return fmt::format("{}: right on {} of {}{}, among the likeliest {} on {}{}", accuracy.model,
                     accuracy.right, prompts_in_words(accuracy.prompts), right.substr(share),
                     kLenientRank, with_share(accuracy.lenient, accuracy.prompts),
                     accuracy.failed > 0 ? fmt::format("; {} failed", accuracy.failed) : "");
}

std::vector<SetAccuracy> accuracy_of_sets(const Config& config, const CleanRanks& ranks) {
  std::vector<SetAccuracy> all;
  for (const SelectConfig& set : config.select)
    if (set.rule == Rule::kAllModels || set.rule == Rule::kTheseModels)
      all.push_back(accuracy_of_set(config, set, ranks));
  return all;
}

std::string describe(const SetAccuracy& accuracy) {
  std::vector<std::string> out;
  for (const SetAccuracy::Judge& judge : accuracy.judges) {
    if (judge.takes_out == 0) continue;
    out.push_back(fmt::format(
        "{}{} {}{}", judge.model, out.empty() ? " takes out" : "", judge.takes_out,
        accuracy.judges.size() == 1 ? "" : fmt::format(" ({} of them alone)", judge.alone)));
  }
  std::string text = fmt::format("{} keeps {} of {}", accuracy.words, accuracy.kept,
                                 prompts_in_words(accuracy.prompts));
  if (!out.empty()) text += ": " + join(out);
  if (accuracy.rank < kLenientRank)
    text += fmt::format("; with rank: {} it would keep {}", kLenientRank, accuracy.lenient);
  return text;
}

nlohmann::json to_json(const ModelAccuracy& accuracy) {
  return {{"model", accuracy.model},
          {"prompts", accuracy.prompts},
          {"failed", accuracy.failed},
          {"right", accuracy.right},
          {"right_with_rank_5", accuracy.lenient}};
}

nlohmann::json to_json(const SetAccuracy& accuracy) {
  nlohmann::json judges = nlohmann::json::array();
  for (const SetAccuracy::Judge& judge : accuracy.judges)
    judges.push_back(
        {{"model", judge.model}, {"takes_out", judge.takes_out}, {"alone", judge.alone}});
  return {{"set", accuracy.set},
          {"rank", accuracy.rank},
          {"prompts", accuracy.prompts},
          {"kept", accuracy.kept},
          {"kept_with_rank_5", accuracy.lenient},
          {"models", judges}};
}

}  // namespace factflow
