#include "analysis/surges.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "analysis/cell_prompts.hpp"
#include "analysis/load_runs.hpp"
#include "analysis/number_text.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

constexpr std::size_t kMostLosers = 8;
constexpr std::array<const char*, kParts> kWords = {
    "inhibition of the answer's own logit", "removal of the strongest competitor",
    "the other tokens' logits", "normalisation by the final norm"};

class SurgeStudy {
 public:
  SurgeStudy(const SurgeResult& result, const std::vector<CellPrompt>& prompts,
             const BootstrapOptions& options, Surge& surge)
      : result_(result), options_(options), surge_(surge) {
    for (std::size_t i = 0; i < result.prompts.size(); ++i) {
      if (result.status[i] == kSurgeNotAsked) continue;
      ++surge.prompts;
      if (result.status[i] != 1) {
        ++surge.failed;
      } else if (!prompts[i].used) {
        ++surge.outside;
      } else {
        rows_.push_back(i);
        facts_.push_back(prompts[i].fact);
        surge.found.push_back({result.prompts[i], result.found[i]});
      }
    }
    surge.n = rows_.size();
    surge.facts = count_clusters(facts_);
  }

  void compute() {
    surge_.change = mean_of(change);
    for (const std::size_t row : rows_) surge_.gaining += change(result_.found[row]) > 0 ? 1 : 0;
    std::vector<double> changes = column(change);
    for (std::size_t part = 0; part < kParts; ++part) {
      const auto of = [&](const SurgeFinding& f) { return f.parts[part]; };
      surge_.parts[part] = mean_of(of);
      surge_.shares[part] = measured_ratio(column(of), changes, facts_, options_);
    }
    surge_.scale_ratio = mean_of(
        [](const SurgeFinding& f) { return std::log(f.scale[kKnocked] / f.scale[kClean]); });
    surge_.competitor_change = mean_of([](const SurgeFinding& f) {
      return f.competitor_log[kKnocked] - f.competitor_log[kClean];
    });
    take_lost();
    take_written();
    take_lens();
    take_weights();
    take_losers();
  }

 private:
  using Of = std::function<double(const SurgeFinding&)>;
  static double change(const SurgeFinding& f) {
    return f.log_probability[kKnocked] - f.log_probability[kClean];
  }
  std::vector<double> column(const Of& of) const {
    std::vector<double> values;
    for (const std::size_t row : rows_) values.push_back(of(result_.found[row]));
    return values;
  }
  Measured mean_of(const Of& of) const { return measured_mean(column(of), facts_, options_); }

  void take_lost() {
    const auto of_competitor = [](const SurgeFinding& f) {
      return std::max(0.0,
                      std::exp(f.competitor_log[kClean]) - std::exp(f.competitor_log[kKnocked]));
    };
    surge_.lost_to_competitor =
        measured_ratio(column(of_competitor), column([](const SurgeFinding& f) { return f.lost; }),
                       facts_, options_);
    surge_.half_lost = median(column([](const SurgeFinding& f) { return f.half_lost; }));
  }

  void take_written() {
    surge_.components = result_.components;
    const std::size_t components = result_.components.size();
    const auto total = [&](const std::vector<double>& written, std::size_t run) {
      double sum = 0;
      for (std::size_t i = 0; i < components; ++i) sum += written[run * components + i];
      return sum;
    };
    const auto more = [&](auto member) {
      return mean_of([&, member](const SurgeFinding& f) {
        return total(f.*member, kKnocked) - total(f.*member, kClean);
      });
    };
    surge_.own_written = more(&SurgeFinding::answer_written);
    surge_.competitor_written = more(&SurgeFinding::competitor_written);
    for (std::size_t i = 0; i < components; ++i) {
      for (const std::size_t run : {kClean, kKnocked})
        surge_.written[run].push_back(mean(
            column([&](const SurgeFinding& f) { return f.answer_written[run * components + i]; })));
      surge_.written_more.push_back(mean_of([&](const SurgeFinding& f) {
        return f.answer_written[components + i] - f.answer_written[i];
      }));
    }
  }

  void take_lens() {
    const auto depths = static_cast<std::size_t>(result_.layers) + 1;
    for (const std::size_t run : {kClean, kKnocked})
      for (std::size_t depth = 0; depth < depths; ++depth) {
        surge_.lens_answer[run].push_back(
            mean_of([&](const SurgeFinding& f) { return f.lens_answer[run * depths + depth]; }));
        surge_.lens_competitor[run].push_back(mean_of(
            [&](const SurgeFinding& f) { return f.lens_competitor[run * depths + depth]; }));
      }
  }

  // Over the layers that say something, in the prompts that do.
  void take_weights() {
    for (std::size_t source = 0; source < kSources; ++source) {
      std::vector<double> values;
      std::vector<std::size_t> facts;
      for (std::size_t i = 0; i < rows_.size(); ++i) {
        const std::vector<double>& weight = result_.found[rows_[i]].weight;
        double sum = 0, count = 0;
        for (std::size_t at = source; at < weight.size(); at += kSources)
          if (!std::isnan(weight[at])) {
            sum += weight[at];
            ++count;
          }
        if (count == 0) continue;
        values.push_back(sum / count);
        facts.push_back(facts_[i]);
      }
      surge_.weights[source] = measured_mean(values, facts, options_);
    }
  }

  void take_losers() {
    std::map<std::string, Surge::Loser> losers;
    for (const std::size_t row : rows_) {
      const SurgeFinding& f = result_.found[row];
      if (f.loser.empty() || f.loser[0] < 0) continue;
      Surge::Loser& loser = losers[f.loser_text[0]];
      loser.text = f.loser_text[0];
      ++loser.prompts;
      loser.loss += f.loser_clean[0] - f.loser_knocked[0];
    }
    for (auto& [text, loser] : losers) {
      loser.loss /= static_cast<double>(loser.prompts);
      surge_.losers.push_back(loser);
    }
    std::stable_sort(surge_.losers.begin(), surge_.losers.end(),
                     [](const auto& a, const auto& b) { return a.prompts > b.prompts; });
    if (surge_.losers.size() > kMostLosers) surge_.losers.resize(kMostLosers);
  }

  const SurgeResult& result_;
  const BootstrapOptions& options_;
  Surge& surge_;
  std::vector<std::size_t> rows_, facts_;
};

std::string evidence_of(const Surge& s) {
  std::vector<std::string> parts;
  for (std::size_t part = 0; part < kParts; ++part)
    parts.push_back(fmt::format("{} {}", surge_part_names()[part], measured_text(s.parts[part])));
  return fmt::format("ln p changes by {} with the last {} without last \u2192 last: {}; {}",
                     measured_text(s.change),
                     counted(static_cast<std::uint64_t>(s.window), "layer"), join(parts),
                     count_text(s.n, s.facts));
}

// Whether there is a surge to explain.
std::optional<Judged> no_surge(const Surge& s) {
  if (s.n == 0) return cannot_tell("no prompt has numbers");
  if (auto few = too_few(s.n, s.facts)) return *few;
  if (s.change.interval.high < 0)
    return cannot_tell("there is no surge: the answer's log-probability falls");
  if (!(s.change.interval.low > 0)) return cannot_tell("there is no surge that differs from zero");
  return std::nullopt;
}

Judged is_most(const Surge& s, std::size_t part) {
  if (auto none = no_surge(s)) return *none;
  Judged judged = judge_above(s.shares[part].interval, 0.5);
  judged.reason = fmt::format("{} of the change; {}", measured_text(s.shares[part]), judged.reason);
  return judged;
}

}  // namespace

std::vector<Surge> study_surges(const RunData& run, const CleanLimits& limits,
                                const BootstrapOptions& options) {
  std::vector<Surge> all;
  for (const ModelData& model : run.models) {
    if (model.reader == nullptr || !has_surge(*model.reader, model.stored_name)) continue;
    for (const std::int64_t window : surge_windows(*model.reader, model.stored_name)) {
      const SurgeResult result = load_surge(model, window);
      Surge& surge = all.emplace_back();
      surge.model = model.info.name;
      surge.family = model.info.family;
      surge.layers = model.info.layers;
      surge.window = window;
      SurgeStudy study(result, cell_prompts(run, model, result.prompts, limits), options, surge);
      if (surge.n > 0) study.compute();
    }
  }
  return all;
}

std::vector<Claim> judge_surges(const std::vector<Surge>& surges) {
  std::vector<Claim> claims;
  for (const std::size_t part : {kOwnLogit, kCompetitor, kScale}) {
    std::vector<ModelVerdict> verdicts;
    for (const Surge& s : surges) {
      const Judged judged = is_most(s, part);
      verdicts.push_back({fmt::format("{}, last {}", s.model,
                                      counted(static_cast<std::uint64_t>(s.window), "layer")),
                          judged.verdict, judged.reason, s.n > 0 ? evidence_of(s) : ""});
    }
    claims.push_back(decide(
        fmt::format("The last token's surge is {}", kWords[part]),
        "Blocking last \u2192 last in the last layers raises the answer's mean log-probability (95 "
        "% bootstrap interval above zero), and this part of the change (its Shapley value among "
        "own logit, strongest competitor, other tokens and final norm) is more than half of it "
        "(interval of the ratio of means).",
        std::move(verdicts)));
    claims.back().source = "beyond the paper (docs/beyond.md)";
  }
  return claims;
}

std::string surge_in_words(const Surge& s) {
  if (auto none = no_surge(s)) return none->reason;
  for (std::size_t part = 0; part < kParts; ++part)
    if (s.shares[part].interval.low > 0.5)
      return fmt::format("{}: {} of the change", kWords[part], measured_text(s.shares[part]));
  const auto largest = static_cast<std::size_t>(
      std::max_element(s.shares.begin(), s.shares.end(),
                       [](const Measured& a, const Measured& b) { return a.value < b.value; }) -
      s.shares.begin());
  return fmt::format("no part is surely more than half; the largest is {}: {} of the change",
                     kWords[largest], measured_text(s.shares[largest]));
}

}  // namespace factflow
