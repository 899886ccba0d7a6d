// The options that analyse and compare share.
#pragma once

#include <boost/program_options.hpp>

#include "analysis/analyse.hpp"

namespace factflow {

void add_analysis_options(boost::program_options::options_description& options);
AnalysisOptions analysis_options_of(const boost::program_options::variables_map& values);

// Findings, and what was written, on the standard output. Throws RunError if something is missing
// of what should be there.
void print(const AnalysisSummary& summary);

}  // namespace factflow
