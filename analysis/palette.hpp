// Colours with a meaning, the same in every figure.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace factflow {

// Of an edge's source: the colours of the published figures. Unknown roles are gray. "#RRGGBB"
std::string role_color(const std::string& role);
// One hue for each model family, light for the first of its `count` models, dark for the last.
std::string family_color(const std::string& family, std::size_t index, std::size_t count);
// Light to dark blue: for ordered things, such as window sizes.
std::string ordered_color(std::size_t index, std::size_t count);

// Channels that lose an edge: slow ones orange, fast ones blue; sets that include the middle third are
// dashed.
struct LineStyle {
  std::string color;
  int dash = 1;  // gnuplot dash type: 1 = solid
};
LineStyle channel_style(const std::string& channels);

// gnuplot's "defined (...)" list of a diverging colour map: "RdYlGn" (the field's habit) or "RdBu" (for all
// eyes). Throws InputError for another name.
std::string diverging_palette(const std::string& name);

}  // namespace factflow
