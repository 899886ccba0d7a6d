// Tables of parts of edges and of paths.
#pragma once

#include "analysis/csv.hpp"
#include "analysis/study.hpp"

namespace factflow {

CsvTable parts_table(const Study& study);           // parts.csv: model, edge, part, window, start
CsvTable part_sums_table(const Study& study);       // part_sums.csv: the same without parts
CsvTable part_contrasts_table(const Study& study);  // part_contrasts.csv: slow against random
CsvTable part_steps_table(const Study& study);      // part_steps.csv: several together
CsvTable part_overlaps_table(const Study& study);   // part_overlaps.csv: pairs of relations
CsvTable paths_table(const Study& study);           // paths.csv: model, row that is a path, window
CsvTable missed_paths_table(const Study& study);    // missed_paths.csv: what the scan alone misses

}  // namespace factflow
