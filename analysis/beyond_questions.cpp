#include "analysis/beyond_questions.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "analysis/number_text.hpp"
#include "analysis/part_claims.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

constexpr const char* kSubject = "subject";
constexpr const char* kEdge = "subject->last";
constexpr const char* kEdgeOfMixer = "subject->last through mixer";
constexpr const char* kPair = "subject->last & relation-minus-last->last";
constexpr double kInfinite = std::numeric_limits<double>::infinity();
constexpr Interval kLateIntermediate{0.5, 0.9};  // of the layers, as in the claim of the paper
constexpr double kMissed = 10;                   // percent

std::string number_text(double value, const Interval& interval, int digits) {
  const std::string ends = interval_text(interval, "", digits);
  return signed_number(value, digits) + (ends.empty() ? "" : " " + ends);
}
std::string number_text(const Resampled& of, int digits) {
  return number_text(of.value, of.interval, digits);
}
Resampled resampled(const Measured& of) {
  return {of.value, of.interval};
}

// The element of `all` at `window`, or of the largest window; nullptr if none is wanted.
template <typename T, typename Wanted>
const T* at_window(const std::vector<T>& all, std::int64_t window, const Wanted& wanted) {
  const T* best = nullptr;
  for (const T& one : all) {
    if (!wanted(one)) continue;
    if (one.window == window) return &one;
    if (best == nullptr || one.window > best->window) best = &one;
  }
  return best;
}

// ---- attention or the state, of hybrids (docs/hybrids.md)

const CarriedEdge* carried_edge(const Study& study, const std::string& model) {
  for (const CarriedEdge& edge : study.carriers)
    if (edge.model == model && edge.main_set && edge.widest && edge.edge.label == kEdge)
      return &edge;
  return nullptr;
}

// Whether attention is needed: one half of the two shares that the verdict is made of.
Judged judge_attention(const CarriedEdge& of) {
  if (auto few = too_few(of.n, of.facts)) return *few;
  if (of.both.interval.high >= -kSmallEffect)
    return cannot_tell("cutting both does not surely lower the probability by 10 %");
  if (of.attention_share.interval.low > kHalfOfEffect)
    return {Verdict::kHolds, "cutting attention alone does more than half of it"};
  if (of.attention_share.interval.high < kHalfOfEffect)
    return {Verdict::kDoesNotHold, "cutting attention alone does less than half of it"};
  return cannot_tell("the interval reaches over one half");
}

QuestionAnswer carrier_answer(const Study& study, const std::string& model) {
  const CarriedEdge* of = carried_edge(study, model);
  if (of == nullptr) return {};
  QuestionAnswer answer;
  if (of->is_control()) {
    answer.answer =
        of->mixing == Mixing::kState ? "control: recurrent layers only" : "control: attention only";
    answer.applies = false;
    return answer;
  }
  if (!of->missing.empty()) {
    answer.answer = of->missing;
    answer.applies = false;
    return answer;
  }
  answer.answer = to_string(carrier_of(*of));
  answer.number = of->attention_share;
  answer.digits = 0;
  answer.judged = judge_attention(*of);
  answer.n = of->n;
  answer.facts = of->facts;
  answer.beside = fmt::format("both cut {} %; {}; window of {}, {}", number_text(of->both, 1),
                              shares_in_words(*of), of->window, chosen_in_words(*of));
  answer.figure = "carriers_layers_" + model;
  return answer;
}

// ---- which path

// "gate -31.0 %, skip D x -12.4 %": what sites of the subject's tokens do, and their names.
std::string sites_in_words(const ModelPaths& paths) {
  constexpr std::pair<const char*, const char*> kNames[] = {
      {"g", "gate"}, {"skip", "skip"}, {"mlp", "MLP"}};
  std::vector<std::string> words;
  for (const PathEffect& of : paths.paths)
    for (const auto& [path, name] : kNames)
      if (of.name.path == path && of.name.tokens == kSubject && of.name.value == "zero")
        words.push_back(fmt::format("{} {} %", name, signed_number(of.lowest.value, 1)));
  return words.empty() ? "" : "; silenced at the subject: " + join(words);
}

QuestionAnswer by_state_and_convolution(const ModelPaths& paths, const MissedPath& of) {
  QuestionAnswer answer;
  answer.number = of.missed;
  answer.judged = judge_missed(of);
  answer.n = of.n;
  answer.facts = of.facts;
  answer.answer = of.missed.value > kMissed    ? "state and convolution"
                  : of.missed.value < -kMissed ? "the state, against the convolution"
                                               : "the state";
  answer.beside = fmt::format("state {} %, with the convolution {} %",
                              signed_number(of.state.value, 1), signed_number(of.mixer.value, 1));
  if (of.in_reach > 0)
    answer.beside +=
        fmt::format(", convolution alone {} % of {}", signed_number(of.convolution.value, 1),
                    counted(of.in_reach, "prompt in its reach", "prompts in its reach"));
  answer.beside += sites_in_words(paths);
  return answer;
}

// Nothing but attention connects two tokens.
QuestionAnswer by_scores(const ModelPaths& paths, const PathEffect& of) {
  QuestionAnswer answer;
  answer.number = of.lowest;
  answer.quantity = "% change of p with the scores cut";
  answer.n = of.n;
  answer.facts = of.facts;
  answer.answer = "attention, the only path";
  if (auto few = too_few(of.n, of.facts))
    answer.judged = *few;
  else if (of.lowest.interval.high < 0)
    answer.judged = {Verdict::kHolds, "cutting the scores lowers the probability"};
  else
    answer.judged = cannot_tell("cutting the scores does not surely lower the probability");
  answer.beside = fmt::format("window of {} from layer {}", paths.window, of.start);
  answer.beside += sites_in_words(paths);
  return answer;
}

QuestionAnswer path_answer(const Study& study, const std::string& model) {
  const ModelPaths* paths = at_window(study.paths, study.window, [&](const ModelPaths& one) {
    return one.model == model && one.main_set;
  });
  if (paths == nullptr) return {};
  QuestionAnswer answer;
  for (const MissedPath& missed : paths->missed)
    if (missed.tokens == kSubject && missed.target == "last")
      answer = by_state_and_convolution(*paths, missed);
  if (answer.answer.empty() && paths->mixing == Mixing::kAttention)
    for (const PathEffect& of : paths->paths)
      if (of.name.tokens == kSubject && of.name.target == "last" && of.n > 0)
        answer = by_scores(*paths, of);
  answer.figure = fmt::format("paths_{}_w{}", model, paths->window);
  return answer;
}

// ---- at which depth

// The whole edge: of interventions through all paths, else of the state or of a sweep.
const EdgeEffect* whole_edge(const Study& study, const std::string& model) {
  for (const char* label : {kEdgeOfMixer, kEdge})
    for (const auto* effects : {&study.main_interventions, &study.main_effects})
      for (const EdgeEffect& effect : *effects)
        if (effect.model == model && effect.main_set && effect.n > 0 && effect.edge.label == label)
          return &effect;
  return nullptr;
}

Judged judge_depth(const EdgeEffect& of, const Interval& middle) {
  if (auto few = too_few(of.n, of.facts)) return *few;
  if (!(of.lowest.by_fact.high < 0))
    return cannot_tell("blocking the edge does not surely lower the probability");
  if (middle.low >= kLateIntermediate.low && middle.high <= kLateIntermediate.high)
    return {Verdict::kHolds, "the middle of the strongest window lies there"};
  if (middle.high < kLateIntermediate.low) return {Verdict::kDoesNotHold, "it lies earlier"};
  if (middle.low > kLateIntermediate.high) return {Verdict::kDoesNotHold, "it lies later"};
  return cannot_tell("the interval reaches over the ends");
}

QuestionAnswer depth_answer(const Study& study, const std::string& model) {
  const EdgeEffect* of = whole_edge(study, model);
  if (of == nullptr) return {};
  const double to_middle = of->depth_middle - of->depth.value;
  const Interval middle{of->depth.by_fact.low + to_middle, of->depth.by_fact.high + to_middle};
  QuestionAnswer answer;
  answer.number = {of->depth_middle, middle};
  answer.digits = 2;
  answer.judged = judge_depth(*of, middle);
  answer.n = of->n;
  answer.facts = of->facts;
  const auto layers = static_cast<double>(of->layers);
  const double half = static_cast<double>(of->window - 1) / 2;
  const double centre = of->depth_middle * layers - 0.5;  // of a layer, where 0 is the first one's
  answer.answer = of->window == 1
                      ? fmt::format("layer {:.0f} of {}", centre, of->layers)
                      : fmt::format("layers {:.0f} to {:.0f} of {}", std::max(0.0, centre - half),
                                    std::min(layers - 1, centre + half), of->layers);
  answer.beside = fmt::format("{} there: {} %", of->edge.display(),
                              number_text(of->lowest.value, of->lowest.by_fact, 1));
  answer.figure = study.main_effects.empty() ? "intervene_" + model : "edges_" + model;
  return answer;
}

// ---- slow channels

// "by exp(A dt)" of "each quantile of 12 by exp(A dt)"; another division is named whole.
std::string ranking_of(const SlowAgainstRandom& of) {
  const std::size_t by = of.slices.find(" by ");
  return by == std::string::npos ? of.slices : of.slices.substr(by + 1);
}

QuestionAnswer slow_answer(const Study& study, const std::string& model) {
  for (const ModelParts& parts : study.parts) {
    if (parts.model != model) continue;
    const auto* of = at_window(parts.contrasts, study.window,
                               [](const SlowAgainstRandom& one) { return one.edge == kEdge; });
    QuestionAnswer answer;
    if (of == nullptr) {
      if (parts.mixing != Mixing::kAttention) return {};
      answer.answer = "attention has no decay";
      answer.applies = false;
      return answer;
    }
    answer.number = of->difference;
    answer.judged = judge_slow(*of);
    answer.n = of->n;
    answer.facts = of->facts;
    answer.answer = answer.judged.verdict == Verdict::kHolds         ? "yes, more"
                    : answer.judged.verdict == Verdict::kDoesNotHold ? "no, not more"
                    : of->difference.value > 0                       ? "perhaps more"
                                                                     : "perhaps less";
    answer.beside = fmt::format("{}: slow {} %, fast {} %, random {} % a slice", of->slices,
                                signed_number(of->slow.value, 1), signed_number(of->fast.value, 1),
                                signed_number(of->random.value, 1));
    for (const SlowAgainstRandom& other : parts.contrasts)
      if (other.edge == of->edge && other.window == of->window && other.control == of->control &&
          other.slices != of->slices)
        answer.also = fmt::format("{}{} {}", answer.also.empty() ? "" : answer.also + "; ",
                                  ranking_of(other), number_text(other.difference, 1));
    answer.figure = "parts_slices_" + model;
    return answer;
  }
  return {};
}

// ---- the surge

// At the window of the findings; else of the most layers, at most half of the model.
const Surge* surge_of(const Study& study, const std::string& model) {
  const Surge* best = nullptr;
  for (const Surge& one : study.surges) {
    if (one.model != model || one.n == 0) continue;
    if (one.window == study.window) return &one;
    const bool fits = 2 * one.window <= one.layers;
    if (best == nullptr || (fits && one.window > best->window)) best = &one;
  }
  return best;
}

Judged judge_surge(const Surge& surge) {
  if (auto few = too_few(surge.n, surge.facts)) return *few;
  if (surge.change.interval.low > 0) return {Verdict::kHolds, "the log-probability rises"};
  if (surge.change.interval.high < 0) return {Verdict::kDoesNotHold, "the log-probability falls"};
  return cannot_tell("the interval holds zero");
}

QuestionAnswer surge_answer(const Study& study, const std::string& model) {
  const Surge* of = surge_of(study, model);
  if (of == nullptr) return {};
  QuestionAnswer answer;
  answer.number = resampled(of->change);
  answer.digits = 3;
  answer.judged = judge_surge(*of);
  answer.n = of->n;
  answer.facts = of->facts;
  answer.answer = answer.judged.verdict == Verdict::kHolds ? surge_in_words(*of)
                  : answer.judged.verdict == Verdict::kDoesNotHold
                      ? "nothing: there is no surge"
                      : "no surge that differs from zero";
  std::vector<std::string> parts;
  for (std::size_t part = 0; part < kParts; ++part)
    parts.push_back(
        fmt::format("{} {}", surge_part_names()[part], signed_number(of->parts[part].value, 3)));
  answer.beside = fmt::format(
      "last {}: {}", counted(static_cast<std::uint64_t>(of->window), "layer"), join(parts));
  answer.figure = fmt::format("surge_{}_w{}", model, of->window);
  return answer;
}

// ---- two knockouts

// "of 6 combinations 2 add up, 1 overlaps ..": the others, by their verdicts.
std::string others_in_words(const Study& study, const Combined& of) {
  std::size_t all = 0, add_up = 0, overlap = 0, stand_in = 0;
  for (const Combined& one : study.combined) {
    if (one.model != of.model || one.main != of.main || one.window != of.window) continue;
    const Verdict verdict = judge_combination(one).verdict;
    ++all;
    if (verdict == Verdict::kHolds) ++add_up;
    if (verdict == Verdict::kDoesNotHold) ++(one.share.value > 0 ? overlap : stand_in);
  }
  if (all < 2) return "";
  return fmt::format("; of all {} combinations {} add up, {} overlap, {} stand in for each other",
                     all, add_up, overlap, stand_in);
}

// The same pair in all models: subject and relation, else the first that there is; "" without any.
std::string pair_of(const Study& study) {
  std::string pair;
  for (const Combined& one : study.combined)
    if (one.main && one.n > 0 && one.parts.size() == 2 && (pair.empty() || one.label == kPair))
      pair = one.label;
  return pair;
}

QuestionAnswer sum_answer(const Study& study, const std::string& model) {
  const std::string pair = pair_of(study);
  const auto of =
      std::find_if(study.combined.begin(), study.combined.end(), [&](const Combined& one) {
        return one.model == model && one.main && one.n > 0 && one.label == pair;
      });
  if (of == study.combined.end()) return {};
  QuestionAnswer answer;
  answer.number = {100 * of->share.value,
                   {100 * of->share.interval.low, 100 * of->share.interval.high}};
  answer.judged = judge_combination(*of);
  answer.n = of->n;
  answer.facts = of->facts;
  const bool against = answer.judged.verdict == Verdict::kDoesNotHold;
  answer.answer = answer.judged.verdict == Verdict::kHolds ? "they add up"
                  : of->share.value > 0 ? (against ? "no: they overlap" : "perhaps they overlap")
                                        : (against ? "no: each stands in for the other"
                                                   : "perhaps each stands in for the other");
  const CombinedPoint& point = of->points[of->strongest];
  answer.beside =
      fmt::format("{}: log changes {} and {} alone, {} together", name_of_row(of->label).display(),
                  signed_number(point.alone[0].value, 2), signed_number(point.alone[1].value, 2),
                  signed_number(point.together.value, 2)) +
      others_in_words(study, *of);
  answer.figure = "combined_" + model;
  return answer;
}

using Answering = QuestionAnswer (*)(const Study&, const std::string&);

void add(const Study& study, BeyondQuestion question, Answering answering,
         std::vector<BeyondQuestion>& questions) {
  bool any = false;
  for (const ModelData& model : study.run.models) {
    question.models.push_back(answering(study, model.info.name));
    question.models.back().model = model.info.name;
    any = any || (!question.models.back().answer.empty() && question.models.back().applies);
  }
  if (any) questions.push_back(std::move(question));
}

}  // namespace

std::vector<BeyondQuestion> beyond_questions(const Study& study) {
  std::vector<BeyondQuestion> questions;
  add(study,
      {kCarrierQuestion,
       "Attention or the state: who carries subject \u2192 last?",
       "Attention is needed: cutting it alone does more than half of what cutting attention and "
       "state does.",
       "% of what cutting both does, done by cutting attention alone",
       "carriers",
       {kHalfOfEffect, kInfinite},
       false,
       {}},
      carrier_answer, questions);
  add(study,
      {"path",
       "Which path carries subject \u2192 last?",
       "The state (or attention) alone carries it: cutting it misses less than a tenth of what "
       "cutting state and "
       "convolution does.",
       "% of the effect that the state alone misses",
       "paths",
       {-kMissed, kMissed},
       true,
       {}},
      path_answer, questions);
  add(study,
      {"depth",
       "At which depth?",
       "At late-intermediate depth: the middle of the strongest window lies in 50 to 90 % of the "
       "layers.",
       "middle of the strongest window, as a share of the layers",
       study.main_interventions.empty() ? "findings" : "interventions",
       kLateIntermediate,
       false,
       {}},
      depth_answer, questions);
  add(study,
      {"slow",
       "Do slow channels carry more than random ones?",
       "A slice of the slowest third of the decay ranking carries more than an equally large "
       "random one.",
       "percentage points more a slice",
       "parts",
       {0, kInfinite},
       true,
       {}},
      slow_answer, questions);
  add(study,
      {"surge",
       "What does the last token's surge remove?",
       "There is a surge: the answer's log-probability rises where the last token cannot read "
       "itself in the last layers.",
       "change of ln p",
       "surge",
       {0, kInfinite},
       true,
       {}},
      surge_answer, questions);
  add(study,
      {"sum",
       "Do two knockouts add up?",
       fmt::format("{} together change ln p by the sum of each alone, within a tenth of it.",
                   name_of_row(pair_of(study)).display()),
       "% of the sum that is missing (above 0) or too much",
       "combined",
       {-100 * kSmallShare, 100 * kSmallShare},
       true,
       {}},
      sum_answer, questions);
  return questions;
}

}  // namespace factflow
