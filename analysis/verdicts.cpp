#include "analysis/verdicts.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "analysis/number_text.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

std::vector<std::string> models_with(const std::vector<ModelVerdict>& models, Verdict verdict) {
  std::vector<std::string> names;
  for (const ModelVerdict& model : models)
    if (model.verdict == verdict) names.push_back(model.model);
  return names;
}

std::size_t count(const std::vector<ClaimPart>& parts, Verdict verdict) {
  return static_cast<std::size_t>(
      std::count_if(parts.begin(), parts.end(),
                    [&](const ClaimPart& part) { return part.judged.verdict == verdict; }));
}

}  // namespace

std::string to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::kHolds:
      return "holds";
    case Verdict::kPartly:
      return "holds in part";
    case Verdict::kDoesNotHold:
      return "does not hold";
    case Verdict::kCannotTell:
      break;
  }
  return "cannot tell";
}

Judged cannot_tell(std::string reason) {
  return {Verdict::kCannotTell, std::move(reason)};
}

Claim decide(std::string text, std::string rule, std::vector<ModelVerdict> models,
             const std::string& absent) {
  const std::vector<std::string> refuted = models_with(models, Verdict::kDoesNotHold),
                                 partly = models_with(models, Verdict::kPartly),
                                 open = models_with(models, Verdict::kCannotTell);
  Claim claim{std::move(text), std::move(rule), Verdict::kCannotTell, "", std::move(models), ""};
  if (!refuted.empty()) {
    claim.verdict = Verdict::kDoesNotHold;
    claim.reason = "evidence against it in " + join(refuted);
  } else if (claim.models.empty()) {
    claim.reason = "not in this run";
  } else if (!partly.empty()) {
    claim.verdict = Verdict::kPartly;
    claim.reason = "evidence against a part of it in " + join(partly);
  } else if (!open.empty()) {
    claim.reason = "undecided in " + join(open);
  } else if (!absent.empty()) {
    claim.reason = fmt::format("no {} in this run; it holds in {}", absent,
                               join(models_with(claim.models, Verdict::kHolds)));
  } else {
    claim.verdict = Verdict::kHolds;
    claim.reason = "in " + join(models_with(claim.models, Verdict::kHolds));
  }
  return claim;
}

Judged judge_above(const Interval& interval, double bound, int digits) {
  if (std::isnan(interval.low)) return cannot_tell("there is no interval");
  const std::string limit = fmt::format("{:.{}f}", bound, digits);
  if (interval.low > bound)
    return {Verdict::kHolds, fmt::format("the interval lies above {}", limit)};
  if (interval.high < bound)
    return {Verdict::kDoesNotHold, fmt::format("the interval lies below {}", limit)};
  return cannot_tell(fmt::format("the interval holds {}", limit));
}

Judged judge_parts(const std::vector<ClaimPart>& parts) {
  std::vector<std::string> reasons;
  for (const ClaimPart& part : parts)
    reasons.push_back(fmt::format("{}: {}", part.name, part.judged.reason));
  const std::size_t hold = count(parts, Verdict::kHolds),
                    refuted = count(parts, Verdict::kDoesNotHold);
  const Verdict verdict = hold == parts.size()      ? Verdict::kHolds
                          : hold > 0 && refuted > 0 ? Verdict::kPartly
                          : refuted > 0             ? Verdict::kDoesNotHold
                                                    : Verdict::kCannotTell;
  return {verdict, join(reasons, "; ")};
}

std::string count_text(std::size_t n, std::size_t facts) {
  return fmt::format("{} of {}", counted(n, "prompt"), counted(facts, "fact"));
}

std::optional<Judged> too_few(std::size_t n, std::size_t facts) {
  if (facts >= kFewestClusters) return std::nullopt;
  return cannot_tell(fmt::format("{}, asked are {} facts", count_text(n, facts), kFewestClusters));
}

}  // namespace factflow
