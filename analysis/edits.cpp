#include "analysis/edits.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "analysis/load_runs.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr OtherFact kKindsOfOthers[] = {OtherFact::kSameRelation, OtherFact::kSameSubject,
                                        OtherFact::kUnrelated};

// Kinds of values, in the order of EditMeasure.
enum class ValueKind { kRate, kScore, kMagnitude };
ValueKind kind_of(std::size_t measure) {
  if (measure == static_cast<std::size_t>(EditMeasure::kScore)) return ValueKind::kScore;
  const bool magnitude = measure >= static_cast<std::size_t>(EditMeasure::kEfficacyMagnitude) &&
                         measure <= static_cast<std::size_t>(EditMeasure::kNeighbourhoodMagnitude);
  return magnitude ? ValueKind::kMagnitude : ValueKind::kRate;
}

std::size_t index(EditMeasure measure) {
  return static_cast<std::size_t>(measure);
}

// Means over the questions of one kind.
struct KindMeans {
  double success = kNan, magnitude = kNan, accuracy = kNan;
};

KindMeans means_of(const EditResults& results, const EditJudgement& judgement, std::size_t row,
                   EditQuestion kind) {
  std::vector<double> success, magnitude, accuracy;
  for (std::size_t i = 0; i < results.question_kinds.size(); ++i) {
    if (results.question_kinds[i] != kind) continue;
    const auto wanted = static_cast<double>(judgement.new_nll[row + i]),
               other = static_cast<double>(judgement.true_nll[row + i]);
    if (std::isnan(wanted) || std::isnan(other)) continue;
    const bool keeps = kind == EditQuestion::kNeighbour;
    success.push_back(100.0 * (keeps ? other < wanted : wanted < other));
    magnitude.push_back(100 * (keeps ? -1 : 1) * (std::exp(-wanted) - std::exp(-other)));
    accuracy.push_back(
        100.0 * ((keeps ? judgement.true_greedy[row + i] : judgement.new_greedy[row + i]) == 1));
  }
  return {mean(success), mean(magnitude), mean(accuracy)};
}

double deviation(const std::vector<double>& values) {
  const double centre = mean(values);
  std::vector<double> squares;
  for (const double value : values) squares.push_back((value - centre) * (value - centre));
  return std::sqrt(mean(squares));
}

// Values of an edit's prompts, before and after.
struct MeasuredPrompts {
  std::vector<std::size_t> facts;
  std::vector<EditValues> before, after;
};

MeasuredPrompts measured_prompts(const ModelEdits& edits, std::size_t set, std::size_t edit) {
  MeasuredPrompts measured;
  const EditResults& results = edits.results;
  for (std::size_t prompt = 0; prompt < results.prompts.size(); ++prompt) {
    if (!edits.used(set, edit, prompt)) continue;
    measured.facts.push_back(edits.fact[prompt]);
    measured.before.push_back(edit_values(results, results.before, edits.row_before(prompt)));
    measured.after.push_back(edit_values(results, results.after, edits.row_after(edit, prompt)));
  }
  return measured;
}

EditEstimate estimate_of(const MeasuredPrompts& measured, std::size_t measure, double level) {
  std::vector<double> before, after;
  std::vector<std::size_t> facts;
  for (std::size_t i = 0; i < measured.facts.size(); ++i) {
    if (std::isnan(measured.after[i][measure])) continue;
    before.push_back(measured.before[i][measure]);
    after.push_back(measured.after[i][measure]);
    facts.push_back(measured.facts[i]);
  }
  EditEstimate estimate{mean(after),  deviation(after),      {kNan, kNan},
                        after.size(), count_clusters(facts), mean(before)};
  if (after.empty()) return estimate;
  if (kind_of(measure) == ValueKind::kMagnitude) {
    estimate.interval = t_interval(after, facts, level);
  } else {
    const Interval share =
        wilson_interval(estimate.value / 100, static_cast<double>(estimate.facts), level);
    estimate.interval = {100 * share.low, 100 * share.high};
  }
  return estimate;
}

std::vector<std::size_t> facts_with_values(const SuccessSums& sums) {
  std::vector<std::size_t> facts;
  for (std::size_t fact = 0; fact < sums.count.size(); ++fact)
    if (sums.has(fact)) facts.push_back(fact);
  return facts;
}

EditEstimate score_estimate(const EditScore& score, const SuccessSums& sums,
                            const BootstrapOptions& bootstrap) {
  const EditEstimate &efficacy = score.of(EditMeasure::kEfficacy),
                     &paraphrase = score.of(EditMeasure::kParaphrase),
                     &neighbourhood = score.of(EditMeasure::kNeighbourhood);
  EditEstimate estimate{
      harmonic_mean(efficacy.value, paraphrase.value, neighbourhood.value),
      kNan,
      {kNan, kNan},
      std::min({efficacy.n, paraphrase.n, neighbourhood.n}),
      std::min({efficacy.facts, paraphrase.facts, neighbourhood.facts}),
      harmonic_mean(efficacy.unedited, paraphrase.unedited, neighbourhood.unedited)};
  const std::vector<std::size_t> facts = facts_with_values(sums);
  if (facts.size() < kFewestClusters) return estimate;
  const auto counts = bootstrap_counts(facts.size(), bootstrap.resamples, bootstrap.seed);
  std::vector<double> replicates;
  for (std::size_t i = 0; i < bootstrap.resamples; ++i)
    replicates.push_back(sums.score(facts, counts.data() + i * facts.size()));
  estimate.interval = percentile_interval(replicates, bootstrap.level);
  return estimate;
}

EditScore score_of(const ModelEdits& edits, std::size_t set, std::size_t edit,
                   const BootstrapOptions& bootstrap) {
  const EditResults& results = edits.results;
  EditScore score;
  score.prompts = results.sets[set];
  score.main_set = set == 0;
  score.edit = edit;
  score.matrix = results.edited(edit);
  score.layer = results.layers[edit];
  score.layers = layers_in_words(results.layers_of(edit));
  for (std::size_t prompt = 0; prompt < results.prompts.size(); ++prompt) {
    if (!results.counts(set, edit, prompt)) continue;
    ++score.asked;
    if (!edits.has_value(edit, prompt))
      ++score.without;
    else if (edits.admitted[prompt] == 0)
      ++score.outside;
  }
  const MeasuredPrompts measured = measured_prompts(edits, set, edit);
  for (std::size_t measure = 0; measure < kEditMeasures; ++measure)
    score.measures[measure] = estimate_of(measured, measure, bootstrap.level);
  score.measures[index(EditMeasure::kScore)] =
      score_estimate(score, success_sums(edits, set, edit), bootstrap);
  return score;
}

// One (edited prompt, other prompt) pair after the other, of one kind.
MovedPrompts moved_by(const ModelEdits& edits, std::size_t set, std::size_t edit, OtherFact kind,
                      double level) {
  const EditResults& results = edits.results;
  const std::size_t others = results.other_kinds.size();
  std::vector<double> change, size, top, kl;
  std::vector<std::size_t> facts;
  for (std::size_t prompt = 0; prompt < results.prompts.size(); ++prompt)
    for (std::size_t other = 0; other < others; ++other) {
      const std::size_t at = results.at(edit, prompt) * others + other;
      if (results.other_kinds[other] != kind || !edits.used(set, edit, prompt) ||
          std::isnan(results.other_log_change[at]))
        continue;
      change.push_back(static_cast<double>(results.other_log_change[at]));
      size.push_back(std::abs(change.back()));
      top.push_back(100.0 * (results.other_top_changed[at] == 1));
      kl.push_back(static_cast<double>(results.other_kl[at]));
      facts.push_back(edits.fact[prompt]);
    }
  MovedPrompts moved;
  moved.prompts = results.sets[set];
  moved.edit = edit;
  moved.kind = kind;
  moved.n = change.size();
  moved.facts = count_clusters(facts);
  if (change.empty()) return moved;
  moved.log_change = mean(change);
  moved.interval = t_interval(change, facts, level);
  moved.size = mean(size);
  moved.top_changed = mean(top);
  const Interval share =
      wilson_interval(moved.top_changed / 100, static_cast<double>(moved.facts), level);
  moved.top_interval = {100 * share.low, 100 * share.high};
  moved.kl = mean(kl);
  return moved;
}

// Joins the prompts with the run's, and says which the limits admit.
void join_prompts(const ModelData& model, const PromptTable& prompts, const CleanLimits& limits,
                  ModelEdits& edits) {
  std::map<std::int64_t, std::size_t> rows;
  for (std::size_t row = 0; row < prompts.id.size(); ++row) rows.emplace(prompts.id[row], row);
  std::map<std::int64_t, double> clean;
  for (std::size_t i = 0; i < model.evaluation.prompt.size(); ++i)
    clean.emplace(model.evaluation.prompt[i], static_cast<double>(model.evaluation.probability[i]));
  std::map<std::pair<std::string, std::string>, std::size_t> numbers;
  for (const std::int64_t prompt : edits.results.prompts) {
    const std::size_t row = rows.at(prompt);
    edits.prompt_row.push_back(row);
    edits.fact.push_back(
        numbers.emplace(std::pair(prompts.subject[row], prompts.relation[row]), numbers.size())
            .first->second);
    const auto known = clean.find(prompt);
    edits.clean.push_back(known == clean.end() ? kNan : known->second);
    edits.admitted.push_back(!limits.any() || limits.admit(edits.clean.back()) ? 1 : 0);
  }
}

void measure(const BootstrapOptions& bootstrap, ModelEdits& edits) {
  const EditResults& results = edits.results;
  for (std::size_t set = 0; set < results.sets.size(); ++set)
    for (std::size_t edit = 0; edit < results.edits.size(); ++edit) {
      if (results.asked[set * results.edits.size() + edit] == 0) continue;
      edits.scores.push_back(score_of(edits, set, edit, bootstrap));
      for (const OtherFact kind : kKindsOfOthers)
        if (MovedPrompts moved = moved_by(edits, set, edit, kind, bootstrap.level); moved.n > 0)
          edits.moved.push_back(std::move(moved));
    }
}

struct EditCounts {
  std::size_t asked = 0, without = 0, outside = 0;
  std::size_t used() const { return asked - without - outside; }
};

EditCounts counts_of(const ModelEdits& edits) {
  EditCounts counts;
  for (const EditScore& score : edits.scores) {
    counts.asked += score.asked;
    counts.without += score.without;
    counts.outside += score.outside;
  }
  return counts;
}

}  // namespace

const char* to_string(EditMeasure measure) {
  static constexpr std::array<const char*, kEditMeasures> kNames = {
      "es", "ps", "ns", "s", "em", "pm", "nm", "es_acc", "ps_acc", "ns_acc"};
  return kNames.at(index(measure));
}

double harmonic_mean(double a, double b, double c) {
  if (std::isnan(a) || std::isnan(b) || std::isnan(c)) return kNan;
  if (a == 0 || b == 0 || c == 0) return 0;
  return 3 / (1 / a + 1 / b + 1 / c);
}

EditValues edit_values(const EditResults& results, const EditJudgement& judgement,
                       std::size_t row) {
  const KindMeans rewrite = means_of(results, judgement, row, EditQuestion::kRewrite),
                  paraphrase = means_of(results, judgement, row, EditQuestion::kParaphrase),
                  neighbour = means_of(results, judgement, row, EditQuestion::kNeighbour);
  return {rewrite.success,     paraphrase.success,   neighbour.success,   kNan,
          rewrite.magnitude,   paraphrase.magnitude, neighbour.magnitude, rewrite.accuracy,
          paraphrase.accuracy, neighbour.accuracy};
}

bool ModelEdits::has_value(std::size_t edit, std::size_t prompt) const {
  const std::size_t row = row_after(edit, prompt);
  for (std::size_t i = 0; i < results.question_kinds.size(); ++i)
    if (results.question_kinds[i] == EditQuestion::kRewrite &&
        !std::isnan(results.after.new_nll[row + i]) && !std::isnan(results.after.true_nll[row + i]))
      return true;
  return false;
}

bool ModelEdits::used(std::size_t set, std::size_t edit, std::size_t prompt) const {
  return results.counts(set, edit, prompt) && admitted[prompt] != 0 && has_value(edit, prompt);
}

std::size_t ModelEdits::row_before(std::size_t prompt) const {
  return prompt * results.question_kinds.size();
}

std::size_t ModelEdits::row_after(std::size_t edit, std::size_t prompt) const {
  return results.at(edit, prompt) * results.question_kinds.size();
}

const EditScore* ModelEdits::best(const std::string& matrix) const {
  const EditScore* best = nullptr;
  for (const EditScore& score : scores) {
    const double value = score.of(EditMeasure::kScore).value;
    if (!score.main_set || score.matrix != matrix || std::isnan(value)) continue;
    if (best == nullptr || value > best->of(EditMeasure::kScore).value) best = &score;
  }
  return best;
}

std::vector<std::string> ModelEdits::matrices() const {
  std::vector<std::string> names;
  for (std::size_t edit = 0; edit < results.edits.size(); ++edit)
    if (std::find(names.begin(), names.end(), results.edited(edit)) == names.end())
      names.push_back(results.edited(edit));
  return names;
}

std::string edits_in_words(const ModelEdits& edits) {
  const EditCounts counts = counts_of(edits);
  std::vector<std::string> left_out;
  if (counts.without > 0) left_out.push_back(fmt::format("{} without a value", counts.without));
  if (counts.outside > 0)
    left_out.push_back(
        fmt::format("{} with a clean probability outside the limits", counts.outside));
  return fmt::format("{} of {} ({} in {})", counts.used(), counted(counts.asked, "edit"),
                     join(edits.matrices()), counted(edits.results.prompts.size(), "prompt")) +
         (left_out.empty() ? "" : "; left out: " + join(left_out));
}

std::vector<std::string> edit_counts(const std::vector<ModelEdits>& edits) {
  std::vector<std::string> sentences;
  for (const ModelEdits& model : edits)
    sentences.push_back(fmt::format("{}: {}.", model.model, edits_in_words(model)));
  return sentences;
}

bool lacks_edits(const ModelEdits& edits) {
  const EditCounts counts = counts_of(edits);
  return counts.used() < counts.asked;
}

std::vector<ModelEdits> study_edits(const RunData& run, const CleanLimits& limits,
                                    const BootstrapOptions& bootstrap) {
  std::vector<ModelEdits> all;
  for (const ModelData& model : run.models) {
    if (model.reader == nullptr || !has_edits(*model.reader, model.stored_name)) continue;
    ModelEdits& edits = all.emplace_back();
    edits.model = model.info.name;
    edits.family = model.info.family;
    edits.layers = model.info.layers;
    edits.mixing = mixing_of(model.info);
    edits.repeated = !model.repeats.empty();
    edits.results = load_edits(model);
    join_prompts(model, run.prompts, limits, edits);
    measure(bootstrap, edits);
  }
  return all;
}

double SuccessSums::score(const std::vector<std::size_t>& facts, const std::uint16_t* times) const {
  Three total{}, weight{};
  for (std::size_t i = 0; i < facts.size(); ++i) {
    const double often = times == nullptr ? 1.0 : times[i];
    for (std::size_t kind = 0; kind < total.size(); ++kind) {
      total[kind] += often * sum[facts[i]][kind];
      weight[kind] += often * count[facts[i]][kind];
    }
  }
  return harmonic_mean(total[0] / weight[0], total[1] / weight[1], total[2] / weight[2]);
}

SuccessSums success_sums(const ModelEdits& edits, std::size_t set, std::size_t edit) {
  std::size_t facts = 0;
  for (const std::size_t fact : edits.fact) facts = std::max(facts, fact + 1);
  SuccessSums sums{std::vector<SuccessSums::Three>(facts), std::vector<SuccessSums::Three>(facts)};
  const MeasuredPrompts measured = measured_prompts(edits, set, edit);
  for (std::size_t i = 0; i < measured.facts.size(); ++i)
    for (std::size_t kind = 0; kind < 3; ++kind) {
      if (std::isnan(measured.after[i][kind])) continue;
      sums.sum[measured.facts[i]][kind] += measured.after[i][kind];
      ++sums.count[measured.facts[i]][kind];
    }
  return sums;
}

}  // namespace factflow
