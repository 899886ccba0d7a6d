#include "experiments/experiment.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <stdexcept>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "experiments/table.hpp"

namespace factflow {
namespace {

// Towards the end of a list units become smaller, down to the second number.
constexpr double kRowsPerUnit[] = {16384, 2048};

std::string written(const Sections& sections) {
  std::string text;
  for (std::size_t kind = 0; kind < experiment_kinds().size(); ++kind) {
    if (sections[kind].empty()) continue;
    const ExperimentKind& one = *experiment_kinds()[kind];
    text += one.section() + ":\n" +
            write_yaml(one.form().write(sections[kind], Purpose::kResolved).value());
  }
  return text;
}

}  // namespace

bool is_finite(const ReplayResult& result) {
  const auto good = [](const Answer& answer) { return answer.rank != kernels::kNoRank; };
  return good(result.clean) &&
         std::all_of(result.knockouts.begin(), result.knockouts.end(), [&](const auto& answers) {
           return std::all_of(answers.begin(), answers.end(), good);
         });
}

Asked together(const std::vector<Asked>& all) {
  std::map<std::uint32_t, std::set<std::uint32_t>> series;
  for (const Asked& asked : all)
    for (const AskedItem& one : asked)
      series[one.item].insert(one.series.begin(), one.series.end());
  Asked items;
  for (const auto& [item, of_item] : series)
    items.push_back({item, {of_item.begin(), of_item.end()}});
  return items;
}

std::string key_in_entry(const std::string& section, std::size_t index, std::size_t count,
                         const std::string& key) {
  return count == 1 ? fmt::format("{}.{}", section, key)
                    : fmt::format("{}[{}].{}", section, index, key);
}

UnitLimits limits_by_rows(double rows_per_prompt) {
  const auto prompts = [&](double rows) {
    return static_cast<std::uint32_t>(
        std::clamp(rows / std::max(rows_per_prompt, 1.0), 1.0, double{kMostPromptsPerUnit}));
  };
  return {prompts(kRowsPerUnit[0]), prompts(kRowsPerUnit[1])};
}

UnitLimits Work::limits(const Asked& asked) const {
  double rows = 0;
  for (const Replays& replayed : replays(asked, 1))
    rows += replayed.times * static_cast<double>(replayed.windows.size());
  return limits_by_rows(rows);
}

std::vector<Finding> Work::compute(LoadedModel& model, const Asked& asked,
                                   std::span<const TokenizedPrompt> prompts) const {
  const std::vector<TokenizedPrompt> others = model.tokenize_usable(references(prompts));
  std::vector<ReplayRequest> requests;
  for (const TokenizedPrompt& prompt : prompts) requests.push_back(request(asked, prompt, others));
  const std::vector<ReplayResult> results = model.replay(requests, top_tokens());
  std::vector<Finding> findings;
  for (std::size_t i = 0; i < results.size(); ++i)
    findings.push_back(is_finite(results[i]) ? record(model, asked, prompts[i], others, results[i])
                                             : Finding{kNotFinite, ""});
  return findings;
}

std::string in_words(const PromptCount& count, std::uint32_t asked, const std::string& noun,
                     const std::string& done) {
  const std::int64_t missing = asked - count.computed - count.failed;
  const auto computed = static_cast<std::uint64_t>(count.computed);
  return fmt::format(
      "{} {}{}{}",
      asked > 0 ? fmt::format("{} of {}", computed, counted(asked, noun)) : counted(computed, noun),
      done, count.failed > 0 ? fmt::format(", {} failed", count.failed) : "",
      missing > 0 ? fmt::format(", {} missing", missing) : "");
}

void check_sizes(const ModelToPlan& model, const std::string& key, const std::vector<int>& sizes) {
  for (const int size : sizes)
    if (size > model.architecture.layers)
      throw InputError(
          model.file.string(),
          fmt::format("key {}: a window of {} layers does not fit model {}, which has {}", key,
                      size, model.name, model.architecture.layers));
}

const Entries& Sections::operator[](std::size_t kind) const {
  static const Entries none;
  return kind < of_kind.size() ? of_kind[kind] : none;
}

bool Sections::any() const {
  return std::any_of(of_kind.begin(), of_kind.end(),
                     [](const Entries& entries) { return !entries.empty(); });
}

bool Sections::operator==(const Sections& other) const {
  return written(*this) == written(other);
}

std::optional<std::size_t> kind_numbered(std::uint32_t number) {
  const auto& kinds = experiment_kinds();
  const auto found = std::find_if(kinds.begin(), kinds.end(), [&](const ExperimentKind* kind) {
    return kind->number() == number;
  });
  if (found == kinds.end()) return std::nullopt;
  return static_cast<std::size_t>(found - kinds.begin());
}

std::size_t kind_of_ranks() {
  const auto& kinds = experiment_kinds();
  const auto found = std::find_if(kinds.begin(), kinds.end(),
                                  [](const ExperimentKind* kind) { return kind->offers_ranks(); });
  if (found == kinds.end()) throw std::logic_error("no experiment kind offers ranks");
  return static_cast<std::size_t>(found - kinds.begin());
}

std::size_t place_of_section(const std::string& section) {
  const auto& kinds = experiment_kinds();
  const auto found = std::find_if(kinds.begin(), kinds.end(), [&](const ExperimentKind* kind) {
    return !section.empty() && kind->section() == section;
  });
  if (found == kinds.end())
    throw std::out_of_range("no experiment kind has the section " + section);
  return static_cast<std::size_t>(found - kinds.begin());
}

}  // namespace factflow
