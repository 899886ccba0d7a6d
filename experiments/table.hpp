// All experiment kinds of the program. The table is a library of its own: a program that has
// another one defines experiment_kinds() itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "experiments/experiment.hpp"

namespace factflow {

// In the order in which sections are written and models get their units; the one that offers ranks
// first.
const std::vector<const ExperimentKind*>& experiment_kinds();

// The place of a kind in the table.
std::optional<std::size_t> kind_numbered(std::uint32_t number);
std::size_t kind_of_ranks();
std::size_t place_of_section(const std::string& section);  // throws std::out_of_range for none

}  // namespace factflow
