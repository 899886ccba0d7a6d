// What the report's page draws, as JSON for analysis/web/*.js.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "analysis/study.hpp"

namespace factflow {

// Bounds that keep the page quick whatever the run: it is one file that a browser loads at once.
struct ReportLimits {
  std::size_t prompts = 2'000;           // in the prompt browser, those with heat maps first
  std::size_t prompt_cells = 1'500'000;  // of the prompts' own curves: [model, edge, prompt, start]
  std::size_t heatmap_cells = 1'000'000;
};

struct ReportData {
  // Safe inside a script element: no '<' in it. Numbers are rounded to what a screen shows (changes
  // to 0.01
  // %, probabilities to 0.0001); the tables have all digits.
  std::string json;
  std::vector<std::string> omitted;  // what the limits left out, in sentences
};

ReportData report_data(const Study& study, const ReportLimits& limits);

}  // namespace factflow
