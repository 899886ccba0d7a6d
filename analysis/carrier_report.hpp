// How the paths of hybrids are shown: figures, the report's section, and in words.
#pragma once

#include <string>
#include <vector>

#include "analysis/csv.hpp"
#include "analysis/line_plot.hpp"
#include "analysis/share_plot.hpp"
#include "analysis/study.hpp"

namespace factflow {

// Names of models with attention and other mixers of which some edge was cut on one path, of their
// main sets; in the order of the run.
std::vector<std::string> models_with_carriers(const Study& study);
// The sizes of windows of such a model, ascending.
std::vector<std::int64_t> carrier_windows(const Study& study, const std::string& model);

// A panel per edge: mean change over depth, a line a path, and strips under the axis that say which
// layers have attention (above) and a recurrent mixer (below). Without panels where there is
// nothing.
LinePlot carrier_depth_plot(const Study& study, const std::string& model, std::int64_t window);
std::string carrier_depth_caption(const std::string& model, std::int64_t window);
// A panel per edge: what each path carries in every layer, as bars side by side with a dot for both
// together; of the model's smallest windows.
LinePlot carrier_layers_plot(const Study& study, const std::string& model);
std::string carrier_layers_caption(const Study& study, const std::string& model);
// A panel per edge: every hybrid by the shares of attention and of the state, in the regions of the
// verdicts. At the widest windows.
SharePlot carrier_shares_plot(const Study& study);
std::string carrier_shares_caption();

// "Who carries the facts"; "" where no edge was cut on one path alone.
std::string carriers_html(const Study& study);
// A table for the terminal, its header first.
std::vector<std::vector<std::string>> carrier_rows(const Study& study);
CsvTable carriers_table(const Study& study);

}  // namespace factflow
