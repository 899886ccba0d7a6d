// Colours with a meaning, the same in every figure.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace factflow {

struct LineStyle {
  std::string color;  // "#RRGGBB"
  int dash = 1;       // gnuplot's dash type: 1 = solid
  // A sign at some of the line's points, 1 to kMarkers: what is left of a line in grey, where its
  // hue is gone and dashes come again. 0 = none.
  int marker = 0;
};

// Disc, square, triangle, diamond, ring, open square.
inline constexpr int kMarkers = 6;

// Of an edge's source. The hues of the published figures in the shades of Okabe and Ito (2008),
// which differ for all eyes, and a dash pattern each. Unknown roles are gray.
LineStyle role_style(const std::string& role);
// One hue and dash pattern for each model family, light for the first of its `count` models, dark
// for the last; several of one family have a marker each.
LineStyle family_style(const std::string& family, std::size_t index, std::size_t count);
// Of lines that have no colour of their own, by their place in a panel: five that differ for all
// eyes, with a dash pattern each; then they come again.
LineStyle plain_style(std::size_t index);
// Light to dark blue: for ordered things, such as window sizes.
std::string ordered_color(std::size_t index, std::size_t count);
// The same with a dash pattern and a marker each, so that lines are told apart in grey as well.
LineStyle ordered_style(std::size_t index, std::size_t count);

// Channels that lose an edge: slow ones orange, fast ones blue; sets that include the middle third
// are dashed.
LineStyle channel_style(const std::string& channels);

// The mixers that lose an edge ("attention", "recurrent", "both"): orange, blue, black.
LineStyle path_style(const std::string& path);

// gnuplot's "defined (...)" list of a colour map with a middle: "RdYlGn" (the published figures'),
// "RdBu" (red and blue, for all eyes in colour) or "cividis" (dark blue to yellow, lighter all the
// way: for all eyes and in grey). Throws InputError for another name.
inline constexpr const char* kPaletteForAll = "cividis";
std::string diverging_palette(const std::string& name);
// The same of a map from white to dark blue, which grows darker all the way: it can be read in grey
// and by all eyes.
std::string sequential_palette();
// Its colour at `share`, in [0, 1] (clamped).
std::string sequential_color(double share);

}  // namespace factflow
