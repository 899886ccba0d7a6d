#include "analysis/line_names.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "analysis/plot_text.hpp"

namespace factflow {
namespace {

// Inches.
constexpr double kLetter = 0.052, kHeight = 0.095;  // of small letters
constexpr double kOwnGap = 0.035;                   // between a name and its line
constexpr double kOtherGap = 0.06;                  // and any other line at least
constexpr double kEdge = 0.02;
constexpr std::size_t kLongest = 20;  // letters

struct Place {
  double x = 0, y = 0;
};

struct Box {
  double left = 0, right = 0, bottom = 0, top = 0;
};

class Placer {
 public:
  Placer(const std::vector<Line>& lines, const PanelBox& box) : box_(box) {
    for (const Line& line : lines) curves_.push_back(curve_of(line));
  }

  std::optional<Box> find(std::size_t line, double width) const {
    std::optional<Box> best;
    double room = kOtherGap;
    for (const Place& at : curves_[line])
      for (const int side : {1, -1}) {
        const std::optional<Box> name = beside(line, at, width, side);
        if (!name) continue;
        const double distance = distance_to_others(line, *name);
        if (distance <= room) continue;
        room = distance;
        best = name;
      }
    return best;
  }

  void take(const Box& name) { taken_.push_back(name); }

 private:
  static constexpr int kSteps = 24;  // across a name

  std::vector<Place> curve_of(const Line& line) const {
    std::vector<Place> curve;
    if (line.shape != Shape::kLine) return curve;
    for (const LinePoint& point : line.points) {
      if (!std::isfinite(point.y)) continue;
      const double y = std::clamp(point.y, box_.low, box_.high);
      curve.push_back({box_.width * point.x / box_.deepest,
                       box_.height * (y - box_.low) / (box_.high - box_.low)});
    }
    return curve;
  }

  // Height of a curve at x; NaN beyond its ends.
  static double height_at(const std::vector<Place>& curve, double x) {
    for (std::size_t i = 1; i < curve.size(); ++i) {
      const Place &a = curve[i - 1], &b = curve[i];
      if (x < a.x || x > b.x || b.x <= a.x) continue;
      return a.y + (b.y - a.y) * (x - a.x) / (b.x - a.x);
    }
    return std::numeric_limits<double>::quiet_NaN();
  }

  // Just above (side 1) or below its own curve near this point; nothing where it does not fit.
  std::optional<Box> beside(std::size_t line, const Place& at, double width, int side) const {
    const double left = std::clamp(at.x - 0.5 * width, kEdge, box_.width - width - kEdge);
    if (left < kEdge || at.x < left || at.x > left + width) return std::nullopt;
    double touch = at.y;  // the curve's outermost height along the name
    for (int i = 0; i <= kSteps; ++i) {
      const double y = height_at(curves_[line], left + width * i / kSteps);
      if (!std::isnan(y)) touch = side > 0 ? std::max(touch, y) : std::min(touch, y);
    }
    if (std::abs(touch - at.y) > kHeight) return std::nullopt;  // too steep to stand beside it
    const double near = touch + side * kOwnGap, far = near + side * kHeight;
    const Box name{left, left + width, std::min(near, far), std::max(near, far)};
    if (name.bottom < kEdge || name.top > box_.height - kEdge) return std::nullopt;
    const double base = box_.height * (box_.base - box_.low) / (box_.high - box_.low);
    if (name.bottom < base + kEdge && base - kEdge < name.top) return std::nullopt;
    const bool free = std::none_of(taken_.begin(), taken_.end(), [&](const Box& other) {
      return name.left < other.right && other.left < name.right && name.bottom < other.top &&
             other.bottom < name.top;
    });
    return free ? std::optional(name) : std::nullopt;
  }

  double distance_to_others(std::size_t line, const Box& name) const {
    double least = std::numeric_limits<double>::max();
    for (std::size_t other = 0; other < curves_.size(); ++other) {
      if (other == line) continue;
      for (int i = 0; i <= kSteps; ++i) {
        const double y =
            height_at(curves_[other], name.left + (name.right - name.left) * i / kSteps);
        if (std::isnan(y)) continue;
        least = std::min(least, std::max({name.bottom - y, y - name.top, 0.0}));
      }
    }
    return least;
  }

  const PanelBox& box_;
  std::vector<std::vector<Place>> curves_;
  std::vector<Box> taken_;
};

}  // namespace

std::vector<PlacedName> place_names(const std::vector<Line>& lines, const PanelBox& box) {
  std::vector<PlacedName> names;
  if (!(box.high > box.low) || !(box.deepest > 0)) return names;
  Placer placer(lines, box);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::size_t letters = count_letters(lines[i].label);
    if (letters == 0 || letters > kLongest) continue;
    const auto place = placer.find(i, kLetter * static_cast<double>(letters));
    if (!place) continue;
    placer.take(*place);
    names.push_back(
        {lines[i].label, 0.5 * (place->left + place->right), 0.5 * (place->bottom + place->top)});
  }
  return names;
}

}  // namespace factflow
