#include "analysis/findings.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "analysis/comparable.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

constexpr double kSignificance = 0.05;

std::string percent_range(double low, double high) {
  const std::string first = fmt::format("{:.0f}", low), last = fmt::format("{:.0f}", high);
  return first == last ? first + " %" : fmt::format("{} to {} %", first, last);
}

std::string one_model(const EdgeEffect& e) {
  return fmt::format(
      "{} matters most at relative depth {:.2f} [{:.2f}, {:.2f}] in {}: {:+.1f} % [{:+.1f}, "
      "{:+.1f}] (n = "
      "{}).",
      e.edge.display(), e.depth.value, e.depth.by_prompt.low, e.depth.by_prompt.high, e.model,
      e.drop.value, e.drop.by_prompt.low, e.drop.by_prompt.high, e.n);
}

// "in 3 of 3 Transformers, by 60 to 64 %, most at a relative depth of 4 to 9 %"
std::string many_models(const std::vector<const EdgeEffect*>& effects, const std::string& kind) {
  std::vector<double> depth, drop;
  for (const EdgeEffect* effect : effects) {
    if (!is_real(*effect)) continue;
    depth.push_back(100 * effect->depth.value);
    drop.push_back(-effect->drop.value);
  }
  const std::string share = fmt::format("in {} of {} {}", drop.size(), effects.size(), kind);
  if (drop.empty()) return share;
  const auto [first, last] = std::minmax_element(depth.begin(), depth.end());
  const auto [smallest, largest] = std::minmax_element(drop.begin(), drop.end());
  return fmt::format("{}, by {}, most at a relative depth of {}", share,
                     percent_range(*smallest, *largest), percent_range(*first, *last));
}

std::string sentence_about(const std::vector<const EdgeEffect*>& effects) {
  std::vector<const EdgeEffect*> transformers, state_space;
  for (const EdgeEffect* effect : effects)
    if (effect->n > 0)
      (is_state_space(effect->family) ? state_space : transformers).push_back(effect);
  const std::size_t measured = transformers.size() + state_space.size();
  const std::string edge = effects[0]->edge.display();
  if (measured == 0) return fmt::format("{}: no prompt has this edge.", edge);
  if (std::none_of(effects.begin(), effects.end(), [](const EdgeEffect* e) { return is_real(*e); }))
    return fmt::format("{}: no drop that differs from zero{}.", edge,
                       measured == 1 ? "" : fmt::format(" in any of {} models", measured));
  if (measured == 1) return one_model(transformers.empty() ? *state_space[0] : *transformers[0]);
  std::vector<std::string> parts;
  if (!transformers.empty()) parts.push_back(many_models(transformers, "Transformers"));
  if (!state_space.empty()) parts.push_back(many_models(state_space, "state-space models"));
  return fmt::format("{} lowers the answer's probability {}.", edge, join(parts, "; "));
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

std::string table_text(const Study& study) {
  std::vector<std::vector<std::string>> rows = {
      {"model", "edge", "window", "largest drop %", "95% interval", "start", "depth", "n"}};
  for (const EdgeEffect& e : study.main_effects) {
    if (e.n == 0) {
      rows.push_back(
          {e.model, e.edge.label, std::to_string(e.window), "no such edge", "", "", "", "0"});
      continue;
    }
    rows.push_back({e.model, e.edge.label, std::to_string(e.window),
                    fmt::format("{:+.1f}{}", e.drop.value, is_real(e) ? "" : " ns"),
                    fmt::format("[{:+.1f}, {:+.1f}]", e.drop.by_prompt.low, e.drop.by_prompt.high),
                    fmt::format("{:.0f}/{}", e.start.value, e.layers),
                    fmt::format("{:.2f}", e.depth.value), std::to_string(e.n)});
  }
  return align(rows);
}

}  // namespace

bool is_real(const EdgeEffect& effect) {
  return effect.n > 1 && effect.drop.value < 0 && effect.p_holm < kSignificance;
}

std::vector<FindingSentence> finding_sentences(const Study& study) {
  std::vector<std::string> labels;
  for (const EdgeEffect& effect : study.main_effects)
    if (effect.edge.whole() &&
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
      "The run is not finished: {} of {} units are in, and every number is about those only.", done,
      planned);
}

std::vector<std::string> gaps(const Study& study) {
  std::vector<std::string> lines;
  if (!study.run.failures.empty())
    lines.push_back(fmt::format("{} prompts or units failed; they are listed with their reasons.",
                                study.run.failures.size()));
  std::size_t without = 0, known = 0;
  for (const ModelData& model : study.run.models)
    for (const std::int64_t blocked : model.axes.blocked) {
      known += blocked == kNotKnown ? 0 : 1;
      without += blocked == 0 ? 1 : 0;
    }
  if (without > 0)
    lines.push_back(fmt::format(
        "{:.0f} % of the (edge, prompt) pairs that were computed do not exist (a prompt "
        "that starts with its subject has no context, for instance) and are left out of "
        "every mean.",
        100.0 * static_cast<double>(without) / static_cast<double>(known)));
  for (std::string& line : differences_between_runs(study.run)) lines.push_back(std::move(line));
  return lines;
}

std::string findings_text(const Study& study) {
  std::string text;
  if (study.main_effects.empty()) {
    text = "No knockouts in these results.\n";
  } else {
    text = fmt::format("Findings, window of {} layers (ns = not different from zero)\n\n{}\n",
                       study.window, table_text(study));
    for (const FindingSentence& sentence : finding_sentences(study))
      text += fmt::format("- {}\n", sentence.text);
    text += "\nClaims of the paper\n";
    for (const Claim& claim : study.claims)
      text += fmt::format("- {}: {}{}\n", claim.text, to_string(claim.verdict),
                          claim.models.empty() ? " (not in this run)" : "");
  }
  std::vector<std::string> missing = gaps(study);
  if (const std::string line = unfinished(study); !line.empty())
    missing.insert(missing.begin(), line);
  if (!missing.empty()) text += "\n";
  for (const std::string& line : missing) text += fmt::format("! {}\n", line);
  return text;
}

}  // namespace factflow
