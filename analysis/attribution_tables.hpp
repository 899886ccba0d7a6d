// The table of gradient estimates.
#pragma once

#include "analysis/csv.hpp"
#include "analysis/study.hpp"

namespace factflow {

// Of every model, site, method and layer, and of all layers together.
CsvTable attributions_table(const Study& study);

}  // namespace factflow
