#include "analysis/figures.hpp"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "analysis/load_runs.hpp"
#include "base/error.hpp"
#include "base/text.hpp"

namespace factflow {

// The results file admits only harmless letters in model names; roles and prompts may hold any.
std::string Stems::plain(const std::string& text) {
  std::string stem;
  for (const char c : text.substr(0, 80)) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '.' || c == '-' || c == '_';
    stem += plain ? c : '_';
  }
  return stem;
}

std::string Stems::unique(const std::string& text) {
  const std::string stem = plain(text);
  std::string name = stem;
  for (int i = 2; !used_.insert(name).second; ++i) name = fmt::format("{}_{}", stem, i);
  return name;
}

namespace {

// `*` = any letters, `?` = one.
bool matches(std::string_view pattern, std::string_view name) {
  if (pattern.empty()) return name.empty();
  if (pattern[0] == '*')
    return matches(pattern.substr(1), name) || (!name.empty() && matches(pattern, name.substr(1)));
  return !name.empty() && (pattern[0] == '?' || pattern[0] == name[0]) &&
         matches(pattern.substr(1), name.substr(1));
}

std::string name_of(const Figure& figure) {
  return figure.plots.empty() ? "" : figure.plots[0].stem;
}

void keep_wanted(const std::vector<std::string>& only, FigureSet& set) {
  std::vector<std::string> names;
  for (const Figure& figure : set.figures) names.push_back(name_of(figure));
  const auto matched = [&](const std::string& pattern) {
    return std::any_of(names.begin(), names.end(),
                       [&](const std::string& name) { return matches(pattern, name); });
  };
  for (const std::string& pattern : only)
    if (!matched(pattern))
      throw InputError(
          "--only", fmt::format("no figure is called '{}'", pattern),
          names.empty() ? "these results have no figures" : "the figures are: " + join(names));
  std::erase_if(set.figures, [&](const Figure& figure) {
    return std::none_of(only.begin(), only.end(), [&](const std::string& pattern) {
      return matches(pattern, name_of(figure));
    });
  });
}

// Of which prompts there are maps.
std::set<std::int64_t> mapped_prompts(const Study& study) {
  std::set<std::int64_t> ids;
  for (const ModelData& model : study.run.models) {
    std::vector<std::string> groups = {"heatmap"};
    for (const InterventionMap& map : intervention_maps(model)) groups.push_back(map.group);
    for (const std::string& group : groups)
      for (const std::int64_t window : heatmap_windows(model, group))
        for (const std::int64_t prompt : heatmap_prompts(model, window, group)) ids.insert(prompt);
  }
  for (const ModelTraces& traces : study.traces)
    for (const TracedFact& fact : traces.facts)
      if (fact.use == FactUse::kUsed) ids.insert(fact.prompt);
  return ids;
}

void check_prompts(const FigureOptions& options, const Study& study) {
  if (options.prompts.empty()) return;
  const std::set<std::int64_t> ids = mapped_prompts(study);
  for (const std::int64_t prompt : options.prompts)
    if (!ids.contains(prompt))
      throw InputError("--prompts", fmt::format("no map of prompt {} is stored", prompt),
                       ids.empty() ? "these results have no maps of single prompts"
                                   : fmt::format("there are maps of: {}", fmt::join(ids, ", ")));
}

void choose_figures(const FigureOptions& options, FigureSet& set) {
  if (!options.only.empty()) keep_wanted(options.only, set);
  const auto wanted = [&](const std::string& format) {
    return std::find(options.formats.begin(), options.formats.end(), format) !=
           options.formats.end();
  };
  for (Figure& figure : set.figures)
    for (Plot& plot : figure.plots) {
      std::erase_if(plot.formats, [&](const std::string& format) { return !wanted(format); });
      // One of a single format, the column of a paper, has the asked ones in its place.
      if (plot.formats.empty()) plot.formats = options.formats;
    }
}

}  // namespace

bool wants_prompt(const FigureOptions& options, std::int64_t prompt) {
  return options.prompts.empty() ||
         std::find(options.prompts.begin(), options.prompts.end(), prompt) != options.prompts.end();
}

std::string caption_text(const Figure& figure, const Study& study) {
  std::string text;
  std::set<std::string> said;
  const auto add = [&](const std::string& line) {
    if (line.empty() || !said.insert(line).second) return;
    text += line + (line.ends_with('.') ? "\n\n" : ".\n\n");
  };
  for (const Plot& plot : figure.plots) add(plot.title);
  add(figure.caption);
  for (const Plot& plot : figure.plots)
    for (const std::string& note : plot.notes) add(note);
  for (const RunSource& source : study.run.sources)
    text += fmt::format("Run {}: prompts of {}, {}; computed {} in {}; results digest {}.\n",
                        source.name, source.info.dataset_path, source.info.selection,
                        source.info.created, source.info.precision, source.digest);
  return text;
}

RowPlace place_of_row(std::size_t row, std::size_t rows) {
  const std::size_t panels = (rows + kMostRowsOfPanel - 1) / kMostRowsOfPanel;
  const std::size_t panel = row * panels / rows;
  const std::size_t first = (panel * rows + panels - 1) / panels;  // the least row of this panel
  return {panel, row - first};
}

FigureSet make_figures(const Study& study, const FigureOptions& options) {
  check_prompts(options, study);
  FigureSet set;
  Stems stems;
  add_line_figures(study, options, stems, set);
  add_carrier_figures(study, options, stems, set);
  add_intervention_figures(study, options, stems, set);
  add_heatmap_figures(study, options, stems, set);
  add_trace_figures(study, options, stems, set);
  add_attribution_figures(study, options, stems, set);
  add_edit_figures(study, options, stems, set);
  add_severing_figures(study, options, stems, set);
  add_mean_knockout_figures(study, options, stems, set);
  add_path_figures(study, options, stems, set);
  add_part_figures(study, options, stems, set);
  add_linear_relation_figures(study, options, stems, set);
  add_question_figures(study, options, stems, set);
  choose_figures(options, set);
  // Outside of quoted texts scripts are plain ASCII.
  for (Figure& figure : set.figures)
    for (Plot& plot : figure.plots) plot.script = drawable(plot.script, options.fonts, set.missing);
  return set;
}

}  // namespace factflow
