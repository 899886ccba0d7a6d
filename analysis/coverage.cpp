#include "analysis/coverage.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/text.hpp"

namespace factflow {
namespace {

std::string share(std::size_t part, std::size_t whole) {
  return fmt::format(
      "{:.1f} %", whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

// ", 2 failed, 76 not computed yet", or less
std::string shortfall(std::size_t failed, std::size_t missing) {
  return (failed > 0 ? fmt::format(", {} failed", failed) : "") +
         (missing > 0 ? fmt::format(", {} not computed yet", missing) : "");
}

// The models with each of their sets.
std::vector<const ModelData*> all_sets(const RunData& run) {
  std::vector<const ModelData*> models;
  for (const std::vector<ModelData>* list : {&run.models, &run.other_sets, &run.interventions})
    for (const ModelData& model : *list) models.push_back(&model);
  return models;
}

bool complete(const ModelData& model) {
  return model.reader == nullptr || model.reader->info().complete;
}

// Models of the configurations of which the results hold nothing.
std::vector<std::string> absent_models(const RunData& run) {
  std::vector<std::string> absent;
  for (const RunSource& source : run.sources)
    for (const std::string& name : source.info.models)
      if (std::none_of(run.models.begin(), run.models.end(), [&](const ModelData& model) {
            return model.stored_name == name && model.reader->digest() == source.digest;
          }))
        absent.push_back(name);
  return absent;
}

bool intervened(const ModelData& model) {
  return model.kind == &intervention_names();
}

std::string name_of_set(const ModelData& model) {
  return model.prompt_set == kUnnamedSet
             ? model.info.name
             : fmt::format("{}, prompts {}", model.info.name, model.prompt_set);
}

}  // namespace

Coverage coverage_of(const CellAxes& axes) {
  Coverage coverage;
  coverage.asked = axes.prompts.size();
  for (std::size_t prompt = 0; prompt < axes.prompts.size(); ++prompt) {
    std::size_t failed = 0, missing = 0, absent = 0, asked = 0;
    for (std::size_t edge = 0; edge < axes.items.size(); ++edge) {
      const std::int64_t blocked = axes.blocked[edge * axes.prompts.size() + prompt];
      asked += blocked == kNotAsked ? 0 : 1;
      failed += blocked == kFailedPrompt ? 1 : 0;
      missing += blocked == kNotKnown ? 1 : 0;
      absent += blocked == 0 ? 1 : 0;
    }
    if (asked == 0 && !axes.items.empty()) {  // only another set of prompts has it asked
      --coverage.asked;
    } else if (missing > 0) {
      ++coverage.missing;
    } else if (failed > 0) {
      ++coverage.failed;
    } else {
      ++coverage.computed;
      coverage.pairs += asked;
      coverage.absent += absent;
    }
  }
  return coverage;
}

CleanCoverage clean_coverage_of(const ModelData& model, const RunData& run) {
  CleanCoverage coverage;
  const std::vector<std::int32_t>& ranks = model.evaluation.rank;
  coverage.asked = ranks.size();
  const auto without = static_cast<std::size_t>(std::count(ranks.begin(), ranks.end(), 0));
  coverage.right = static_cast<std::size_t>(std::count(ranks.begin(), ranks.end(), 1));
  coverage.computed = coverage.asked - without;
  const auto failed = static_cast<std::size_t>(
      std::count_if(run.failures.begin(), run.failures.end(), [&](const FailureRecord& failure) {
        return failure.model == model.info.name && failure.stage == "evaluate" &&
               !failure.prompt.empty();
      }));
  // A complete run has left nothing for later: what has no rank has failed with its unit.
  coverage.failed = complete(model) ? without : std::min(failed, without);
  coverage.missing = without - coverage.failed;
  return coverage;
}

std::string coverage_in_words(const ModelData& model, const RunData& run) {
  std::string text;
  const CleanCoverage clean = clean_coverage_of(model, run);
  if (clean.asked > 0)
    text = fmt::format("right on {} of {} ({}){}", clean.right, counted(clean.computed, "prompt"),
                       share(clean.right, clean.computed), shortfall(clean.failed, clean.missing));
  if (const std::size_t tied = count_tied(model.evaluation); tied > 0)
    text += fmt::format(", {} exactly as likely as another token", tied);
  const Coverage done = coverage_of(model.axes);
  if (!model.windows.empty())
    text +=
        fmt::format("{}{} on {} of {}{}", text.empty() ? "" : "; ",
                    intervened(model) ? "interventions" : "knockouts", done.computed,
                    counted(done.asked, "selected prompt"), shortfall(done.failed, done.missing));
  return text;
}

namespace {

// That nothing was to be done, or what is missing; "" if all is there.
std::string gap_of(const ModelData& model, const RunData& run) {
  const Coverage done = coverage_of(model.axes);
  const CleanCoverage clean = clean_coverage_of(model, run);
  if (!model.windows.empty() && done.asked == 0) {
    const std::string none = fmt::format("{}: no prompt is selected", name_of_set(model));
    if (intervened(model)) return none + " for interventions.";
    return fmt::format("{}; the model is right on {} of {} ({}).", none, clean.right,
                       clean.computed, share(clean.right, clean.computed));
  }
  if (done.missing == 0 && clean.missing == 0) return "";
  return fmt::format("{}: {}.", name_of_set(model), coverage_in_words(model, run));
}

}  // namespace

std::vector<std::string> coverage_gaps(const Study& study) {
  std::vector<std::string> lines;
  if (const std::vector<std::string> absent = absent_models(study.run); !absent.empty())
    lines.push_back(fmt::format("No result at all of {}.", join(absent)));
  Coverage edges, rows;
  for (const ModelData* model : all_sets(study.run)) {
    const Coverage done = coverage_of(model->axes);
    Coverage& sum = intervened(*model) ? rows : edges;
    sum.pairs += done.pairs;
    sum.absent += done.absent;
    if (std::string line = gap_of(*model, study.run); !line.empty())
      lines.push_back(std::move(line));
  }
  if (edges.absent > 0)
    lines.push_back(fmt::format(
        "{} of the (edge, prompt) pairs that were computed do not exist (a prompt that starts with "
        "its subject has no context, for instance) and are left out of every mean.",
        share(edges.absent, edges.pairs)));
  if (rows.absent > 0)
    lines.push_back(fmt::format(
        "Of the interventions, {} of the (row, prompt) pairs have nothing to touch (the prompt has "
        "no token of the role) and are left out of every mean.",
        share(rows.absent, rows.pairs)));
  return lines;
}

}  // namespace factflow
