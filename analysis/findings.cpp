#include "analysis/findings.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include <fmt/format.h>

#include "analysis/attribution_report.hpp"
#include "analysis/baselines_report.hpp"
#include "analysis/beyond_questions_report.hpp"
#include "analysis/blocked_edges.hpp"
#include "analysis/carrier_report.hpp"
#include "analysis/combined_report.hpp"
#include "analysis/comparable.hpp"
#include "analysis/coverage.hpp"
#include "analysis/edit_report.hpp"
#include "analysis/linear_relation_report.hpp"
#include "analysis/mean_knockout_report.hpp"
#include "analysis/number_text.hpp"
#include "analysis/parts_report.hpp"
#include "analysis/path_report.hpp"
#include "analysis/positions_report.hpp"
#include "analysis/severing_report.hpp"
#include "analysis/surge_report.hpp"
#include "analysis/trace_report.hpp"
#include "analysis/whole_answers_report.hpp"
#include "base/text.hpp"
#include "results/answer_summary.hpp"

namespace factflow {
namespace {

std::string p_text(double p) {
  if (std::isnan(p)) return "-";
  return p < 0.0001 ? "< 0.0001" : fmt::format("{:.4f}", p);
}

// "gpt2 by 60 % at relative depth 0.04 (median 58 %, log change -0.94)"
std::string drop_text(const EdgeEffect& e) {
  return fmt::format("{} by {:.1f} % at relative depth {:.2f} (median {} %, log change {})",
                     e.model, -e.lowest.value, e.depth.value, signed_number(e.at_lowest.median, 1),
                     signed_number(e.at_lowest.log, 2));
}

// "in 2 of 3 Transformers: gpt2 by ..., llama by ..."
std::string drops_among(const std::vector<const EdgeEffect*>& effects, const std::string& kind) {
  std::vector<std::string> drops;
  for (const EdgeEffect* effect : effects)
    if (is_drop(*effect)) drops.push_back(drop_text(*effect));
  const std::string share = fmt::format("in {} of {}", drops.size(), counted(effects.size(), kind));
  return drops.empty() ? share : fmt::format("{}: {}", share, join(drops));
}

// No model has a drop that is one.
std::string no_drop(const std::string& edge, const std::vector<const EdgeEffect*>& effects) {
  std::size_t facts = 0, tellable = 0;
  double least = std::numeric_limits<double>::quiet_NaN();
  for (const EdgeEffect* effect : effects) {
    facts = std::max(facts, effect->facts);
    if (effect->facts < kFewestClusters) continue;
    ++tellable;
    if (effect->lowest.value < 0) least = std::fmin(least, effect->p_holm);
  }
  const std::string which = effects.size() == 1
                                ? effects[0]->model
                                : fmt::format("any of {}", counted(effects.size(), "model"));
  if (tellable == 0)
    return fmt::format("Blocking {}: too few facts to tell ({} at most, asked are {}).", edge,
                       facts, kFewestClusters);
  if (std::isnan(least))
    return fmt::format("Blocking {}: no start has a mean below zero in {}.", edge, which);
  return fmt::format(
      "Blocking {}: no drop that can be told from zero in {} (smallest corrected p {}).", edge,
      which, p_text(least));
}

std::string sentence_about(const std::vector<const EdgeEffect*>& effects) {
  std::vector<const EdgeEffect*> measured, transformers, state_space, hybrids;
  for (const EdgeEffect* effect : effects) {
    if (effect->n == 0) continue;
    measured.push_back(effect);
    (effect->mixing == Mixing::kBoth    ? hybrids
     : effect->mixing == Mixing::kState ? state_space
                                        : transformers)
        .push_back(effect);
  }
  const std::string edge = effects[0]->edge.display();
  if (measured.empty()) return fmt::format("Blocking {}: {}.", edge, effects[0]->missing);
  if (std::none_of(measured.begin(), measured.end(),
                   [](const EdgeEffect* e) { return is_drop(*e); }))
    return no_drop(edge, measured);
  std::vector<std::string> parts;
  if (!transformers.empty()) parts.push_back(drops_among(transformers, "Transformer"));
  if (!state_space.empty()) parts.push_back(drops_among(state_space, "state-space model"));
  if (!hybrids.empty()) parts.push_back(drops_among(hybrids, "hybrid"));
  return fmt::format("Blocking {} lowers the answer's probability {}.", edge, join(parts, "; "));
}

// Columns as wide as their widest cell; the first two flush left.
std::string align(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths(rows[0].size(), 0);
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i)
      line += i < 2 ? fmt::format("{:<{}}  ", row[i], widths[i])
                    : fmt::format("{:>{}}  ", row[i], widths[i]);
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

// `item`: "edge" or "row".
std::string table_text(const std::vector<EdgeEffect>& effects, const char* item) {
  std::vector<std::vector<std::string>> rows = {{"model", item, "window", "lowest mean %",
                                                 "95% interval", "median %", "log change", "p",
                                                 "start", "depth", "n", "facts"}};
  for (const EdgeEffect& e : effects) {
    const std::string name =
        e.main_set ? e.edge.label : fmt::format("{} (prompts {})", e.edge.label, e.prompts);
    if (e.n == 0) {
      rows.push_back(
          {e.model, name, std::to_string(e.window), e.missing, "", "", "", "", "", "", "0", "0"});
      continue;
    }
    rows.push_back({e.model, name, std::to_string(e.window), signed_number(e.lowest.value, 1),
                    interval_text(e.lowest.by_fact, "-"), signed_number(e.at_lowest.median, 1),
                    signed_number(e.at_lowest.log, 2), p_text(e.p_holm),
                    fmt::format("{:.0f}/{}", e.start.value, e.layers),
                    fmt::format("{:.2f}", e.depth.value), std::to_string(e.n),
                    std::to_string(e.facts)});
  }
  return align(rows);
}

// Models whose rows are of another window, or of none.
void add_windows(const Study& study, std::vector<std::string>& lines) {
  for (const ModelData& model : study.run.models) {
    if (model.windows.empty()) {
      const bool elsewhere =
          std::any_of(study.run.other_sets.begin(), study.run.other_sets.end(),
                      [&](const ModelData& other) { return other.info.name == model.info.name; });
      if (elsewhere)
        lines.push_back(
            fmt::format("{} was not swept over the main set of prompts and has no part "
                        "in findings and claims.",
                        model.info.name));
    } else if (const std::int64_t window = window_of(model, study.window); window != study.window) {
      lines.push_back(fmt::format(
          "{} was not swept over windows of {}: its findings are of {}, and it has no part in "
          "comparisons between models.",
          model.info.name, counted(static_cast<std::size_t>(study.window), "layer"), window));
    }
  }
}

void add_kept(const Study& study, std::vector<std::string>& lines) {
  if (study.kept.empty()) return;
  std::vector<std::string> counts;
  for (const Kept& kept : study.kept)
    counts.push_back(fmt::format("{} {} of {}{}", kept.model, kept.kept, kept.of,
                                 kept.prompts == kTraces          ? " that were traced"
                                 : kept.prompts == kEdits         ? " that were edited"
                                 : kept.prompts == kRelations     ? " tests of linear relations"
                                 : kept.prompts == kSeverings     ? " with severed paths"
                                 : kept.prompts == kMeanKnockouts ? " with knockouts by means"
                                 : kept.prompts == kPartsOfEdges  ? " with parts of edges"
                                 : kept.prompts == kAttributions  ? " with gradient estimates"
                                 : study.run.other_sets.empty()   ? ""
                                                                  : " of " + kept.prompts));
  lines.push_back(fmt::format("Only prompts whose clean probability lies in [{}, {}]: {}.",
                              study.p_clean.low, study.p_clean.high, join(counts)));
}

// Means that few prompts make.
void add_carried(const Study& study, std::vector<std::string>& lines) {
  std::vector<std::string> rows;
  for (const auto* effects : {&study.main_effects, &study.main_interventions})
    for (const EdgeEffect& e : *effects)
      if (carried_by_few(e))
        rows.push_back(
            fmt::format("{} {} ({} of {})", e.model, e.edge.label, e.half_carried_by, e.n));
  if (rows.empty()) return;
  lines.push_back(
      fmt::format("Few prompts hold half of the sum of all |relative changes| at some start: {}. "
                  "Read medians and "
                  "log changes there; where p_clean is tiny, limits help (--min-p-clean).",
                  join(rows)));
}

std::string claims_text(const Study& study) {
  std::string text, source;
  for (const Claim* claim : claims_to_show(study)) {
    if (claim->source != source) text += fmt::format("\nClaims of {}\n", claim->source);
    source = claim->source;
    text += fmt::format("- {}: {} ({})\n", claim->text, to_string(claim->verdict), claim->reason);
    for (const ModelVerdict& model : claim->models)
      if (model.verdict != Verdict::kHolds)
        text +=
            fmt::format("    {}: {}: {}\n", model.model, to_string(model.verdict), model.reason);
  }
  return text;
}

}  // namespace

std::string correction(const std::vector<EdgeEffect>& effects) {
  if (effects.empty()) return "";
  const auto interval_alone = std::any_of(effects.begin(), effects.end(), [](const EdgeEffect& e) {
    return e.lowest.by_fact.high < 0 && !is_drop(e);
  });
  return fmt::format(
      "p: t test of the mean at that start, prompts of one fact as one cluster, Holm-corrected "
      "over "
      "{} of this table (every start of every row). Intervals: bootstrap over facts, and none "
      "below {} facts.{}",
      effects[0].tests == 1 ? "the one test" : "the " + counted(effects[0].tests, "test"),
      kFewestClusters,
      interval_alone ? " An interval may leave out zero where p is above 0.05: it is of one row "
                       "alone, and the lowest of many starts lies below zero by chance as well."
                     : "");
}

std::vector<FindingSentence> finding_sentences(const Study& study) {
  std::vector<std::string> labels;
  for (const EdgeEffect& effect : study.main_effects)
    if (effect.edge.all_channels() &&
        std::find(labels.begin(), labels.end(), effect.edge.label) == labels.end())
      labels.push_back(effect.edge.label);
  std::vector<FindingSentence> sentences;
  for (const std::string& label : labels) {
    std::vector<const EdgeEffect*> effects;
    for (const EdgeEffect& effect : study.main_effects)
      if (effect.edge.label == label && !effect.repeated) effects.push_back(&effect);
    if (!effects.empty()) sentences.push_back({effects[0]->edge, sentence_about(effects)});
  }
  return sentences;
}

std::string unfinished(const Study& study) {
  std::int64_t done = 0, planned = 0;
  bool complete = true;
  for (const RunSource& source : study.run.sources) {
    done += source.info.units_done;
    planned += source.info.units_planned;
    complete = complete && source.info.complete;
  }
  if (complete) return "";
  return fmt::format(
      "The run is not finished: {} of {} are in, and every number is about those only.", done,
      counted(static_cast<std::size_t>(planned), "unit"));
}

std::vector<std::string> gaps(const Study& study) {
  std::vector<std::string> lines;
  add_kept(study, lines);
  add_carried(study, lines);
  add_windows(study, lines);
  if (!study.run.failures.empty())
    lines.push_back(fmt::format(
        "{} failed; {}.", counted(study.run.failures.size(), "prompt or unit", "prompts or units"),
        study.run.failures.size() == 1 ? "it is listed with its reason"
                                       : "they are listed with their reasons"));
  for (const ModelData& model : study.run.models)
    if (const std::size_t tied = count_tied(model.evaluation); tied > 0)
      lines.push_back(
          fmt::format("{}: {} of {} {} exactly as likely as another token, which counts as at "
                      "least as likely as the answer.",
                      model.info.name, tied, counted(model.evaluation.tied.size(), "answer"),
                      tied == 1 ? "is" : "are"));
  for (std::string& line : coverage_gaps(study)) lines.push_back(std::move(line));
  for (std::string& line : blocked_edges_in_words(study)) lines.push_back(std::move(line));
  for (std::size_t i = 0; const std::string& line : trace_counts(study))
    if (const ModelTraces& traces = study.traces[i++];
        traces.count(FactUse::kUsed) < traces.facts.size())
      lines.push_back(line);
  for (std::size_t i = 0; const std::string& line : edit_counts(study.edits))
    if (lacks_edits(study.edits[i++])) lines.push_back(line);
  for (std::size_t i = 0; const std::string& line : severing_counts(study))
    if (const std::vector<TracedFact>& facts = study.severings[i++].facts;
        count_of(facts, FactUse::kUsed) < facts.size())
      lines.push_back(line);
  for (std::size_t i = 0; const std::string& line : attribution_counts(study))
    if (const std::vector<TracedFact>& facts = study.attributions[i++].facts;
        count_of(facts, FactUse::kUsed) < facts.size())
      lines.push_back(line);
  for (std::size_t i = 0; const std::string& line : mean_knockout_counts(study))
    if (const ModelMeanKnockouts& of = study.mean_knockouts[i++]; of.failed + of.outside > 0)
      lines.push_back(line);
  for (std::size_t i = 0; const std::string& line : part_counts(study))
    if (const ModelParts& of = study.parts[i++]; of.failed + of.outside > 0) lines.push_back(line);
  for (std::string& line : linear_relation_gaps(study)) lines.push_back(std::move(line));
  for (std::string& line : differences_between_runs(study.run)) lines.push_back(std::move(line));
  return lines;
}

std::vector<std::string> answer_warnings(const Study& study) {
  std::map<std::int64_t, std::size_t> rows;
  for (std::size_t row = 0; row < study.run.prompts.id.size(); ++row)
    rows.emplace(study.run.prompts.id[row], row);
  std::vector<std::string> sentences;
  for (const ModelData& model : study.run.models) {
    const EvaluationResult& clean = model.evaluation;
    AnswerSummary answers;
    for (std::size_t i = 0; i < clean.prompt.size(); ++i)
      if (clean.rank[i] > 0)
        answers.add(study.run.prompts.answer[rows.at(clean.prompt[i])], clean.answer_token[i],
                    clean.answer_text[i], clean.changes[i] != 0);
    for (const std::string& warning : answers.warnings())
      sentences.push_back(fmt::format("{}: {}.", model.info.name, warning));
  }
  return sentences;
}

std::vector<const Claim*> claims_to_show(const Study& study) {
  std::vector<const Claim*> claims;
  for (const Claim& claim : study.claims)
    if (!claim.models.empty() || !study.main_effects.empty()) claims.push_back(&claim);
  return claims;
}

namespace {

// Tables of the questions beyond the paper.
std::string questions_text(const Study& study) {
  std::string text;
  const auto add = [&](const char* title, const std::vector<std::vector<std::string>>& rows,
                       const char* note) {
    if (!rows.empty()) text += fmt::format("\n{}\n\n{}{}\n", title, align(rows), note);
  };
  add("Knockouts together", combined_rows(study),
      "Mean log changes at the start where the sum is lowest; share = interaction as a part of the "
      "sum's size, 0 where they add up. All starts: tables/combined.csv.");
  add("Baselines", baseline_rows(study),
      "Starts at which two decided readings (lowers, little, raises) differ. All starts: "
      "tables/baselines.csv.");
  add("The last token's surge", surge_rows(study),
      "The four parts sum to the change. All prompts: tables/surge_prompts.csv.");
  add("Position and length", position_rows(study),
      "Mean log changes without and with the most neutral text, and tokens from subject to last. "
      "All "
      "lengths: tables/positions.csv.");
  add("Whole answers", whole_answer_rows(study),
      "Mean log changes of answers of several tokens. All starts: tables/whole_answers.csv.");
  return text;
}

// The first of them, with their answers.
std::string beyond_questions_text(const Study& study) {
  const std::vector<BeyondQuestion> questions = beyond_questions(study);
  if (questions.empty()) return "";
  std::string text =
      fmt::format("Questions and answers\n\n{}", align(beyond_question_rows(questions)));
  for (const BeyondQuestion& question : questions)
    text += fmt::format("{}: {} Number: {}. Statement: {}\n", question.id, question.text,
                        question.quantity, question.statement);
  return text + "* of a model without a convolution: the change of p, %, with the scores cut.\n\n";
}

}  // namespace

std::string findings_text(const Study& study) {
  std::string text = beyond_questions_text(study);
  if (study.main_effects.empty()) {
    text += "No knockouts in these results.\n";
  } else {
    text += fmt::format("Findings, window of {}\n\n{}{}\n\n",
                        counted(static_cast<std::size_t>(study.window), "layer"),
                        table_text(study.main_effects, "edge"), correction(study.main_effects));
    for (const FindingSentence& sentence : finding_sentences(study))
      text += fmt::format("- {}\n", sentence.text);
  }
  if (const auto rows = carrier_rows(study); !rows.empty())
    text += fmt::format(
        "\nWho carries the facts\n\n{}Cut on attention alone, on the state alone, and what only "
        "both "
        "cuts together take away, in percent of what cutting both does; of the widest windows. "
        "Every window: tables/carriers.csv.\n",
        align(rows));
  text += claims_text(study);
  if (!study.main_interventions.empty())
    text += fmt::format("\nInterventions, no part of the findings and claims\n\n{}{}\n",
                        table_text(study.main_interventions, "row"),
                        correction(study.main_interventions));
  if (const auto rows = missed_rows(study); !rows.empty())
    text += fmt::format(
        "\nPaths, no part of the findings\n\n{}At the start where state and convolution together "
        "lower the mean most; missed: (both - state) / both. Every path: tables/paths.csv.\n",
        align(rows));
  if (const auto rows = slice_rows(study); !rows.empty())
    text += fmt::format(
        "\nParts of edges, no part of the findings\n\n{}At the start where the whole knockout "
        "lowers the mean most. Trend: rank correlation of a slice's place and its change. Every "
        "part: tables/parts.csv.\n",
        align(rows));
  if (const auto rows = needed_rows(study); !rows.empty())
    text += fmt::format(
        "\nHow many parts give {:.0f} % of the whole, knocked out together\n\n{}Every step: "
        "tables/part_steps.csv.\n",
        100 * kMostOfEffect, align(rows));
  if (const auto rows = peak_rows(study); !rows.empty())
    text += fmt::format(
        "\nCausal traces, no part of the findings\n\n{}Largest of all centres. Of h, "
        "layer = "
        "the one behind which it is patched, and at the last token the last of them gives 1 by "
        "definition. All groups of tokens: tables/traces.csv.\n",
        align(rows));
  if (const auto rows = best_edit_rows(study); !rows.empty())
    text += fmt::format(
        "\nEdits of single facts, no part of the findings\n\n{}Of each matrix the layer of the "
        "highest score S on these same prompts, in percent. Every edit: tables/edit_scores.csv.\n",
        align(rows));
  if (const auto rows = severing_rows(study); !rows.empty())
    text += fmt::format(
        "\nSevered paths, no part of the findings and claims\n\n{}Of the layer behind which the "
        "patch of h alone does most. All layers: tables/severings.csv.\n",
        align(rows));
  if (const auto rows = mean_knockout_rows(study); !rows.empty())
    text += fmt::format(
        "\nKnockouts by means, no part of the findings and claims\n\n{}Lowest of all centres, of "
        "(p' - p) / p. All centres: tables/mean_knockouts.csv.\n",
        align(rows));
  if (const auto rows = linear_relation_rows(study); !rows.empty())
    text += fmt::format(
        "\nLinear relations, no part of the findings\n\n{}Layer, beta and rank are the "
        "best ones on the facts that are tested. Drawn: what answers drawn by their shares get "
        "right. Every layer: tables/linear_relation_layers.csv.\n",
        align(rows));
  text += questions_text(study);
  if (const auto rows = attribution_rows(study); !rows.empty())
    text += fmt::format(
        "\nGradient estimates of causal traces against the exact effects, no part of the findings"
        "\n\n{}Over all tokens from the subject on and all layers. Trusted: the intervals of rank "
        "correlation and equal signs begin at {} and {} or above. Every layer: "
        "tables/attributions.csv.\n",
        align(rows), kTrustedCorrelation, kTrustedSign);
  std::vector<std::string> missing = gaps(study);
  if (const std::string line = unfinished(study); !line.empty())
    missing.insert(missing.begin(), line);
  for (const std::string& warning : answer_warnings(study)) missing.push_back(warning);
  if (!missing.empty()) text += "\n";
  for (const std::string& line : missing) text += fmt::format("! {}\n", line);
  return text;
}

}  // namespace factflow
