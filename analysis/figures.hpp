// Which figures a study gets: every kind of the paper for which it holds the ingredients, as plots
// for draw(), with captions. Source of what they look like: the figures of Endy et al., ACL 2025
// (arXiv 2505.24244).
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "analysis/fonts.hpp"
#include "analysis/gnuplot.hpp"
#include "analysis/study.hpp"

namespace factflow {

struct FigureOptions {
  std::size_t models = 24;           // figures of single models are drawn for the first so many
  std::size_t heatmap_prompts = 20;  // likewise for the prompts of heat maps
  // Colour range of p - p_clean; values beyond it take the end colours.
  double heatmap_limit = 0.3;
  std::string palette = "RdYlGn";  // as in diverging_palette()
  // Of single prompts only these, by id; none = the first of them.
  std::vector<std::int64_t> prompts;
  // Shell patterns of names of figures (`*`, `?`), of which only these are drawn; none = all.
  std::vector<std::string> only;
  std::vector<std::string> formats = {"svg", "pdf", "png"};  // at least one of these
  FontCoverage fonts;                                        // what texts may be made of
};

struct Figure {
  std::string caption;      // plain text
  std::vector<Plot> plots;  // the same figure at several widths
};

struct FigureSet {
  std::vector<Figure> figures;
  std::vector<std::string> omitted;  // what the limits left out, in sentences
  std::set<char32_t> missing;        // characters of the texts that no font has
  std::string problem;               // why some are not drawn; "" if all are
};

// Throws InputError for options.only that no figure matches and for options.prompts of which
// nothing of single prompts is stored.
FigureSet make_figures(const Study& study, const FigureOptions& options);

// What stands beside a figure as figures/NAME.txt: its title, caption and notes, and where its
// numbers come from.
std::string caption_text(const Figure& figure, const Study& study);

// Whether a figure of this prompt is wanted.
bool wants_prompt(const FigureOptions& options, std::int64_t prompt);

// File names out of texts of any kind, each used once.
class Stems {
 public:
  std::string unique(const std::string& text);
  // The same letters, whether they are used or not.
  static std::string plain(const std::string& text);

 private:
  std::set<std::string> used_;
};

// Where the curve of a row of interventions is drawn. Panels hold at most kMostRowsOfPanel, so that
// lines and bands can be told apart, and are evenly filled.
struct RowPlace {
  std::size_t panel = 0, line = 0;  // the latter within the panel
};
inline constexpr std::size_t kMostRowsOfPanel = 5;
RowPlace place_of_row(std::size_t row, std::size_t rows);

// The parts of make_figures().
void add_line_figures(const Study& study, const FigureOptions& options, Stems& stems,
                      FigureSet& set);
void add_intervention_figures(const Study& study, const FigureOptions& options, Stems& stems,
                              FigureSet& set);
void add_heatmap_figures(const Study& study, const FigureOptions& options, Stems& stems,
                         FigureSet& set);
void add_trace_figures(const Study& study, const FigureOptions& options, Stems& stems,
                       FigureSet& set);
void add_attribution_figures(const Study& study, const FigureOptions& options, Stems& stems,
                             FigureSet& set);
void add_edit_figures(const Study& study, const FigureOptions& options, Stems& stems,
                      FigureSet& set);
void add_mean_knockout_figures(const Study& study, const FigureOptions& options, Stems& stems,
                               FigureSet& set);
void add_severing_figures(const Study& study, const FigureOptions& options, Stems& stems,
                          FigureSet& set);
void add_part_figures(const Study& study, const FigureOptions& options, Stems& stems,
                      FigureSet& set);
void add_path_figures(const Study& study, const FigureOptions& options, Stems& stems,
                      FigureSet& set);
void add_carrier_figures(const Study& study, const FigureOptions& options, Stems& stems,
                         FigureSet& set);
void add_linear_relation_figures(const Study& study, const FigureOptions& options, Stems& stems,
                                 FigureSet& set);
void add_question_figures(const Study& study, const FigureOptions& options, Stems& stems,
                          FigureSet& set);

}  // namespace factflow
