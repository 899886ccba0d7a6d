#include "analysis/palette.hpp"

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

}  // namespace

std::string role_color(const std::string& role) {
  static const std::map<std::string, std::string> kColors = {{"last", "#0000FF"},
                                                             {"first", "#D2691E"},
                                                             {"subject", "#008000"},
                                                             {"relation", "#800080"},
                                                             {"context", "#FF0000"},
                                                             {"all", "#000000"},
                                                             {"relation-minus-last", "#800000"}};
  const auto found = kColors.find(role);
  return found == kColors.end() ? "#777777" : found->second;
}

std::string family_color(const std::string& family, std::size_t index, std::size_t count) {
  static const std::map<std::string, std::pair<Rgb, Rgb>> kHues = {
      {"mamba", {{110, 150, 255}, {2, 2, 218}}},         {"mamba2", {{110, 205, 110}, {15, 113, 15}}},
      {"falcon_mamba", {{238, 196, 90}, {190, 120, 0}}}, {"gpt2", {{245, 140, 120}, {164, 25, 8}}},
      {"llama", {{200, 140, 220}, {110, 20, 150}}},      {"mistral", {{110, 205, 215}, {0, 115, 130}}},
      {"qwen2", {{235, 140, 190}, {170, 10, 100}}},      {"gpt_neox", {{190, 160, 130}, {110, 70, 30}}}};
  const auto found = kHues.find(family);
  const std::pair<Rgb, Rgb> hue =
      found == kHues.end() ? std::pair<Rgb, Rgb>{{180, 180, 180}, {60, 60, 60}} : found->second;
  return hex(mix(hue.first, hue.second, share_of(index, count)));
}

std::string ordered_color(std::size_t index, std::size_t count) {
  return hex(mix({140, 190, 235}, {8, 35, 105}, share_of(index, count)));
}

LineStyle channel_style(const std::string& channels) {
  const std::string slow = "#D55E00", fast = "#0072B2";
  if (channels == "all") return {"#000000", 1};
  if (channels == "slow") return {slow, 1};
  if (channels == "not-fast") return {slow, 2};
  if (channels == "fast") return {fast, 1};
  if (channels == "not-slow") return {fast, 2};
  if (channels.starts_with("quantile ")) {
    std::size_t slice = 1, slices = 1;
    const char* end = channels.data() + channels.size();
    const auto [stop, error] = std::from_chars(channels.data() + 9, end, slice);
    if (error == std::errc() && stop != end) std::from_chars(stop + 1, end, slices);
    if (slice >= 1 && slice <= slices) return {ordered_color(slice - 1, slices), 1};
  }
  return {"#777777", 1};
}

std::string diverging_palette(const std::string& name) {
  // The eleven classes of ColorBrewer (C. Brewer, Pennsylvania State University; Apache 2.0).
  static const std::map<std::string, std::array<const char*, 11>> kMaps = {
      {"RdYlGn",
       {"#A50026", "#D73027", "#F46D43", "#FDAE61", "#FEE08B", "#FFFFBF", "#D9EF8B", "#A6D96A", "#66BD63",
        "#1A9850", "#006837"}},
      {"RdBu",
       {"#67001F", "#B2182B", "#D6604D", "#F4A582", "#FDDBC7", "#F7F7F7", "#D1E5F0", "#92C5DE", "#4393C3",
        "#2166AC", "#053061"}}};
  const auto found = kMaps.find(name);
  if (found == kMaps.end())
    throw InputError("heat map palette", fmt::format("unknown palette '{}'", name), "use RdYlGn or RdBu");
  std::string list;
  for (std::size_t i = 0; i < found->second.size(); ++i)
    list += fmt::format("{}{} '{}'", i == 0 ? "" : ", ", i, found->second[i]);
  return list;
}

}  // namespace factflow
