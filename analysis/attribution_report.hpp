// How the agreement of gradient estimates is shown: figures, the report, and in words.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "analysis/line_plot.hpp"
#include "analysis/study.hpp"

namespace factflow {

// Rank correlation, share of equal signs and largest difference by layer: a row of panels for each,
// a panel for each method, a line for each site. No panels if no fact has a part in means.
LinePlot attribution_plot(const ModelAttributions& attributions);
std::string attribution_caption(const ModelAttributions& attributions);  // plain text

// "gradient", "integrated gradients, 5 steps"
std::string method_in_words(const ModelAttributions& attributions, EstimateMethod method);
// "0 to 3, 7", as the papers count layers of h (-1 = embeddings); "none"
std::string trusted_in_words(const SiteAgreement& agreement);

// Section of the report; "" without estimates.
std::string attributions_html(const Study& study);

// Rows of a table for the terminal, the first one its header: over all cells of each site. Empty
// without estimates.
std::vector<std::vector<std::string>> attribution_rows(const Study& study);
// A sentence for each model with estimates: how many prompts have a part in them.
std::vector<std::string> attribution_counts(const Study& study);

}  // namespace factflow
