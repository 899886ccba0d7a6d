#include "tests/analysis/synthetic_results.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <utility>

#include <fmt/format.h>

#include "experiments/edit/edit_arrays.hpp"
#include "experiments/evaluate/evaluation_arrays.hpp"
#include "experiments/heatmap/heatmap_arrays.hpp"
#include "experiments/intervene/intervention_arrays.hpp"
#include "experiments/mean_knockout/mean_knockout_arrays.hpp"
#include "experiments/parts/parts_arrays.hpp"
#include "experiments/sever/sever_arrays.hpp"
#include "experiments/sweep/knockout_arrays.hpp"
#include "experiments/trace/trace_arrays.hpp"
#include "results/results_file.hpp"
#include "tests/analysis/synthetic_locate.hpp"

namespace factflow {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Fact {
  const char* subject;
  const char* relation;  // words between subject and answer
  const char* answer;
};

constexpr std::array<Fact, 6> kFacts = {{
    {"Lake Orun", "lies in the country of", " Norway"},
    {"Beats Music", "is owned by", " Apple"},
    {"Mount Avela", "is a mountain on the continent of", " Antarctica"},
    {"Ana Maria Petrova", "plays the sport of professional", " tennis"},
    {"The Kelvane Bridge", "was designed by the architect", " Alvar"},
    {"Ruritania", "has its capital in the city of", " Strelsau"},
}};

// Chinese, Arabic, Hebrew, Japanese, Korean, Hindi, Thai, emoji, and a character that is in no
// font.
constexpr std::array<Fact, 8> kFactsOfManyScripts = {{
    {"\u57C3\u83F2\u5C14\u94C1\u5854", "\u4F4D\u4E8E", "\u5DF4\u9ECE"},
    {"\u0628\u0631\u062C \u0625\u064A\u0641\u0644",
     "\u064A\u0642\u0639 \u0641\u064A \u0645\u062F\u064A\u0646\u0629",
     " \u0628\u0627\u0631\u064A\u0633"},
    {"\u05DE\u05D2\u05D3\u05DC \u05D0\u05D9\u05D9\u05E4\u05DC",
     "\u05E0\u05DE\u05E6\u05D0 \u05D1\u05E2\u05D9\u05E8", " \u05E4\u05E8\u05D9\u05D6"},
    {"\u30A8\u30C3\u30D5\u30A7\u30EB\u5854", "\u304C\u3042\u308B\u306E\u306F", "\u30D1\u30EA"},
    {"\uC5D0\uD3A0\uD0D1", "\uC740 \uC5B4\uB290 \uB3C4\uC2DC", " \uD30C\uB9AC"},
    {"\u090F\u092B\u093C\u093F\u0932 \u091F\u0949\u0935\u0930",
     "\u0915\u0939\u093E\u0901 \u0939\u0948", " \u092A\u0947\u0930\u093F\u0938"},
    {"\u0E2B\u0E2D\u0E44\u0E2D\u0E40\u0E1F\u0E25",
     "\u0E2D\u0E22\u0E39\u0E48\u0E17\u0E35\u0E48\u0E44\u0E2B\u0E19",
     " \u0E1B\u0E32\u0E23\u0E35\u0E2A"},
    {"\U0001F5FC \U0001F914", "\U0001F469\u200D\U0001F4BB \U000F1234 is in",
     " \U0001F1EB\U0001F1F7"},
}};

bool is_state_space(const std::string& family) {
  return family == "mamba" || family == "mamba2" || family == "falcon_mamba";
}

// "subject->last/slow" in its parts.
struct Edge {
  std::string source, target, channels = "all", path = "both";
};

Edge parse(std::string label) {
  std::string path = "both";
  for (const std::string one : {"attention", "recurrent"})
    if (label.ends_with(" (" + one + ")")) {
      label.resize(label.size() - one.size() - 3);
      path = one;
    }
  const std::size_t arrow = label.find("->"), slash = label.find('/');
  Edge edge{label.substr(0, arrow), label.substr(arrow + 2, slash - arrow - 2), "all", path};
  if (slash != std::string::npos) edge.channels = label.substr(slash + 1);
  return edge;
}

double bump(double depth, double centre, double width) {
  return std::exp(-(depth - centre) * (depth - centre) / (2 * width * width));
}

// Whether the window [start, start + window) has a mixer of a kind; without letters it has all.
bool has_mixer(const std::string& mixers, char kind, int start, int window) {
  const int layers = static_cast<int>(mixers.size());
  bool has = mixers.empty();
  for (int layer = std::max(0, start); layer < std::min(layers, start + window); ++layer)
    has = has || mixers[static_cast<std::size_t>(layer)] == kind ||
          mixers[static_cast<std::size_t>(layer)] == 'B';
  return has;
}

bool is_hybrid(const SyntheticModel& model) {
  const int layers = model.layers;
  return !model.mixers.empty() && has_mixer(model.mixers, 'A', 0, layers) &&
         has_mixer(model.mixers, 'R', 0, layers);
}

// The part of an edge's effect that its path has in a window of a model.
double share_of_path(const std::string& path, const SyntheticModel& model, int start, int window) {
  if (!is_hybrid(model)) return 1;
  const bool attends = has_mixer(model.mixers, 'A', start, window),
             keeps_state = has_mixer(model.mixers, 'R', start, window);
  const double attention = attends ? model.attention_share : 0,
               state = keeps_state ? model.state_share : 0;
  if (path == "attention") return attention;
  if (path == "recurrent") return state;
  return attends && keeps_state ? 1 : attention + state;
}

std::vector<std::string> blocks_of(const std::string& mixers) {
  std::vector<std::string> blocks;
  for (const char letter : mixers)
    blocks.push_back(letter == 'A'   ? "attention, mlp"
                     : letter == 'R' ? "gated_delta, mlp"
                                     : "attention + mamba2, mlp");
  return blocks;
}

// The change of log p that an edge makes at a relative depth, before noise.
double effect(const Edge& edge, const SyntheticModel& model, double depth, int window) {
  const bool state_space = is_state_space(model.family);
  const double strength = 0.35 + 0.65 * std::min(1.0, window / 9.0);
  double change = 0;
  if (edge.source == "subject") change = -1.6 * bump(depth, 0.62, 0.13);
  if (edge.source == "relation") change = -1.1 * bump(depth, state_space ? 0.55 : 0.25, 0.18);
  if (edge.source == "relation-minus-last")
    change = -0.7 * bump(depth, state_space ? 0.5 : 0.2, 0.18);
  if (edge.source == "first")
    change = state_space ? -0.02 * bump(depth, 0.1, 0.2) : -1.0 * bump(depth, 0.15, 0.2);
  if (edge.source == "last")
    change =
        -0.4 * bump(depth, 0.3, 0.2) + (model.family == "mamba" || model.family == "falcon_mamba"
                                            ? 0.25 * bump(depth, 1.0, 0.15)
                                            : 0.0);
  if (edge.source == "all") change = -2.2 * bump(depth, 0.45, 0.3);
  if (edge.source == "context") change = -0.3 * bump(depth, 0.2, 0.2);
  const std::array<std::pair<const char*, double>, 5> shares = {
      {{"all", 1.0}, {"slow", 0.8}, {"not-fast", 0.95}, {"fast", 0.08}, {"not-slow", 0.25}}};
  for (const auto& [name, share] : shares)
    if (edge.channels == name) change *= share;
  return strength * change;
}

PromptTable make_prompts(const SyntheticOptions& options) {
  PromptTable table;
  for (int i = 0; i < options.prompts; ++i) {
    const int number = i / options.phrasings;  // of the fact
    const Fact& fact =
        options.scripts
            ? kFactsOfManyScripts[static_cast<std::size_t>(number) % kFactsOfManyScripts.size()]
            : kFacts[static_cast<std::size_t>(number) % kFacts.size()];
    const bool prefixed = i % 10 >= static_cast<int>(10 * options.no_edge_share);
    table.id.push_back(options.first_id + 7 * i);
    // Every fact has a subject of its own.
    std::string subject = fmt::format("{}{}", fact.subject, number);
    if (i % 10 < static_cast<int>(10 * options.one_word_share))
      subject = fmt::format("Orun{}", number);
    table.subject.push_back(std::move(subject));
    table.text.push_back(fmt::format("{}{} {}",
                                     prefixed && !options.scripts ? "Everyone knows that " : "",
                                     table.subject.back(), fact.relation));
    table.answer.push_back(fact.answer);
    if (options.hostile) {
      table.text.back() = "<img/src=x/onerror=alert(1)> " + table.text.back();
      table.answer.back() += "</script><script>alert(2)</script>";
    }
    table.relation.push_back(fmt::format("P{}", 17 + number % options.relations));
  }
  return table;
}

int count_words(const std::string& text) {
  return 1 + static_cast<int>(std::count(text.begin(), text.end(), ' '));
}

std::vector<std::string> split_words(const std::string& text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    if (c == ' ') words.emplace_back();
    words.back() += c;
  }
  return words;
}

class Generator {
 public:
  explicit Generator(const SyntheticOptions& options)
      : options_(options), prompts_(make_prompts(options)), random_(options.seed) {}

  const PromptTable& prompts() const { return prompts_; }
  std::vector<FailureRecord> failures;

  void write(ResultsWriter& writer, const SyntheticModel& model, bool last) {
    ModelInfo info{model.name,
                   model.family,
                   "checkpoints/" + model.name,
                   model.layers,
                   64 * model.layers,
                   50280,
                   static_cast<std::int64_t>(model.parameters),
                   fmt::format("xxh3:{:016x}", model.parameters > 0 ? random_() : 0),
                   "xxh3:00000000cafecafe"};
    info.layer_blocks = blocks_of(model.mixers);
    writer.begin_model(info);
    const EvaluationResult clean = evaluate(model);
    writer.write(arrays_of(clean));
    if (options_.knockouts) {
      const std::vector<std::string> edges = edges_of(model);
      const CellAxes axes = make_axes(edges, clean, last);
      writer.write(arrays_of(axes));
      draw_tastes(edges.size());
      for (const int window : options_.windows)
        if (window <= model.layers)
          writer.write(arrays_of(axes, knock_out(model, clean, axes, window, last)));
      for (const ArrayGroup& group : arrays_of(heat_maps(model, clean))) writer.write(group);
    }
    if (!options_.rows.empty()) write_rows(writer, model, clean, last);
    for (std::size_t row = 0; row < options_.map_rows.size(); ++row)
      for (const ArrayGroup& group : arrays_of(
               heat_maps(model, clean),
               intervention_map_names(static_cast<std::int64_t>(row), options_.map_rows[row])))
        writer.write(group);
    if (options_.traced > 0) write_traces(writer, model, clean);
    if (options_.edited > 0) write_edits(writer, model, clean);
    if (options_.severed > 0) write_severings(writer, model, clean);
    if (options_.mean_knocked > 0) write_mean_knockouts(writer, model, clean);
    if (options_.parts > 0) write_parts(writer, model, clean);
    if (options_.attributed > 0) write_attributions(writer, model, clean);
    if (options_.related > 0)
      writer.write(
          arrays_of(synthetic_relations(prompts_, static_cast<std::size_t>(options_.related),
                                        model.layers, options_.hostile, random_())));
  }

 private:
  // Of the first so many prompts.
  TracedFacts make_facts(const SyntheticModel& model, const EvaluationResult& clean, int wanted,
                         const char* kind) {
    TracedFacts facts;
    const auto count = static_cast<std::size_t>(std::min(wanted, options_.prompts));
    for (std::size_t i = 0; i < count; ++i) {
      facts.prompts.push_back(prompts_.id[i]);
      const bool failed = std::isnan(clean.probability[i]) || i % 9 == 4;
      facts.counterfactual.push_back(failed ? "" : prompts_.subject[(i + 1) % count]);
      facts.high.push_back(failed ? kNan : clean.probability[i]);
      const double share = i % 7 == 2 ? 0.98 : 0.02 + 0.2 * uniform();
      facts.low.push_back(failed ? kNan : static_cast<float>(share * clean.probability[i]));
      facts.subject_begin.push_back(failed ? -1 : clean.subject_begin[i]);
      facts.subject_end.push_back(failed ? -1 : clean.subject_end[i]);
      facts.token_count.push_back(failed ? 0 : clean.token_count[i]);
      if (failed && !std::isnan(clean.probability[i]))
        failures.push_back({model.name, kind, std::to_string(prompts_.id[i]),
                            "none of 8 other subjects of its relation has as many tokens"});
    }
    return facts;
  }

  // The patch works by all three sites, early by the gate, late by the scan.
  void write_severings(ResultsWriter& writer, const SyntheticModel& model,
                       const EvaluationResult& clean) {
    const TracedFacts facts = make_facts(model, clean, options_.severed, "sever");
    SeveredPaths paths;
    paths.at = {"subject-last", "prompt-last"};
    paths.severed = is_state_space(model.family)
                        ? std::vector<std::string>{"none", "s", "g", "o"}
                        : std::vector<std::string>{"none", "o", "mlp", "o+mlp"};
    paths.prompts = facts.prompts;
    for (int layer = 0; layer <= model.layers; ++layer) paths.layers.push_back(layer);
    for (const std::string& at : paths.at)
      for (std::size_t what = 0; what < paths.severed.size(); ++what)
        for (std::size_t i = 0; i < facts.prompts.size(); ++i)
          for (const int layer : paths.layers) {
            const double depth = 1.0 * layer / model.layers, high = facts.high[i];
            const double whole = traced_share("h", depth, at == "prompt-last" ? 9 : 4, 5, 10) *
                                 (1.1 - 0.2 * uniform());
            const double kept = 1 - static_cast<double>(what) * 0.3 * (1 - depth);
            const double p = facts.low[i] + whole * kept * (high - facts.low[i]);
            const bool failed = std::isnan(high);
            paths.probability.push_back(failed ? kNan
                                               : static_cast<float>(std::clamp(p, 0.0, 1.0)));
            paths.rank.push_back(failed ? 0 : 1);
            paths.log_change.push_back(
                failed ? kNan : static_cast<float>(std::log(std::max(p, 1e-30) / facts.low[i])));
          }
    for (const ArrayGroup& group : arrays_of(facts, paths)) writer.write(group);
  }

  // Some prompts fail, some have no other tokens than the subject's.
  void write_mean_knockouts(ResultsWriter& writer, const SyntheticModel& model,
                            const EvaluationResult& clean) {
    CellAxes axes;
    for (const char* mode : {"mean-a", "two-stream-a", "edges"})
      for (const char* set : {"subject", "subject-last", "non-subject", "prompt-last"})
        if (is_state_space(model.family) || std::string(mode) == "edges")
          axes.items.push_back(std::string(mode) + " " + set);
    const auto count = static_cast<std::size_t>(std::min(options_.mean_knocked, options_.prompts));
    axes.prompts.assign(prompts_.id.begin(),
                        prompts_.id.begin() + static_cast<std::ptrdiff_t>(count));
    CellWindow window{3, "centred", {}, {}, {}};
    for (int centre = 0; centre < model.layers; ++centre) window.starts.push_back(centre);
    for (const std::string& item : axes.items)
      for (std::size_t i = 0; i < count; ++i) {
        const bool failed = std::isnan(clean.probability[i]) || i % 11 == 3;
        const bool none = item.ends_with("non-subject") && i % 5 == 1;
        axes.blocked.push_back(failed ? kFailedPrompt : none ? 0 : 2);
        const double taste = 0.5 + uniform();
        for (const int centre : window.starts) {
          const double depth = 1.0 * centre / model.layers;
          const double log_change =
              item.ends_with("prompt-last")
                  ? 0.4 * bump(depth, 0.85, 0.1) - 0.2 * bump(depth, 0.5, 0.2)
                  : -taste * (item.ends_with(" subject") ? 1.4 : 0.5) * bump(depth, 0.65, 0.15);
          const double p =
              std::min(1.0, static_cast<double>(clean.probability[i]) * std::exp(log_change));
          const bool no_value = failed || none;
          window.probability.push_back(no_value ? kNan : static_cast<float>(p));
          window.log_change.push_back(no_value ? kNan : static_cast<float>(log_change));
          window.rank.push_back(no_value ? 0 : 1);
          window.tied.push_back(0);
        }
      }
    MeanReferences references;
    if (is_state_space(model.family)) references = {{prompts_.id[0], prompts_.id[2]}, 17};
    writer.write(arrays_of(axes, references));
    writer.write(arrays_of(mean_knockout_names(), axes, window));
  }

  static std::vector<std::string> part_items(bool heads) {
    std::vector<std::string> items = {"subject->last"};
    for (int k = 1; k <= 6; ++k)
      items.push_back(heads ? fmt::format("subject->last/head {}", k - 1)
                            : fmt::format("subject->last/quantile {}/6", k));
    for (int k = 1; k <= 6; ++k)
      items.push_back(fmt::format("subject->last/random {}/6 seed 1", k));
    return items;
  }

  // Some prompts fail.
  void write_parts(ResultsWriter& writer, const SyntheticModel& model,
                   const EvaluationResult& clean) {
    CellAxes axes;
    axes.items = part_items(!is_state_space(model.family));
    const auto count = static_cast<std::size_t>(std::min(options_.parts, options_.prompts));
    axes.prompts.assign(prompts_.id.begin(),
                        prompts_.id.begin() + static_cast<std::ptrdiff_t>(count));
    const auto failed = [&](std::size_t i) {
      return std::isnan(clean.probability[i]) || i % 11 == 3;
    };
    CellWindow window{4, "fit", {}, {}, {}};
    for (int start = 0; start + 4 <= model.layers; ++start) window.starts.push_back(start);
    for (std::size_t item = 0; item < axes.items.size(); ++item)
      for (std::size_t i = 0; i < count; ++i) {
        axes.blocked.push_back(failed(i) ? kFailedPrompt : 2);
        const double share = item == 0 ? 1 : item < 7 ? 0.5 / static_cast<double>(item) : 0.2;
        for (const int start : window.starts) {
          const double log_change =
              -(1 + 0.5 * uniform()) * share * bump(1.0 * start / model.layers, 0.5, 0.15);
          const double p = static_cast<double>(clean.probability[i]) * std::exp(log_change);
          window.probability.push_back(failed(i) ? kNan : static_cast<float>(p));
          window.log_change.push_back(failed(i) ? kNan : static_cast<float>(log_change));
          window.rank.push_back(failed(i) ? 0 : 1);
          window.tied.push_back(0);
        }
      }
    writer.write(arrays_of(part_names(), axes));
    writer.write(arrays_of(part_names(), axes, window));
    CumulatedParts parts{"subject->last",
                         is_state_space(model.family) ? "each quantile of 6" : "each head",
                         4,
                         2,
                         9,
                         {kGreedyOrder, kRandomOrder},
                         {1, 2, 3, 4, 5, 6},
                         axes.prompts,
                         {},
                         {}};
    for (const std::size_t order : {0, 1})
      for (std::size_t step = 0; step < 6; ++step) {
        parts.part.push_back(axes.items[1 + (order == 0 ? step : 5 - step)]);
        const double share = order == 0 || step == 5
                                 ? 1 - 0.5 / std::exp2(static_cast<double>(step))
                                 : 0.15 * static_cast<double>(step + 1);
        for (std::size_t i = 0; i < count; ++i)
          parts.log_change.push_back(
              failed(i) ? kNan : static_cast<float>(-share * (1 + 0.5 * uniform())));
      }
    writer.write(arrays_of(parts, 0));
  }

  void write_attributions(ResultsWriter& writer, const SyntheticModel& model,
                          const EvaluationResult& clean) {
    const TracedFacts facts = make_facts(model, clean, options_.attributed, "attribution");
    const AttributedEffects effects =
        synthetic_effects(facts, estimated_sites(model), model.layers, traced_share, random_());
    for (const ArrayGroup& group : arrays_of(facts, effects)) writer.write(group);
  }

  void write_traces(ResultsWriter& writer, const SyntheticModel& model,
                    const EvaluationResult& clean) {
    const TracedFacts facts = make_facts(model, clean, options_.traced, "trace");
    const std::size_t count = facts.prompts.size();
    writer.write(arrays_of(facts));
    for (const TraceDirection direction : {TraceDirection::kRestore, TraceDirection::kBreak}) {
      if (direction == TraceDirection::kBreak && !options_.trace_broken) continue;
      for (const std::string& site : traced_sites(model)) {
        std::vector<HeatmapResult> maps;
        const std::vector<int> sizes = site == "h" ? std::vector<int>{1} : options_.trace_windows;
        for (const int size : sizes)
          for (std::size_t i = 0; i < count; ++i)
            if (!std::isnan(facts.high[i]))
              maps.push_back(trace_map(model, facts, i, direction, site, size));
        for (const ArrayGroup& group : arrays_of(maps, trace_map_names(direction, site)))
          writer.write(group);
      }
    }
  }

  // Few, since every cell of them is bootstrapped twice.
  static std::vector<std::string> estimated_sites(const SyntheticModel& model) {
    if (is_state_space(model.family)) return {"h", "o"};
    return {"h", "o", "mlp"};
  }

  static std::vector<std::string> traced_sites(const SyntheticModel& model) {
    if (is_state_space(model.family)) return {"h", "a", "s", "g", "y", "o"};
    return {"h", "o", "mlp"};
  }

  // The share of high - low that a patch restores: early at the subject's last token, late at the
  // prompt's last one.
  static double traced_share(const std::string& site, double depth, int token, int subject_end,
                             int tokens) {
    const double late = 1 / (1 + std::exp(-24 * (depth - 0.7)));
    if (site == "h") {
      if (token + 1 == tokens) return late;
      if (token + 1 == subject_end) return 0.6 * (1 - late) * std::min(1.0, 0.2 + 3 * depth);
      return token < subject_end - 1 ? 0.15 * bump(depth, 0, 0.25) : 0.1 * bump(depth, 0.6, 0.1);
    }
    const double early = bump(depth, 0.28, 0.12), last = bump(depth, 0.74, 0.07);
    const double of_subject = site == "o" ? 0.5 : site == "mlp" ? 0.55 : site == "s" ? 0.05 : 0.12;
    const double of_last = site == "g" || site == "mlp" ? 0.04 : 0.55;
    return token + 1 == tokens        ? of_last * last
           : token + 1 == subject_end ? of_subject * early
                                      : 0.03 * early - 0.02 * last;
  }

  HeatmapResult trace_map(const SyntheticModel& model, const TracedFacts& facts, std::size_t prompt,
                          TraceDirection direction, const std::string& site, int window) {
    HeatmapResult map;
    map.window = window;
    map.placement = "centred";
    map.prompt = facts.prompts[prompt];
    map.tokens = split_words(prompts_.text[prompt]);
    const int centres = site == "h" ? model.layers + 1 : model.layers;
    for (int centre = 0; centre < centres; ++centre) map.starts.push_back(centre);
    const double high = facts.high[prompt], low = facts.low[prompt];
    const double taste = 0.6 + 0.8 * uniform();
    const int tokens = static_cast<int>(map.tokens.size());
    for (int token = 0; token < tokens; ++token)
      for (const int centre : map.starts) {
        double share = 0;
        if (token >= facts.subject_begin[prompt])
          share = taste * traced_share(site, 1.0 * centre / model.layers, token,
                                       facts.subject_end[prompt], tokens);
        if (site == "h" && centre == model.layers) share = token + 1 == tokens ? 1 : 0;
        share = std::clamp(share, -0.2, 1.0);
        const double p = direction == TraceDirection::kRestore ? low + share * (high - low)
                                                               : high - share * (high - low);
        map.probability.push_back(static_cast<float>(std::clamp(p, 0.0, 1.0)));
      }
    return map;
  }

  static std::vector<std::string> edited_matrices(const SyntheticModel& model) {
    if (is_state_space(model.family)) return {"W_a", "W_g", "W_o"};
    return {"W_down"};
  }

  // What the edits of a model are about: axes and what is asked.
  EditResults asked_edits(const SyntheticModel& model) const {
    EditResults results = synthetic_edit_results();
    for (const std::string& matrix : edited_matrices(model))
      for (const int layer : options_.edit_layers) {
        if (layer >= model.layers) continue;
        results.edits.push_back(fmt::format("{} {}", matrix, layer));
        results.matrices.push_back(matrix);
        results.layers.push_back(layer);
      }
    results.question_kinds = {EditQuestion::kRewrite};
    results.question_kinds.insert(results.question_kinds.end(), 2, EditQuestion::kParaphrase);
    results.question_kinds.insert(results.question_kinds.end(), 4, EditQuestion::kNeighbour);
    results.other_kinds = {OtherFact::kSameRelation, OtherFact::kSameRelation,
                           OtherFact::kSameSubject, OtherFact::kUnrelated, OtherFact::kUnrelated};
    results.contexts = {"", "Yesterday. "};
    results.context_tokens = {"", "7 8"};
    results.sets = options_.edit_sets ? std::vector<std::string>{"all", "thirds"}
                                      : std::vector<std::string>{"selected"};
    const auto count = static_cast<std::size_t>(std::min(options_.edited, options_.prompts));
    for (std::size_t i = 0; i < count; ++i) {
      const std::string& subject = prompts_.subject[i];
      results.prompts.push_back(prompts_.id[i]);
      results.subjects.push_back(subject);
      results.true_answers.push_back(prompts_.answer[i]);
      results.new_answers.push_back(prompts_.answer[(i + 1) % count]);
      results.essences.push_back(subject + " is a");
      results.subject_last.push_back(3);
      results.tokens.emplace_back("1 2 3 4 5");
      results.new_tokens.emplace_back("6");
      results.true_tokens.emplace_back("7");
      for (std::size_t question = 0; question < results.question_kinds.size(); ++question)
        // Every fifth prompt has one paraphrase less, every seventh no neighbour.
        results.question_texts.push_back(
            (i % 5 == 3 && question == 2) || (i % 7 == 5 && question > 2) ? ""
            : question == 0                                               ? prompts_.text[i]
            : question < 3 ? fmt::format("Put in other words, {}", prompts_.text[i])
                           : prompts_.text[(i + 6 * question) % count]);
      for (std::size_t other = 0; other < results.other_kinds.size(); ++other)
        results.other_prompts.push_back(
            other == 2 && i % 2 == 1 ? -1 : prompts_.id[(i + 5 * (other + 1)) % count]);
    }
    for (std::size_t set = 0; set < results.sets.size(); ++set) {
      for (std::size_t i = 0; i < count; ++i)
        results.members.push_back(set == 0 || i % 3 == 0 ? 1 : 0);
      for (std::size_t edit = 0; edit < results.edits.size(); ++edit)
        results.asked.push_back(set == 0 || results.layers[edit] == results.layers[0] ? 1 : 0);
    }
    return results;
  }

  // Both answers of every question of a prompt, `shift` nats in favour of the new one after a
  // rewrite prompt, less after the others.
  void add_answers(const EditResults& results, std::size_t prompt, double clean, double shift,
                   EditJudgement& judgement) {
    for (std::size_t question = 0; question < results.question_kinds.size(); ++question) {
      const bool none =
          std::isnan(clean) || std::isnan(shift) ||
          results.question_texts[prompt * results.question_kinds.size() + question].empty();
      const double share = question == 0 ? 1 : question < 3 ? 0.8 : 0.25;
      const double past = -std::log(std::max(clean, 1e-6)) + 0.4 * uniform();
      const double wanted = std::max(0.01, past - 0.3 + 5 * uniform() - share * shift);
      const double kept = std::max(0.01, past + 0.4 * share * shift * uniform());
      // One tie for the tests of ties.
      const bool tie = prompt % 11 == 6 && question == 1;
      judgement.new_nll.push_back(none ? kNan : static_cast<float>(tie ? kept : wanted));
      judgement.true_nll.push_back(none ? kNan : static_cast<float>(kept));
      judgement.new_greedy.push_back(none ? -1 : wanted < 0.7 ? 1 : 0);
      judgement.true_greedy.push_back(none ? -1 : kept < 0.7 ? 1 : 0);
    }
  }

  void add_search(bool failed, double shift, EditResults& results) {
    results.steps.push_back(failed ? -1 : 12 + static_cast<int>(8 * uniform()));
    results.clamped.push_back(failed ? -1 : uniform() < 0.3 ? 1 : 0);
    const auto number = [&](std::vector<float>& to, double value) {
      to.push_back(failed ? kNan : static_cast<float>(value));
    };
    number(results.loss, 0.04 + 0.2 * uniform());
    number(results.nll, 0.03 + 0.1 * uniform());
    number(results.kl, 0.01 * uniform());
    number(results.mean_prob, 0.9 + 0.1 * uniform());
    number(results.delta_norm, 3 * shift * uniform());
    number(results.value_norm, 5 + uniform());
    number(results.key_product, 1 + 3 * uniform());
    number(results.update_norm, 0.2 * shift * uniform());
  }

  void write_edits(ResultsWriter& writer, const SyntheticModel& model,
                   const EvaluationResult& clean) {
    EditResults results = asked_edits(model);
    const std::size_t count = results.prompts.size();
    for (std::size_t i = 0; i < count; ++i) {
      add_answers(results, i, clean.probability[i], 0, results.before);
      for (std::size_t other = 0; other < results.other_kinds.size(); ++other)
        results.other_log_before.push_back(
            results.other_prompts[i * results.other_kinds.size() + other] < 0
                ? kNan
                : static_cast<float>(std::log(0.1 + 0.8 * uniform())));
    }
    for (std::size_t edit = 0; edit < results.edits.size(); ++edit) {
      const double depth = 1.0 * results.layers[edit] / model.layers;
      const double strength = results.matrices[edit] == "W_o" ? 5.5 : 4.5;
      for (std::size_t i = 0; i < count; ++i) {
        const bool failed = std::isnan(clean.probability[i]) || i % 13 == 7;
        const double shift =
            failed ? std::nan("") : strength * (1.05 - depth * depth) + 2 * uniform() - 1;
        add_answers(results, i, clean.probability[i], shift, results.after);
        add_search(failed, shift, results);
        if (failed && edit == 0 && !std::isnan(clean.probability[i]))
          failures.push_back({model.name, "edit", std::to_string(prompts_.id[i]),
                              "the search for the value came to no finite number"});
        for (std::size_t other = 0; other < results.other_kinds.size(); ++other) {
          const bool none =
              failed || results.other_prompts[i * results.other_kinds.size() + other] < 0;
          const double near = other < 2 ? 0.6 : other == 2 ? 1.2 : 0.05;
          results.other_log_change.push_back(none ? kNan
                                                  : static_cast<float>(-near * uniform() + 0.02));
          results.other_top_changed.push_back(none ? -1 : uniform() < 0.3 * near ? 1 : 0);
          results.other_kl.push_back(none ? kNan : static_cast<float>(0.1 * near * uniform()));
        }
      }
    }
    complete_as_romes(results);
    writer.write(arrays_of(results));
  }

  void write_rows(ResultsWriter& writer, const SyntheticModel& model, const EvaluationResult& clean,
                  bool last) {
    const CellNames& names = intervention_names();
    CellAxes axes = make_axes(options_.rows, clean, last);
    for (std::size_t row = 0; row < axes.items.size(); ++row)
      for (std::size_t i = 0; i < axes.prompts.size(); ++i) {
        const bool context = axes.items[row].find("context") != std::string::npos;
        const bool none = context && clean.subject_begin[selected_[i]] == 0;
        const bool missing = !options_.complete && last && i >= axes.prompts.size() / 2;
        axes.blocked[row * axes.prompts.size() + i] =
            missing ? kNotKnown
            : none  ? 0
                    : static_cast<std::int64_t>(1 + (row + i) % 4);
      }
    writer.write(arrays_of(names, axes));
    draw_tastes(axes.items.size());
    for (const int window : options_.windows)
      if (window <= model.layers)
        writer.write(arrays_of(names, axes, intervene(model, clean, axes, window)));
  }

  CellWindow intervene(const SyntheticModel& model, const EvaluationResult& clean,
                       const CellAxes& axes, int window) {
    CellWindow result{window, options_.placement, {}, {}, {}};
    result.asked = asked_for(axes, window);
    const int starts = options_.placement == "fit" ? model.layers - window + 1 : model.layers;
    for (int start = 0; start < starts; ++start) result.starts.push_back(start);
    for (std::size_t row = 0; row < axes.items.size(); ++row)
      for (std::size_t i = 0; i < axes.prompts.size(); ++i) {
        const float clean_p = clean.probability[selected_[i]];
        const std::size_t place = row * axes.prompts.size() + i;
        const bool none = axes.blocked[place] <= 0 || std::isnan(clean_p);
        for (int start = 0; start < starts; ++start) {
          const double number = static_cast<double>(row), depth = 1.0 * start / model.layers;
          const double change = (row % 4 == 3 ? 0.1 : -0.3 - 0.25 * number) *
                                    bump(depth, 0.1 + 0.7 * std::fmod(0.37 * number, 1), 0.12) *
                                    (0.4 + 0.6 * std::min(1.0, window / 9.0)) * tastes_[place] +
                                0.02 * normal();
          const double p = std::min(0.999, clean_p * std::exp(change));
          result.probability.push_back(none ? kNan : static_cast<float>(p));
          result.log_change.push_back(none ? kNan : static_cast<float>(std::log(p / clean_p)));
          result.rank.push_back(none ? 0 : change < -0.5 ? 3 : 1);
        }
      }
    return result;
  }

  std::vector<HeatmapResult> heat_maps(const SyntheticModel& model, const EvaluationResult& clean) {
    std::vector<HeatmapResult> maps;
    for (const int window : options_.heatmap_windows)
      for (int i = 0; i < std::min(options_.heatmap_prompts, options_.prompts); ++i)
        if (std::isfinite(clean.probability[static_cast<std::size_t>(i)]))
          maps.push_back(
              heat_map(model, clean, static_cast<std::size_t>(i), std::min(window, model.layers)));
    return maps;
  }

  double normal() { return normal_(random_); }
  double uniform() { return static_cast<double>(random_() >> 11) * 0x1.0p-53; }

  std::vector<std::string> edges_of(const SyntheticModel& model) const {
    std::vector<std::string> edges;
    for (const std::string& edge : options_.edges)
      if ((is_state_space(model.family) || parse(edge).channels == "all") &&
          (parse(edge).path == "both" || is_hybrid(model)))
        edges.push_back(edge);
    return edges;
  }

  EvaluationResult evaluate(const SyntheticModel& model) {
    EvaluationResult result;
    result.prompt = prompts_.id;
    result.top = 5;
    for (std::size_t i = 0; i < prompts_.id.size(); ++i) {
      const bool failed = uniform() < options_.failed_share;
      if (failed)
        failures.push_back(
            {model.name, "evaluate", std::to_string(prompts_.id[i]), "the subject has no token"});
      const int before = prompts_.text[i].starts_with("Everyone") ? 3 : 0;
      result.probability.push_back(failed ? kNan : static_cast<float>(0.15 + 0.8 * uniform()));
      const bool wrong = options_.own_prompts && uniform() < 0.2;
      result.rank.push_back(failed ? 0 : wrong ? 2 : 1);
      result.tied.push_back(!failed && wrong && i % 2 == 0 ? 1 : 0);
      result.answer_token.push_back(static_cast<std::int32_t>(1000 + i));
      result.answer_text.push_back(prompts_.answer[i]);
      result.changes.push_back(0);
      result.token_count.push_back(count_words(prompts_.text[i]));
      result.subject_begin.push_back(before);
      result.subject_end.push_back(before + count_words(prompts_.subject[i]));
      for (int place = 0; place < 5; ++place) {
        result.top_token.push_back(static_cast<std::int32_t>(1000 + i) + place);
        result.top_probability.push_back(
            failed ? kNan : result.probability.back() / static_cast<float>(1 + place));
        result.top_text.push_back(place == 0 ? prompts_.answer[i] : " the");
      }
    }
    return result;
  }

  CellAxes make_axes(const std::vector<std::string>& edges, const EvaluationResult& clean,
                     bool last) {
    CellAxes axes;
    axes.items = edges;
    selected_.clear();
    for (std::size_t i = 0; i < clean.prompt.size(); ++i)
      if (!options_.own_prompts || clean.rank[i] == 1) selected_.push_back(i);
    for (const std::size_t i : selected_) axes.prompts.push_back(clean.prompt[i]);
    if (options_.named_sets) {
      if (!last) {
        axes.sets.push_back("half");
        for (const std::size_t i : selected_) axes.members.push_back(i % 2 == 0 ? 1 : 0);
      }
      axes.sets.push_back("own");
      axes.members.insert(axes.members.end(), selected_.size(), 1);
    }
    for (const std::string& edge : edges)
      for (const std::size_t i : selected_) {
        const bool no_context = clean.subject_begin[i] == 0;
        axes.blocked.push_back(edge.starts_with("context->") && no_context ? 0 : 2);
      }
    return axes;
  }

  // How strongly each prompt answers to each edge: shared by windows and starts, as in real data.
  void draw_tastes(std::size_t edges) {
    tastes_.assign(edges * prompts_.id.size(), 0);
    for (double& taste : tastes_) taste = std::exp(0.4 * normal());
  }

  // [set, edge]: of the set "own", the last window size and the last edge are not asked for.
  std::vector<std::int32_t> asked_for(const CellAxes& axes, int window) const {
    std::vector<std::int32_t> asked;
    for (const std::string& set : axes.sets)
      for (std::size_t edge = 0; edge < axes.items.size(); ++edge) {
        const bool left_out = window == options_.windows.back() || edge + 1 == axes.items.size();
        asked.push_back(set == "own" && left_out ? 0 : 1);
      }
    return asked;
  }

  CellWindow knock_out(const SyntheticModel& model, const EvaluationResult& clean,
                       const CellAxes& axes, int window, bool last) {
    CellWindow result{window, options_.placement, {}, {}, {}};
    result.asked = asked_for(axes, window);
    const int starts = options_.placement == "fit" ? model.layers - window + 1 : model.layers;
    for (int start = 0; start < starts; ++start) result.starts.push_back(start);
    for (std::size_t e = 0; e < axes.items.size(); ++e) {
      const Edge edge = parse(axes.items[e]);
      for (std::size_t i = 0; i < axes.prompts.size(); ++i) {
        const float clean_p = clean.probability[selected_[i]];
        const bool missing = !options_.complete && last && i >= axes.prompts.size() / 2;
        const bool none =
            axes.blocked[e * axes.prompts.size() + i] == 0 || std::isnan(clean_p) || missing;
        for (int start = 0; start < starts; ++start) {
          const double depth =
              (start + (options_.placement == "fit" ? 0.5 * (window - 1) : 0.0)) / model.layers;
          const double change = effect(edge, model, depth, window) *
                                tastes_[e * axes.prompts.size() + i] *
                                share_of_path(edge.path, model, first_layer(start, window), window);
          const double p = std::min(0.999, clean_p * std::exp(change + 0.02 * normal()));
          result.probability.push_back(none ? kNan : static_cast<float>(p));
          const double rank = -3 * change - 1.2 + 0.5 * normal();
          result.rank.push_back(none ? 0 : 1 + static_cast<std::int32_t>(std::max(0.0, rank)));
          count(axes.blocked[e * axes.prompts.size() + i], none, edge, i, window, start, result);
        }
      }
    }
    // Of a run that says nothing of routing, and as older files are.
    if (model.family != "llama") result.rerouted.clear();
    if (model.family == "gpt2") result.blocked_edges.clear();
    return result;
  }

  // The edges of some prompts from their first token on are out of reach in the lowest window.
  static void count(std::int64_t pairs, bool none, const Edge& edge, std::size_t prompt, int window,
                    int start, CellWindow& result) {
    const bool beyond = edge.source == "first" && start == 0 && prompt % 5 == 2;
    const bool unknown = pairs < 0 || (none && pairs > 0);
    result.blocked_edges.push_back(unknown  ? kNotCounted
                                   : beyond ? 0
                                            : static_cast<std::int32_t>(pairs) * window);
    result.rerouted.push_back(
        unknown ? kNotCounted
        : none  ? 0
                : static_cast<std::int32_t>(prompt + static_cast<std::size_t>(start)) % 3);
  }

  int first_layer(int start, int window) const {
    return options_.placement == "fit" ? start : start - window / 2;
  }

  HeatmapResult heat_map(const SyntheticModel& model, const EvaluationResult& clean,
                         std::size_t prompt, int window) {
    HeatmapResult result;
    result.window = window;
    result.prompt = prompts_.id[prompt];
    result.tokens = split_words(prompts_.text[prompt]);
    for (std::string& token : result.tokens) {
      if (token.find("\U0001F914") != std::string::npos) token = "\uFFFD";  // a part of it
      result.token_ids.push_back(static_cast<std::int32_t>(1000 + 7 * result.token_ids.size()));
    }
    for (int start = 0; start + window <= model.layers; ++start) result.starts.push_back(start);
    const int count = static_cast<int>(result.tokens.size());
    for (int token = 0; token < count; ++token) {
      std::string source = token + 1 == count ? "last"
                           : token == 0       ? "first"
                                              : "relation-minus-last";
      if (token >= clean.subject_begin[prompt] && token < clean.subject_end[prompt])
        source = "subject";
      for (const int start : result.starts) {
        const double depth = (start + 0.5 * (window - 1)) / model.layers;
        const double change =
            effect({source, "last", "all"}, model, depth, window) * (0.5 + 0.5 * uniform());
        result.probability.push_back(
            static_cast<float>(std::min(0.999, clean.probability[prompt] * std::exp(change))));
      }
    }
    return result;
  }

  const SyntheticOptions& options_;
  PromptTable prompts_;
  std::mt19937_64 random_;
  std::normal_distribution<double> normal_;
  std::vector<double> tastes_;
  // Rows of the evaluation that the current model is swept over.
  std::vector<std::size_t> selected_;
};

RunInfo make_info(const SyntheticOptions& options) {
  RunInfo info;
  info.name = "synthetic";
  info.created = "2025-07-01T12:00:00Z";
  info.factflow_version = "0.1.0";
  info.config =
      "name: synthetic\ndataset: {path: facts.jsonl}\nsweep: {windows: {sizes: [1, 5, 9]}}\n";
  info.selection = options.selection;
  info.answer = "continuation";
  info.dataset_path = "facts.jsonl";
  info.dataset_digest = "xxh3:0123456789abcdef";
  info.dataset_format = "counterfact";
  info.libtorch = "none";
  info.host = "nowhere";
  info.device = "made up";
  info.precision = options.precision;
  info.answer = options.answer;
  info.elapsed_seconds = 754;
  info.complete = options.complete;
  info.units_planned = 100;
  info.units_done = options.complete ? 100 : 93;
  return info;
}

}  // namespace

void add_interventions(SyntheticOptions& options) {
  options.rows = {"subject->last",
                  "subject->last through convolution",
                  "subject->last through state, slow channels",
                  "s(subject) = zero",
                  "h(subject) + noise 0.1",
                  "context->last",
                  "mixer(last) = mean of all prompts"};
  options.map_rows = {"h(each) = zero", "each->last through convolution"};
}

void add_traces(SyntheticOptions& options) {
  options.traced = 60;
  options.one_word_share = 0.3;
}

EditResults synthetic_edit_results() {
  EditResults results;
  results.settings = {{"method", std::string("rome")},
                      {"covariance", std::string("text")},
                      {"covariance_source", std::string("the dataset's prompts")},
                      {"context_start", std::string("bos")},
                      {"covariance_tokens", std::int64_t{5120}},
                      {"seed", std::int64_t{1}},
                      {"iterations", std::int64_t{20}},
                      {"stop_probability_after", std::int64_t{12}},
                      {"shrinkage", 0.01},
                      {"lr", 0.5},
                      {"weight_decay", 0.5},
                      {"clamp_factor", 3.0},
                      {"kl_factor", 0.0625},
                      {"stop_loss", 0.05},
                      {"stop_probability", 0.9}};
  return results;
}

void add_edits(SyntheticOptions& options) {
  options.edited = 40;
  options.edit_layers = {1, 8, 20, 40};
}

void add_severings(SyntheticOptions& options) {
  options.severed = 60;
}

void add_parts(SyntheticOptions& options) {
  options.parts = 36;
}

void add_attributions(SyntheticOptions& options) {
  options.attributed = 16;
}

void add_relations(SyntheticOptions& options) {
  options.related = 100;
}

void add_mean_knockouts(SyntheticOptions& options) {
  options.mean_knocked = 40;
}

SyntheticOptions synthetic_report() {
  SyntheticOptions options;
  options.models = {{"gpt2-1.5B", "gpt2", 48, 1.56e9},
                    {"llama3.2-3B", "llama", 28, 3.2e9},
                    {"mamba1-2.8B", "mamba", 64, 2.77e9},
                    {"mamba2-2.7B", "mamba2", 64, 2.7e9},
                    {"falcon-mamba-7B", "falcon_mamba", 64, 7.27e9}};
  options.prompts = 120;
  options.windows = {1, 5, 9, 15};
  options.edges = {"subject->last", "relation->last", "last->last",
                   "first->last",   "context->last",  "relation-minus-last->last"};
  for (const char* channels : {"slow", "fast", "not-slow", "not-fast"})
    options.edges.push_back(fmt::format("subject->last/{}", channels));
  return options;
}

SyntheticOptions synthetic_hybrids() {
  SyntheticOptions options = synthetic_report();
  const std::string in_turn = "RRRARRRARRRARRRARRRARRRA";
  options.models = {{"in-turn-attention", "qwen3_5_text", 24, 8e8, in_turn, 0.85, 0.05},
                    {"in-turn-state", "qwen3_5_text", 24, 2e9, in_turn, 0.05, 0.8},
                    {"parallel-either", "falcon_h1", 16, 5e8, std::string(16, 'B'), 0.1, 0.05},
                    {"parallel-needed", "falcon_h1", 24, 1.5e9, std::string(24, 'B'), 0.9, 0.75},
                    {"parallel-parts", "falcon_h1", 12, 1e8, std::string(12, 'B'), 0.25, 0.35},
                    {"transformer", "qwen3", 28, 6e8, std::string(28, 'A')},
                    {"recurrent", "rwkv7", 24, 1.5e9, std::string(24, 'R')}};
  options.edges = {};
  for (const char* source : {"subject", "relation-minus-last", "last", "first"})
    for (const char* path : {"", " (attention)", " (recurrent)"})
      options.edges.push_back(fmt::format("{}->last{}", source, path));
  options.windows = {1, 5};
  options.heatmap_windows = {5};
  return options;
}

SyntheticOptions synthetic_sweep() {
  SyntheticOptions options = synthetic_report();
  options.models = {{"gpt2-355M", "gpt2", 24, 3.55e8},
                    {"gpt2-774M", "gpt2", 36, 7.74e8},
                    {"gpt2-1.5B", "gpt2", 48, 1.56e9},
                    {"llama3.2-1B", "llama", 16, 1.24e9},
                    {"llama3.2-3B", "llama", 28, 3.2e9},
                    {"llama3-8B", "llama", 32, 8.03e9},
                    {"mistral0.1-7B", "mistral", 32, 7.24e9},
                    {"mamba1-130M", "mamba", 24, 1.29e8},
                    {"mamba1-1.4B", "mamba", 48, 1.37e9},
                    {"mamba1-2.8B", "mamba", 64, 2.77e9},
                    {"mamba2-130M", "mamba2", 24, 1.29e8},
                    {"mamba2-1.3B", "mamba2", 48, 1.34e9},
                    {"mamba2-2.7B", "mamba2", 64, 2.7e9},
                    {"falcon-mamba-7B", "falcon_mamba", 64, 7.27e9},
                    {"falcon3-mamba-7B", "falcon_mamba", 64, 7.27e9}};
  options.prompts = 574;
  options.relations = 34;
  options.windows = {1, 3, 5, 9, 12, 15};
  options.edges = {
      "subject->last", "relation->last", "last->last", "first->last", "relation-minus-last->last",
      "all->last"};
  for (const char* flow : {"subject->last", "relation->last", "relation-minus-last->last",
                           "last->last", "first->last", "all->last"})
    for (const char* channels : {"slow", "fast", "not-slow", "not-fast"})
      options.edges.push_back(fmt::format("{}/{}", flow, channels));
  options.heatmap_prompts = 20;
  options.heatmap_windows = {1, 5, 9, 15};
  return options;
}

void write_synthetic_results(const std::filesystem::path& file, const SyntheticOptions& options) {
  Generator generator(options);
  ResultsWriter writer(file, make_info(options), generator.prompts());
  for (std::size_t i = 0; i < options.models.size(); ++i)
    generator.write(writer, options.models[i], i + 1 == options.models.size());
  generator.failures.push_back(
      {"", "dataset", "13190", "line 17: the subject does not occur in the prompt"});
  writer.publish(generator.failures);
}

}  // namespace factflow
