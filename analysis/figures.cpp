#include "analysis/figures.hpp"

#include <fmt/format.h>

namespace factflow {

// The results file admits only harmless letters in model names; roles and prompts may hold any.
std::string Stems::unique(const std::string& text) {
  std::string stem;
  for (const char c : text.substr(0, 80)) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '.' || c == '-' || c == '_';
    stem += plain ? c : '_';
  }
  std::string name = stem;
  for (int i = 2; !used_.insert(name).second; ++i) name = fmt::format("{}_{}", stem, i);
  return name;
}

RowPlace place_of_row(std::size_t row, std::size_t rows) {
  const std::size_t panels = (rows + kMostRowsOfPanel - 1) / kMostRowsOfPanel;
  const std::size_t panel = row * panels / rows;
  const std::size_t first = (panel * rows + panels - 1) / panels;  // the least row of this panel
  return {panel, row - first};
}

FigureSet make_figures(const Study& study, const FigureOptions& options) {
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
  // Outside of quoted texts scripts are plain ASCII.
  for (Figure& figure : set.figures)
    for (Plot& plot : figure.plots) plot.script = drawable(plot.script, options.fonts, set.missing);
  return set;
}

}  // namespace factflow
