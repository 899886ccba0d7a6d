#include "analysis/question_tables.hpp"

#include <array>
#include <cmath>

#include <fmt/format.h>

#include "analysis/beyond_questions_report.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

void put(CsvTable& table, const Measured& measured) {
  table.cell(measured.value).cell(measured.interval.low).cell(measured.interval.high);
}

CsvTable combined_table(const Study& study) {
  CsvTable table({"model",
                  "family",
                  "prompts",
                  "layers",
                  "window",
                  "combination",
                  "start",
                  "n",
                  "facts",
                  "alone",
                  "sum",
                  "sum_low",
                  "sum_high",
                  "together",
                  "together_low",
                  "together_high",
                  "interaction",
                  "interaction_low",
                  "interaction_high",
                  "change_together",
                  "change_sum",
                  "strongest"});
  for (const Combined& c : study.combined)
    for (std::size_t i = 0; i < c.points.size(); ++i) {
      const CombinedPoint& point = c.points[i];
      std::vector<std::string> alone;
      for (const Measured& part : point.alone) alone.push_back(fmt::format("{:.17g}", part.value));
      table.cell(c.model).cell(c.family).cell(c.prompts).cell(c.layers).cell(c.window);
      table.cell(c.label).cell(std::int64_t{c.starts[i]}).cell(c.n).cell(c.facts);
      table.cell(join(alone, " "));
      put(table, point.sum);
      put(table, point.together);
      put(table, point.interaction);
      table.cell(point.change_together).cell(point.change_sum);
      table.cell(std::int64_t{i == c.strongest ? 1 : 0}).end_row();
    }
  return table;
}

CsvTable baselines_table(const Study& study) {
  CsvTable table({"model", "family", "prompts", "layers", "window", "ablation", "baseline", "start",
                  "n", "facts", "log_change", "log_change_low", "log_change_high", "reading",
                  "differs"});
  for (const Baselines& b : study.baselines)
    for (std::size_t curve = 0; curve < b.curves.size(); ++curve)
      for (std::size_t i = 0; i < b.curves[curve].log.size(); ++i) {
        std::int64_t differs = 0;
        for (const Disagreement& d : b.disagreements)
          differs += d.start == i && (d.first == curve || d.second == curve) ? 1 : 0;
        table.cell(b.model).cell(b.family).cell(b.prompts).cell(b.layers).cell(b.window);
        table.cell(b.what).cell(b.curves[curve].baseline).cell(std::int64_t{b.starts[i]});
        table.cell(b.n).cell(b.facts);
        put(table, b.curves[curve].log[i]);
        table.cell(to_string(b.curves[curve].reading[i])).cell(differs).end_row();
      }
  return table;
}

CsvTable surges_table(const Study& study) {
  CsvTable table({"model", "family", "layers", "window", "n", "facts", "what", "value", "low",
                  "high", "share", "share_low", "share_high"});
  for (const Surge& s : study.surges) {
    if (s.n == 0) continue;
    const auto row = [&](const std::string& what, const Measured& value, const Measured* share) {
      table.cell(s.model).cell(s.family).cell(s.layers).cell(s.window).cell(value.n);
      table.cell(value.facts).cell(what);
      put(table, value);
      static const Measured kNone{std::nan(""), {std::nan(""), std::nan("")}, 0, 0};
      put(table, share == nullptr ? kNone : *share);
      table.end_row();
    };
    row("change of ln p", s.change, nullptr);
    for (std::size_t part = 0; part < kParts; ++part)
      row(surge_part_names()[part], s.parts[part], &s.shares[part]);
    row("written more to the answer", s.own_written, nullptr);
    row("written more to the competitor", s.competitor_written, nullptr);
    row("ln of the scale's ratio", s.scale_ratio, nullptr);
    row("change of the competitor's ln p", s.competitor_change, nullptr);
    row("competitor's part of what is lost", s.lost_to_competitor, nullptr);
    for (std::size_t source = 0; source < kSources; ++source)
      row("reads " + surge_source_names()[source], s.weights[source], nullptr);
  }
  return table;
}

CsvTable surge_layers_table(const Study& study) {
  CsvTable table({"model", "window", "what", "at", "n", "clean", "blocked", "difference",
                  "difference_low", "difference_high"});
  for (const Surge& s : study.surges) {
    if (s.n == 0) continue;
    const auto lens = [&](const char* what,
                          const std::array<std::vector<Measured>, kRuns>& values) {
      for (std::size_t depth = 0; depth < values[kClean].size(); ++depth) {
        table.cell(s.model).cell(s.window).cell(what).cell(std::to_string(depth)).cell(s.n);
        table.cell(values[kClean][depth].value).cell(values[kKnocked][depth].value);
        table.cell(values[kKnocked][depth].value - values[kClean][depth].value);
        table.cell(std::nan("")).cell(std::nan("")).end_row();
      }
    };
    lens("ln p of the answer", s.lens_answer);
    lens("ln p of the competitor", s.lens_competitor);
    for (std::size_t i = 0; i < s.components.size(); ++i) {
      table.cell(s.model).cell(s.window).cell("written to the answer's logit");
      table.cell(s.components[i]).cell(s.n);
      table.cell(s.written[kClean][i]).cell(s.written[kKnocked][i]);
      put(table, s.written_more[i]);
      table.end_row();
    }
  }
  return table;
}

CsvTable surge_prompts_table(const Study& study) {
  CsvTable table({"model", "window", "prompt", "log_p_clean", "log_p_blocked", "rank_clean",
                  "rank_blocked", "own_logit", "competitor_part", "other_tokens", "scale_part",
                  "scale_clean", "scale_blocked", "competitor", "competitor_log_p_clean",
                  "competitor_log_p_blocked", "lost", "half_lost", "losers"});
  for (const Surge& s : study.surges)
    for (const Surge::OfPrompt& of : s.found) {
      const SurgeFinding& f = of.found;
      std::vector<std::string> losers;
      for (std::size_t i = 0; i < f.loser.size(); ++i)
        if (f.loser[i] >= 0)
          losers.push_back(
              fmt::format("'{}' {:.4g}", f.loser_text[i], f.loser_clean[i] - f.loser_knocked[i]));
      table.cell(s.model).cell(s.window).cell(of.id);
      for (const std::size_t run : {kClean, kKnocked}) table.cell(f.log_probability[run]);
      for (const std::size_t run : {kClean, kKnocked}) table.cell(std::int64_t{f.rank[run]});
      for (const double part : f.parts) table.cell(part);
      for (const std::size_t run : {kClean, kKnocked}) table.cell(f.scale[run]);
      table.cell(f.competitor_text);
      for (const std::size_t run : {kClean, kKnocked}) table.cell(f.competitor_log[run]);
      table.cell(f.lost).cell(std::int64_t{f.half_lost}).cell(join(losers, "; ")).end_row();
    }
  return table;
}

CsvTable positions_table(const Study& study) {
  CsvTable table({"model",          "family",          "layers",      "window", "edge",
                  "place",          "length",          "start",       "n",      "facts",
                  "subject_at",     "distance",        "clean_log_p", "right",  "log_change",
                  "log_change_low", "log_change_high", "compared",    "ratio",  "ratio_low",
                  "ratio_high"});
  for (const PositionCurve& curve : study.positions)
    for (const PositionPoint& point : curve.points)
      for (std::size_t start = 0; start < point.by_start.size(); ++start) {
        table.cell(curve.model).cell(curve.family).cell(curve.layers).cell(curve.window);
        table.cell(curve.edge).cell(curve.place).cell(point.length);
        table.cell(std::int64_t{curve.starts[start]}).cell(point.n).cell(point.facts);
        table.cell(point.subject_at).cell(point.distance).cell(point.clean.value);
        table.cell(point.right);
        put(table, point.by_start[start]);
        const bool compared = start == curve.start;
        table.cell(std::int64_t{compared ? 1 : 0});
        const double none = std::nan("");
        put(table, compared ? point.against_none : Measured{none, {none, none}, 0, 0});
        table.end_row();
      }
  return table;
}

CsvTable whole_answers_table(const Study& study) {
  CsvTable table({"model",     "family",     "layers",  "window",      "edge",        "start",
                  "n",         "facts",      "tokens",  "clean_first", "clean_whole", "first",
                  "first_low", "first_high", "whole",   "whole_low",   "whole_high",  "later",
                  "later_low", "later_high", "compared"});
  for (const WholeAnswer& a : study.whole_answers)
    for (std::size_t i = 0; i < a.first.size(); ++i) {
      table.cell(a.model).cell(a.family).cell(a.layers).cell(a.window).cell(a.edge);
      table.cell(std::int64_t{a.starts[i]}).cell(a.n).cell(a.facts).cell(a.tokens);
      table.cell(a.clean_first.value).cell(a.clean_whole.value);
      put(table, a.first[i]);
      put(table, a.whole[i]);
      put(table, a.later[i]);
      table.cell(std::int64_t{i == a.start ? 1 : 0}).end_row();
    }
  return table;
}

}  // namespace

std::vector<QuestionTable> question_tables(const Study& study) {
  return {
      {"questions.csv",
       "the first questions beyond the paper: every model's answer, number, interval and verdict",
       beyond_questions_table(beyond_questions(study))},
      {"combined.csv",
       "knockouts together against the sum of each alone: every model, combination, window and "
       "start, with the interaction",
       combined_table(study)},
      {"baselines.csv",
       "ablations with zero, mean and another prompt's value: every model, site, window and start, "
       "with what each says",
       baselines_table(study)},
      {"surges.csv",
       "the last token's surge: of what the change of the answer's log-probability consists, by "
       "model",
       surges_table(study)},
      {"surge_layers.csv",
       "the last token's surge by layer: what is read off the stream, what each block writes",
       surge_layers_table(study)},
      {"surge_prompts.csv",
       "the last token's surge of every prompt, with the tokens that lose most",
       surge_prompts_table(study)},
      {"positions.csv",
       "knockouts with neutral text in the prompt: every model, edge, place, length and start",
       positions_table(study)},
      {"whole_answers.csv",
       "knockouts judged by the first token and by the whole answer: every model, edge, window and "
       "start",
       whole_answers_table(study)},
  };
}

}  // namespace factflow
