// The lines of a run's models: one look in every figure and in the report.
#pragma once

#include <string>
#include <vector>

#include "analysis/palette.hpp"

namespace factflow {

// Of models of these families, in their order. A family that family_style() knows has its hue;
// others, hybrids for instance, take the hues of plain_style() as they come, each with a marker, so
// that no two families of a run look alike.
std::vector<LineStyle> model_styles(const std::vector<std::string>& families);

}  // namespace factflow
