#include "analysis/model_styles.hpp"

#include <algorithm>
#include <cstddef>
#include <map>

namespace factflow {
namespace {

// family_style() has one gray for all families that it does not know.
bool has_hue(const std::string& family) {
  return family_style(family, 0, 1).color != family_style("", 0, 1).color;
}

}  // namespace

std::vector<LineStyle> model_styles(const std::vector<std::string>& families) {
  std::map<std::string, std::size_t> size, index;
  for (const std::string& family : families) ++size[family];
  std::vector<LineStyle> styles;
  std::size_t plain = 0;  // models without a hue of their family, so far
  for (const std::string& family : families) {
    styles.push_back(family_style(family, index[family]++, size[family]));
    if (has_hue(family)) continue;
    styles.back() = plain_style(plain);
    styles.back().marker = 1 + static_cast<int>(plain % kMarkers);
    ++plain;
  }
  return styles;
}

}  // namespace factflow
