#include "analysis/palette.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "base/error.hpp"

namespace factflow {
namespace {

using Rgb = std::array<int, 3>;

std::string hex(const Rgb& color) {
  return fmt::format("#{:02X}{:02X}{:02X}", color[0], color[1], color[2]);
}

// From `light` (share 0) to `dark` (share 1).
Rgb mix(const Rgb& light, const Rgb& dark, double share) {
  Rgb mixed{};
  for (std::size_t i = 0; i < 3; ++i)
    mixed[i] = static_cast<int>(light[i] + share * (dark[i] - light[i]) + 0.5);
  return mixed;
}

double share_of(std::size_t index, std::size_t count) {
  return count < 2 ? 1 : static_cast<double>(index) / static_cast<double>(count - 1);
}

int marker_of(std::size_t index, std::size_t count) {
  return count < 2 ? 0 : 1 + static_cast<int>(index % kMarkers);
}

}  // namespace

LineStyle role_style(const std::string& role) {
  static const std::map<std::string, LineStyle> kStyles = {
      {"subject", {"#009E73", 1}}, {"relation", {"#CC79A7", 2}},
      {"last", {"#D55E00", 4}},    {"first", {"#0072B2", 3}},
      {"context", {"#56B4E9", 5}}, {"relation-minus-last", {"#882255", 2}},
      {"all", {"#000000", 1}}};
  const auto found = kStyles.find(role);
  return found == kStyles.end() ? LineStyle{"#777777", 5} : found->second;
}

LineStyle family_style(const std::string& family, std::size_t index, std::size_t count) {
  struct Hue {
    Rgb light, dark;
    int dash;
  };
  static const std::map<std::string, Hue> kHues = {
      {"mamba", {{120, 180, 240}, {0, 89, 179}, 1}},
      {"mamba2", {{110, 210, 175}, {0, 130, 95}, 2}},
      {"falcon_mamba", {{245, 205, 110}, {222, 150, 0}, 4}},
      {"gpt2", {{245, 155, 110}, {192, 64, 10}, 3}},
      {"llama", {{200, 130, 205}, {125, 25, 125}, 5}},
      {"mistral", {{140, 205, 240}, {56, 160, 215}, 2}},
      {"qwen2", {{240, 165, 205}, {214, 95, 155}, 4}},
      {"gpt_neox", {{185, 170, 150}, {95, 80, 65}, 3}}};
  const auto found = kHues.find(family);
  const Hue hue = found == kHues.end() ? Hue{{180, 180, 180}, {60, 60, 60}, 1} : found->second;
  return {hex(mix(hue.light, hue.dark, share_of(index, count))), hue.dash, marker_of(index, count)};
}

LineStyle plain_style(std::size_t index) {
  static const std::array<LineStyle, 5> kStyles = {
      {{"#0072B2", 1}, {"#D55E00", 2}, {"#009E73", 4}, {"#CC79A7", 3}, {"#000000", 5}}};
  return kStyles[index % kStyles.size()];
}

std::string ordered_color(std::size_t index, std::size_t count) {
  return hex(mix({140, 190, 235}, {8, 35, 105}, share_of(index, count)));
}

LineStyle ordered_style(std::size_t index, std::size_t count) {
  constexpr int kDashes = 5;  // of gnuplot
  return {ordered_color(index, count), 1 + static_cast<int>(index % kDashes),
          marker_of(index, count)};
}

LineStyle path_style(const std::string& path) {
  if (path == "attention") return {"#D55E00", 1};
  if (path == "recurrent") return {"#0072B2", 2};
  return {"#000000", 4};
}

LineStyle channel_style(const std::string& channels) {
  const std::string slow = "#D55E00", fast = "#0072B2";
  if (channels == "all") return {"#000000", 1};
  if (channels == "slow") return {slow, 1, 2};
  if (channels == "not-fast") return {slow, 2, 2};
  if (channels == "fast") return {fast, 1, 3};
  if (channels == "not-slow") return {fast, 2, 3};
  if (channels.starts_with("quantile ")) {
    std::size_t slice = 1, slices = 1;
    const char* end = channels.data() + channels.size();
    const auto [stop, error] = std::from_chars(channels.data() + 9, end, slice);
    if (error == std::errc() && stop != end) std::from_chars(stop + 1, end, slices);
    if (slice >= 1 && slice <= slices) return ordered_style(slice - 1, slices);
  }
  return {"#777777", 1};
}

namespace {

// ColorBrewer's Blues, from white on.
constexpr std::array<Rgb, 9> kBlues = {{{255, 255, 255},
                                        {222, 235, 247},
                                        {198, 219, 239},
                                        {158, 202, 225},
                                        {107, 174, 214},
                                        {66, 146, 198},
                                        {33, 113, 181},
                                        {8, 81, 156},
                                        {8, 48, 107}}};

}  // namespace

std::string sequential_palette() {
  std::string list;
  for (std::size_t i = 0; i < kBlues.size(); ++i)
    list += fmt::format("{}{} '{}'", i == 0 ? "" : ", ", i, hex(kBlues[i]));
  return list;
}

std::string sequential_color(double share) {
  const double place = std::clamp(share, 0.0, 1.0) * static_cast<double>(kBlues.size() - 1);
  const auto below = std::min(static_cast<std::size_t>(place), kBlues.size() - 2);
  return hex(mix(kBlues[below], kBlues[below + 1], place - static_cast<double>(below)));
}

std::string diverging_palette(const std::string& name) {
  // The eleven classes of ColorBrewer (C. Brewer, Pennsylvania State University; Apache 2.0), and
  // cividis (Nunez, Anderton and Renslow, PLoS ONE 2018; CC0 in matplotlib) at as many places.
  static const std::map<std::string, std::array<const char*, 11>> kMaps = {
      {"cividis",
       {"#00224E", "#083370", "#35456C", "#4F576C", "#666970", "#7D7C78", "#948E77", "#AEA371",
        "#C8B866", "#E5CF52", "#FEE838"}},
      {"RdYlGn",
       {"#A50026", "#D73027", "#F46D43", "#FDAE61", "#FEE08B", "#FFFFBF", "#D9EF8B", "#A6D96A",
        "#66BD63", "#1A9850", "#006837"}},
      {"RdBu",
       {"#67001F", "#B2182B", "#D6604D", "#F4A582", "#FDDBC7", "#F7F7F7", "#D1E5F0", "#92C5DE",
        "#4393C3", "#2166AC", "#053061"}}};
  const auto found = kMaps.find(name);
  if (found == kMaps.end())
    throw InputError("heat map palette", fmt::format("unknown palette '{}'", name),
                     "use RdYlGn, RdBu or cividis");
  std::string list;
  for (std::size_t i = 0; i < found->second.size(); ++i)
    list += fmt::format("{}{} '{}'", i == 0 ? "" : ", ", i, found->second[i]);
  return list;
}

}  // namespace factflow
