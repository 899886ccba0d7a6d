#include "analysis/attribution_claims.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "analysis/attribution_report.hpp"
#include "analysis/number_text.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

constexpr const char* kPatching =
    "Nanda (2023), attribution patching; Syed et al. (arXiv 2310.10348)";
constexpr const char* kIntegrated =
    "Sundararajan et al. (arXiv 1703.01365); Hanna et al. (arXiv 2403.17806)";

// The larger of two correlations on the same resamples.
Judged judge_larger(const SiteAgreement& larger, const SiteAgreement& smaller,
                    const BootstrapOptions& bootstrap) {
  std::vector<double> differences;
  const std::size_t count = std::min(larger.replicates.size(), smaller.replicates.size());
  for (std::size_t i = 0; i < count; ++i)
    differences.push_back(larger.replicates[i] - smaller.replicates[i]);
  const Interval interval = percentile_interval(differences, bootstrap.level);
  Judged judged = judge_above(interval, 0);
  judged.reason = fmt::format(
      "{} {}: {}", signed_number(larger.all.correlation.value - smaller.all.correlation.value, 3),
      interval_text(interval, "(no interval)", 3), judged.reason);
  return judged;
}

Judged judge_trust(const Agreement& all) {
  const Judged ranks = judge_above(all.correlation.interval, kTrustedCorrelation),
               signs = judge_above(all.same_sign.interval, kTrustedSign);
  Judged judged = judge_parts({{"rank correlation", ranks}, {"equal signs", signs}});
  // One of them against it is enough: such an estimate is not trusted.
  if (judged.verdict == Verdict::kPartly) judged.verdict = Verdict::kDoesNotHold;
  return judged;
}

std::string numbers_of(const SiteAgreement& of) {
  return fmt::format("{}: rank correlation {} {}, equal signs {}, trusted layers {}", of.site,
                     fixed(of.all.correlation.value, 2),
                     interval_text(of.all.correlation.interval, "", 2),
                     fixed(of.all.same_sign.value, 2), trusted_in_words(of));
}

// A verdict out of parts, or why there are too few facts for one.
ModelVerdict verdict_of(const ModelAttributions& model, const std::vector<ClaimPart>& parts,
                        std::string evidence) {
  std::size_t prompts = 0, facts = 0;
  for (const SiteAgreement& of : model.sites) {
    prompts = std::max(prompts, of.all.prompts);
    facts = std::max(facts, of.all.facts);
  }
  const Judged judged = too_few(prompts, facts).value_or(judge_parts(parts));
  return {model.model, judged.verdict, judged.reason, std::move(evidence)};
}

// Each: nothing where the model has not what is compared.
std::optional<ModelVerdict> judge_ranks(const ModelAttributions& model, const BootstrapOptions&) {
  std::vector<ClaimPart> parts;
  std::vector<std::string> evidence;
  for (const SiteAgreement& of : model.sites) {
    if (of.method != EstimateMethod::kGradient) continue;
    parts.push_back({of.site, judge_trust(of.all)});
    evidence.push_back(numbers_of(of));
  }
  if (parts.empty()) return std::nullopt;
  return verdict_of(model, parts, join(evidence, "; "));
}

std::optional<ModelVerdict> judge_stream(const ModelAttributions& model,
                                         const BootstrapOptions& bootstrap) {
  const SiteAgreement* stream = model.of(EstimateMethod::kGradient, "h");
  if (stream == nullptr) return std::nullopt;
  std::vector<ClaimPart> parts;
  std::vector<std::string> evidence = {numbers_of(*stream)};
  for (const char* site : {"o", "mlp"})
    if (const SiteAgreement* of = model.of(EstimateMethod::kGradient, site)) {
      parts.push_back({fmt::format("{} above h", site), judge_larger(*of, *stream, bootstrap)});
      evidence.push_back(numbers_of(*of));
    }
  if (parts.empty()) return std::nullopt;
  return verdict_of(model, parts, join(evidence, "; "));
}

std::optional<ModelVerdict> judge_integrated(const ModelAttributions& model,
                                             const BootstrapOptions& bootstrap) {
  std::vector<ClaimPart> parts;
  std::vector<std::string> evidence;
  for (const SiteAgreement& of : model.sites) {
    const SiteAgreement* single = model.of(EstimateMethod::kGradient, of.site);
    if (of.method != EstimateMethod::kIntegrated || single == nullptr) continue;
    parts.push_back({of.site, judge_larger(of, *single, bootstrap)});
    evidence.push_back(fmt::format("{}: {} of integrated gradients, {} of one gradient", of.site,
                                   fixed(of.all.correlation.value, 3),
                                   fixed(single->all.correlation.value, 3)));
  }
  if (parts.empty()) return std::nullopt;
  return verdict_of(model, parts, join(evidence, "; "));
}

Claim judged(std::string text, std::string rule, const char* source,
             const std::vector<ModelAttributions>& models, const BootstrapOptions& bootstrap,
             std::optional<ModelVerdict> (*judge)(const ModelAttributions&,
                                                  const BootstrapOptions&)) {
  std::vector<ModelVerdict> verdicts;
  for (const ModelAttributions& model : models)
    if (!model.repeated)
      if (auto verdict = judge(model, bootstrap)) verdicts.push_back(std::move(*verdict));
  Claim claim = decide(std::move(text), std::move(rule), std::move(verdicts));
  claim.source = source;
  return claim;
}

}  // namespace

std::vector<Claim> judge_attribution_claims(const std::vector<ModelAttributions>& models,
                                            const BootstrapOptions& bootstrap) {
  if (models.empty()) return {};
  return {
      judged("One gradient ranks the values of a run as patching each of them does",
             fmt::format("Over all tokens from the subject on and all layers, at every site: the "
                         "interval of Spearman's rank correlation with the exact effects lies "
                         "above {}, and that of the share of equal signs (where the exact effect "
                         "is at least {} of high - low) above {}; 95 % bootstrap over facts. The "
                         "layers where the same holds are listed as trusted.",
                         kTrustedCorrelation, kLeastEffect, kTrustedSign),
             kPatching, models, bootstrap, judge_ranks),
      judged(
          "The gradient's estimates are worse for the residual stream than for what a block adds",
          "The rank correlation with the exact effects, over all cells, is larger at o and mlp "
          "than at h: the 95 % interval of the difference on the same bootstrap resamples of "
          "facts lies above zero.",
          kPatching, models, bootstrap, judge_stream),
      judged("Integrated gradients rank values better than one gradient does",
             "The rank correlation with the exact effects, over all cells of a site, is larger: "
             "the 95 % interval of the difference on the same bootstrap resamples of facts lies "
             "above zero, at every site.",
             kIntegrated, models, bootstrap, judge_integrated)};
}

}  // namespace factflow
