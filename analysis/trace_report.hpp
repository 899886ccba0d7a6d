// How causal traces are shown: which maps stand together, in figures and in the report, and in
// words.
#pragma once

#include <string>
#include <vector>

#include "analysis/study.hpp"

namespace factflow {

// Maps of one model and direction that share a scale of colours.
struct TraceChart {
  std::string stem;                       // trace_MODEL_DIRECTION[_wWINDOW]
  std::string title;                      // what is done, on how many prompts; without the model
  std::string caption;                    // plain text
  std::vector<const TraceAverage*> maps;  // of ModelTraces::averages, one for each site
  double largest = 1;                     // mean effect of any group: the end of the scale
  bool any_negative = false;              // whether some mean lies below 0, the other end
  bool same_n = true;                     // whether all maps are of as many prompts
};

// A chart for each direction and window size. h, which is patched in windows of its own (one
// layer, as published), stands in every chart of its direction, at that chart's size if it has it.
std::vector<TraceChart> trace_charts(const ModelTraces& traces);
// "h, window of 1 layer"
std::string title_of(const TraceAverage& average);

// Section of the report; "" without traces.
std::string traces_html(const Study& study);

// Rows of a table for the terminal, the first one its header: the peaks at the last token of the
// subject and at the last token of the prompt. Empty without traces.
std::vector<std::vector<std::string>> peak_rows(const Study& study);
// A sentence for each model with traces: how many prompts have a part in means, and why others
// have none.
std::vector<std::string> trace_counts(const Study& study);

}  // namespace factflow
