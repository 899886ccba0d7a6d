#include "tests/system/results_difference.hpp"

#include <cstring>
#include <vector>

#include <fmt/format.h>

#include "experiments/answers/answers_arrays.hpp"
#include "experiments/attribution/attribution_arrays.hpp"
#include "experiments/edit/edit_arrays.hpp"
#include "experiments/evaluate/evaluation_arrays.hpp"
#include "experiments/heatmap/heatmap_arrays.hpp"
#include "experiments/intervene/intervention_arrays.hpp"
#include "experiments/lre/lre_arrays.hpp"
#include "experiments/mean_knockout/mean_knockout_arrays.hpp"
#include "experiments/parts/parts_arrays.hpp"
#include "experiments/position/position_arrays.hpp"
#include "experiments/sever/sever_arrays.hpp"
#include "experiments/surge/surge_arrays.hpp"
#include "experiments/sweep/knockout_arrays.hpp"
#include "experiments/trace/trace_arrays.hpp"
#include "results/results_file.hpp"

namespace factflow::testing {
namespace {

// Collects the name of the first thing that is not equal.
class Comparison {
 public:
  template <class T>
  void equal(const std::string& name, const std::vector<T>& a, const std::vector<T>& b) {
    if (a.size() != b.size())
      note(fmt::format("{}: {} against {} values", name, a.size(), b.size()));
    else if constexpr (std::is_arithmetic_v<T>)
      // As bytes: NaN equals NaN, and 0 is not -0.
      equal(name, a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
    else
      equal(name, a == b);
  }
  void equal(const std::string& name, bool same) {
    if (!same) note(name + " differs");
  }
  const std::string& first() const { return first_; }

 private:
  void note(const std::string& text) {
    if (first_.empty()) first_ = text;
  }
  std::string first_;
};

void compare_prompts(Comparison& c, const PromptTable& a, const PromptTable& b) {
  c.equal("/prompts/id", a.id, b.id);
  c.equal("/prompts/text", a.text, b.text);
  c.equal("/prompts/subject", a.subject, b.subject);
  c.equal("/prompts/answer", a.answer, b.answer);
  c.equal("/prompts/relation", a.relation, b.relation);
  c.equal("/prompts/reference_id", a.reference_id, b.reference_id);
}

void compare_failures(Comparison& c, const std::vector<FailureRecord>& a,
                      const std::vector<FailureRecord>& b) {
  c.equal("/failures", a.size() == b.size());
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    c.equal(fmt::format("/failures[{}]", i), a[i].model == b[i].model && a[i].stage == b[i].stage &&
                                                 a[i].prompt == b[i].prompt &&
                                                 a[i].reason == b[i].reason);
}

void compare_facts(Comparison& c, const ModelInfo& a, const ModelInfo& b) {
  c.equal("/" + a.name,
          a.name == b.name && a.family == b.family && a.layers == b.layers &&
              a.hidden_size == b.hidden_size && a.vocabulary == b.vocabulary &&
              a.parameters == b.parameters && a.checkpoint_digest == b.checkpoint_digest &&
              a.tokenizer_digest == b.tokenizer_digest && a.layer_blocks == b.layer_blocks);
}

void compare_evaluations(Comparison& c, const std::string& group, const EvaluationResult& a,
                         const EvaluationResult& b) {
  c.equal(group + "prompt", a.prompt, b.prompt);
  c.equal(group + "probability", a.probability, b.probability);
  c.equal(group + "rank", a.rank, b.rank);
  c.equal(group + "tied", a.tied, b.tied);
  c.equal(group + "answer_token", a.answer_token, b.answer_token);
  c.equal(group + "answer_text", a.answer_text, b.answer_text);
  c.equal(group + "changes", a.changes, b.changes);
  c.equal(group + "token_count", a.token_count, b.token_count);
  c.equal(group + "subject_begin", a.subject_begin, b.subject_begin);
  c.equal(group + "subject_end", a.subject_end, b.subject_end);
  c.equal(group + "top_token", a.top_token, b.top_token);
  c.equal(group + "top_probability", a.top_probability, b.top_probability);
  c.equal(group + "top_text", a.top_text, b.top_text);
}

void compare_cells(Comparison& c, const CellNames& names, const std::string& model,
                   const ResultsReader& a, const ResultsReader& b) {
  const std::string group = "/" + model + "/" + names.group + "/";
  c.equal(group + "windows", cell_windows(names, a, model), cell_windows(names, b, model));
  if (!c.first().empty() || cell_windows(names, a, model).empty()) return;
  const CellAxes ours = cell_axes(names, a, model, kAllPrompts),
                 theirs = cell_axes(names, b, model, kAllPrompts);
  c.equal(group + names.item, ours.items, theirs.items);
  c.equal(group + "prompt", ours.prompts, theirs.prompts);
  c.equal(group + "blocked", ours.blocked, theirs.blocked);
  c.equal(group + "members", ours.members, theirs.members);
  for (const std::int64_t size : cell_windows(names, a, model)) {
    const CellWindow x = cell_window(names, a, model, size, kAllPrompts),
                     y = cell_window(names, b, model, size, kAllPrompts);
    const std::string window = fmt::format("{}window_{}/", group, size);
    c.equal(window + "placement", x.placement == y.placement);
    c.equal(window + "start", x.starts, y.starts);
    c.equal(window + "probability", x.probability, y.probability);
    c.equal(window + "rank", x.rank, y.rank);
    c.equal(window + "tied", x.tied, y.tied);
    c.equal(window + "asked", x.asked, y.asked);
    c.equal(window + "log_change", x.log_change, y.log_change);
    c.equal(window + "blocked_edges", x.blocked_edges, y.blocked_edges);
    c.equal(window + "rerouted", x.rerouted, y.rerouted);
  }
}

void compare_maps(Comparison& c, const std::string& maps, const std::string& model,
                  const ResultsReader& a, const ResultsReader& b) {
  c.equal("/" + model + "/" + maps + " windows", heatmap_windows(a, model, maps),
          heatmap_windows(b, model, maps));
  if (!c.first().empty()) return;
  for (const std::int64_t size : heatmap_windows(a, model, maps)) {
    const std::string window = fmt::format("/{}/{}/window_{}", model, maps, size);
    c.equal(window, heatmap_prompts(a, model, size, maps), heatmap_prompts(b, model, size, maps));
    if (!c.first().empty()) return;
    for (const std::int64_t prompt : heatmap_prompts(a, model, size, maps)) {
      const HeatmapResult x = read_heatmap(a, model, size, prompt, maps),
                          y = read_heatmap(b, model, size, prompt, maps);
      const std::string name = fmt::format("{}/{}", window, prompt);
      c.equal(name + " tokens", x.tokens, y.tokens);
      c.equal(name + " starts", x.starts, y.starts);
      c.equal(name, x.probability, y.probability);
      c.equal(name + " rank", x.rank, y.rank);
      c.equal(name + " log change", x.log_change, y.log_change);
    }
  }
}

std::vector<std::string> map_groups(const ResultsReader& reader, const std::string& model) {
  std::vector<std::string> groups;
  for (const InterventionMap& map : intervention_maps(reader, model)) groups.push_back(map.group);
  for (const TraceMaps& map : trace_maps(reader, model)) groups.push_back(map.group);
  return groups;
}

void compare_facts(Comparison& c, const std::string& group, const TracedFacts& ours,
                   const TracedFacts& theirs) {
  c.equal(group + "prompt", ours.prompts, theirs.prompts);
  c.equal(group + "corruption", ours.corruption == theirs.corruption);
  c.equal(group + "deviation", ours.noise_deviation == theirs.noise_deviation);
  c.equal(group + "counterfactual", ours.counterfactual, theirs.counterfactual);
  c.equal(group + "high", ours.high, theirs.high);
  c.equal(group + "low", ours.low, theirs.low);
  c.equal(group + "subject_begin", ours.subject_begin, theirs.subject_begin);
  c.equal(group + "subject_end", ours.subject_end, theirs.subject_end);
  c.equal(group + "token_count", ours.token_count, theirs.token_count);
}

void compare_edits(Comparison& c, const std::string& model, const ResultsReader& a,
                   const ResultsReader& b) {
  const EditResults ours = read_edits(a, model), theirs = read_edits(b, model);
  const std::string group = "/" + model + "/edit/";
  c.equal(group + "settings", ours.settings == theirs.settings);
  c.equal(group + "edit", ours.edits, theirs.edits);
  c.equal(group + "prompt", ours.prompts, theirs.prompts);
  c.equal(group + "group", ours.groups, theirs.groups);
  c.equal(group + "outcome", ours.outcomes, theirs.outcomes);
  c.equal(group + "question_text", ours.question_texts, theirs.question_texts);
  c.equal(group + "context_tokens", ours.context_tokens, theirs.context_tokens);
  c.equal(group + "new_nll_before", ours.before.new_nll, theirs.before.new_nll);
  c.equal(group + "new_nll", ours.after.new_nll, theirs.after.new_nll);
  c.equal(group + "true_nll", ours.after.true_nll, theirs.after.true_nll);
  c.equal(group + "new_greedy", ours.after.new_greedy, theirs.after.new_greedy);
  c.equal(group + "steps", ours.steps, theirs.steps);
  c.equal(group + "loss", ours.loss, theirs.loss);
  c.equal(group + "update_norm", ours.update_norm, theirs.update_norm);
  c.equal(group + "other_prompt", ours.other_prompts, theirs.other_prompts);
  c.equal(group + "other_log_change", ours.other_log_change, theirs.other_log_change);
  c.equal(group + "other_kl", ours.other_kl, theirs.other_kl);
  c.equal(group + "members", ours.members, theirs.members);
  c.equal(group + "asked", ours.asked, theirs.asked);
  c.equal("/" + model + "/edit_factors", edits_with_factors(a, model),
          edits_with_factors(b, model));
  if (!c.first().empty()) return;
  for (const std::int64_t edit : edits_with_factors(a, model)) {
    const EditFactors x = read_edit_factors(a, model, edit), y = read_edit_factors(b, model, edit);
    c.equal(fmt::format("/{}/edit_factors_{}/u", model, edit), x.u, y.u);
    c.equal(fmt::format("/{}/edit_factors_{}/r", model, edit), x.r, y.r);
  }
}

void compare_relations(Comparison& c, const std::string& model, const ResultsReader& a,
                       const ResultsReader& b) {
  c.equal("/" + model + "/lre", has_relations(a, model) == has_relations(b, model));
  if (!has_relations(a, model) || !has_relations(b, model)) return;
  const RelationResults ours = read_relations(a, model), theirs = read_relations(b, model);
  const std::string group = "/" + model + "/lre/";
  c.equal(group + "relation", ours.relations, theirs.relations);
  c.equal(group + "training", ours.training, theirs.training);
  c.equal(group + "prompt", ours.prompts, theirs.prompts);
  c.equal(group + "role", ours.role, theirs.role);
  c.equal(group + "answer_probability", ours.answer_probability, theirs.answer_probability);
  c.equal(group + "target", ours.target, theirs.target);
  c.equal(group + "predicted", ours.predicted, theirs.predicted);
  c.equal(group + "predicted_rank", ours.predicted_rank, theirs.predicted_rank);
  c.equal(group + "edited_rank", ours.edited_rank, theirs.edited_rank);
  c.equal(group + "edited_probability", ours.edited_probability, theirs.edited_probability);
}

void compare_paths(Comparison& c, const std::string& group, const SeveredPaths& ours,
                   const SeveredPaths& theirs) {
  c.equal(group + "at", ours.at, theirs.at);
  c.equal(group + "severed", ours.severed, theirs.severed);
  c.equal(group + "layer", ours.layers, theirs.layers);
  c.equal(group + "probability", ours.probability, theirs.probability);
  c.equal(group + "rank", ours.rank, theirs.rank);
  c.equal(group + "log_change", ours.log_change, theirs.log_change);
}

void compare_severed(Comparison& c, const std::string& model, const ResultsReader& a,
                     const ResultsReader& b) {
  const std::string group = "/" + model + "/sever/";
  c.equal(group, has_severed_paths(a, model) == has_severed_paths(b, model));
  if (!has_severed_paths(a, model) || !has_severed_paths(b, model)) return;
  compare_facts(c, group, read_severed_facts(a, model), read_severed_facts(b, model));
  compare_paths(c, group + "paths/", read_severed_paths(a, model), read_severed_paths(b, model));
}

void compare_cumulated(Comparison& c, const std::string& model, const ResultsReader& a,
                       const ResultsReader& b) {
  if (!has_parts(a, model) || !has_parts(b, model)) return;  // what the cells say
  const std::vector<CumulatedParts> ours = read_cumulated_parts(a, model),
                                    theirs = read_cumulated_parts(b, model);
  c.equal("/" + model + "/parts", ours.size() == theirs.size());
  for (size_t i = 0; i < std::min(ours.size(), theirs.size()); ++i) {
    const std::string group = fmt::format("/{}/parts/cumulated_{}/", model, i);
    c.equal(group + "start", ours[i].start == theirs[i].start);
    c.equal(group + "ordered_by", ours[i].ordered_by == theirs[i].ordered_by);
    c.equal(group + "part", ours[i].part, theirs[i].part);
    c.equal(group + "log_change", ours[i].log_change, theirs[i].log_change);
  }
}

void compare_surges(Comparison& c, const std::string& model, const ResultsReader& a,
                    const ResultsReader& b) {
  c.equal("/" + model + "/surge", has_surge(a, model) == has_surge(b, model));
  if (!has_surge(a, model) || !has_surge(b, model)) return;
  c.equal("/" + model + "/surge", surge_windows(a, model), surge_windows(b, model));
  for (const std::int64_t window : surge_windows(a, model)) {
    const SurgeResult ours = read_surge(a, model, window), theirs = read_surge(b, model, window);
    const std::string group = "/" + model + "/surge/layers_" + std::to_string(window) + "/";
    c.equal(group + "status", ours.status, theirs.status);
    for (std::size_t i = 0; i < ours.found.size() && i < theirs.found.size(); ++i) {
      c.equal(group + "part", ours.found[i].parts, theirs.found[i].parts);
      c.equal(group + "lens_answer", ours.found[i].lens_answer, theirs.found[i].lens_answer);
      c.equal(group + "loser_token", ours.found[i].loser, theirs.found[i].loser);
      c.equal(group + "weight", ours.found[i].weight, theirs.found[i].weight);
    }
  }
}

void compare_attributions(Comparison& c, const std::string& model, const ResultsReader& a,
                          const ResultsReader& b) {
  const std::string group = "/" + model + "/attribution/";
  c.equal(group, has_attributions(a, model) == has_attributions(b, model));
  if (!has_attributions(a, model) || !has_attributions(b, model)) return;
  compare_facts(c, group, read_attributed_facts(a, model), read_attributed_facts(b, model));
  const AttributedEffects ours = read_attributed_effects(a, model),
                          theirs = read_attributed_effects(b, model);
  c.equal(group + "effects/site", ours.sites, theirs.sites);
  c.equal(group + "effects/token", ours.tokens == theirs.tokens);
  c.equal(group + "effects/steps", ours.steps == theirs.steps);
  c.equal(group + "effects/exact", ours.exact, theirs.exact);
  c.equal(group + "effects/gradient", ours.gradient, theirs.gradient);
  c.equal(group + "effects/integrated", ours.integrated, theirs.integrated);
}

void compare_model(Comparison& c, const std::string& model, const ResultsReader& a,
                   const ResultsReader& b) {
  c.equal("/" + model + "/evaluation", has_evaluation(a, model) == has_evaluation(b, model));
  c.equal("/" + model + "/maps", map_groups(a, model), map_groups(b, model));
  if (!c.first().empty()) return;  // what follows reads groups of one from the other
  if (has_evaluation(a, model))
    compare_evaluations(c, "/" + model + "/evaluation/", read_evaluation(a, model),
                        read_evaluation(b, model));
  for (const CellNames& names : {knockout_names(), intervention_names(), mean_knockout_names(),
                                 part_names(), position_names(), answers_names()})
    compare_cells(c, names, model, a, b);
  compare_cumulated(c, model, a, b);
  c.equal("/" + model + "/trace", has_traces(a, model) == has_traces(b, model));
  if (has_traces(a, model) && has_traces(b, model))
    compare_facts(c, "/" + model + "/trace/", read_traced_facts(a, model),
                  read_traced_facts(b, model));
  compare_severed(c, model, a, b);
  compare_surges(c, model, a, b);
  compare_attributions(c, model, a, b);
  c.equal("/" + model + "/edit", has_edits(a, model) == has_edits(b, model));
  if (has_edits(a, model) && has_edits(b, model)) compare_edits(c, model, a, b);
  compare_relations(c, model, a, b);
  compare_maps(c, "heatmap", model, a, b);
  for (const std::string& maps : map_groups(a, model)) compare_maps(c, maps, model, a, b);
}

}  // namespace

std::string results_difference(const std::filesystem::path& ours,
                               const std::filesystem::path& theirs) {
  const ResultsReader a(ours), b(theirs);
  Comparison c;
  c.equal("completeness", a.info().complete == b.info().complete);
  compare_prompts(c, a.prompts(), b.prompts());
  compare_failures(c, a.failures(), b.failures());
  c.equal("the number of models", a.models().size() == b.models().size());
  for (size_t m = 0; m < a.models().size() && c.first().empty(); ++m) {
    compare_facts(c, a.models()[m], b.models()[m]);
    if (c.first().empty()) compare_model(c, a.models()[m].name, a, b);
  }
  return c.first();
}

}  // namespace factflow::testing
