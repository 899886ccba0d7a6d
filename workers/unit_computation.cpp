#include "workers/unit_computation.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <utility>

#include "base/error.hpp"
#include "experiments/table.hpp"

namespace factflow {
namespace {

// The digests that tell whether two loaded models are the same one.
std::string digest_of(const ModelFacts& facts) {
  return facts.checkpoint_digest + " " + facts.tokenizer_digest;
}

}  // namespace

PreparedUnit prepare(const LoadedModel& model, Unit unit) {
  PreparedUnit prepared;
  prepared.failures.resize(unit.prompts.size());
  for (std::size_t i = 0; i < unit.prompts.size(); ++i) {
    try {
      prepared.prompts.push_back(model.tokenize_prompt(unit.prompts[i]));
      prepared.index.push_back(i);
    } catch (const InputError& error) {
      prepared.failures[i] = error.problem();
    }
  }
  prepared.unit = std::move(unit);
  return prepared;
}

std::vector<ReplayRequest> requests_to_check(LoadedModel& model, const ModelJob& job,
                                             const TokenizedPrompt& prompt) {
  std::vector<ReplayRequest> requests;
  for (std::size_t kind = 0; kind < experiment_kinds().size(); ++kind)
    if (!job.asked.at(kind).empty() || experiment_kinds()[kind]->offers_ranks()) {
      const auto work = experiment_kinds()[kind]->work_from(job.work.at(kind));
      const std::span first(&prompt, 1);
      requests.push_back(work->request_to_check(model, job.asked[kind], prompt,
                                                model.tokenize_usable(work->references(first))));
    }
  return requests;
}

UnitResult compute(LoadedModel& model, const ModelJob& job, const PreparedUnit& prepared) {
  const std::optional<std::size_t> kind = kind_numbered(prepared.unit.kind);
  if (!kind) throw std::logic_error("a unit of an unknown kind of experiment");
  const std::shared_ptr<const Work> work = experiment_kinds()[*kind]->work_from(job.work.at(*kind));
  UnitResult result;
  for (const std::string& failure : prepared.failures) result.prompts.push_back({failure, ""});
  std::vector<Finding> found = work->compute(model, prepared.unit.asked, prepared.prompts);
  for (std::size_t i = 0; i < prepared.index.size(); ++i)
    result.prompts[prepared.index[i]] = std::move(found.at(i));
  result.facts = model.facts();
  result.report.model_digest = digest_of(result.facts);
  result.report.failed = static_cast<std::uint32_t>(
      std::count_if(result.prompts.begin(), result.prompts.end(),
                    [](const Finding& finding) { return !finding.failure.empty(); }));
  return result;
}

}  // namespace factflow
