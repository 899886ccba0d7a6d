#include "analysis/line_svg.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <vector>

#include <fmt/format.h>

#include "analysis/axis_tics.hpp"
#include "analysis/html.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

using html::escape;

constexpr double kLeft = 46, kArea = 292, kRight = 12, kTop = 8, kHeight = 170, kBottom = 34;
constexpr double kStrip = 2.5;  // of layers, under the frame

const char* dash_of(int dash) {
  switch (dash) {
    case 2:
      return " stroke-dasharray=\"7 4\"";
    case 3:
      return " stroke-dasharray=\"2 3\"";
    case 4:
      return " stroke-dasharray=\"8 3 2 3\"";
    case 5:
      return " stroke-dasharray=\"8 3 2 3 2 3\"";
    default:
      return "";
  }
}

// The marker of a line: disc, square, triangle, diamond, ring, open square.
std::string marker_svg(const LineStyle& style, double x, double y) {
  constexpr std::array<const char*, kMarkers> kPaths = {"M-3 0a3 3 0 1 0 6 0a3 3 0 1 0 -6 0",
                                                        "M-2.7 -2.7h5.4v5.4h-5.4z",
                                                        "M0 -3.4l3.4 6h-6.8z",
                                                        "M0 -3.8l3.8 3.8l-3.8 3.8l-3.8 -3.8z",
                                                        "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0 -6 0",
                                                        "M-2.7 -2.7h5.4v5.4h-5.4z"};
  const bool open = style.marker > 4;
  return fmt::format(
      "<path transform=\"translate({:.1f} {:.1f})\" d=\"{}\" fill=\"{}\" stroke=\"{}\" "
      "stroke-width=\"{}\"/>",
      x, y, kPaths[static_cast<std::size_t>(style.marker - 1)], open ? "#FFFFFF" : style.color,
      style.color, open ? 1.4 : 0);
}

class PanelPicture {
 public:
  PanelPicture(const LinePlot& figure, const Panel& panel, std::int64_t layer_shift)
      : figure_(figure), panel_(panel), shift_(layer_shift), range_(range_of(figure, panel.axis)) {
    deepest_ = deepest_of({panel});
  }

  std::string html() const {
    std::string text = fmt::format(
        "<div class=\"panel\"><h4>{}</h4><svg viewBox=\"0 0 {} {}\" width=\"100%\" "
        "font-size=\"11\" role=\"img\" aria-label=\"{}\">\n",
        escape(join(panel_.title)), kLeft + kArea + kRight, kTop + kHeight + kBottom,
        escape(join(panel_.title)));
    text += value_axis() + layer_axis() + strips();
    for (const Line& line : panel_.lines)
      if (line.shape == Shape::kLine) text += band(line);
    for (const Line& line : panel_.lines)
      text += line.shape == Shape::kLine ? curve(line) : shapes(line);
    return text + "</svg>" + legend() + "</div>\n";
  }

 private:
  double across(double x) const { return kLeft + kArea * x / deepest_; }
  double down(double y) const {
    const double inside = std::clamp(y, range_.low, range_.high);  // bands may be cut
    return kTop + kHeight * (range_.high - inside) / (range_.high - range_.low);
  }

  std::string value_axis() const {
    std::string text = fmt::format(
        "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"#444444\"/>",
        kLeft, kTop, kArea, kHeight);
    for (const auto& [value, label] : value_tics(range_.low, range_.high, 7))
      text += fmt::format(
          "<line x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" stroke=\"{3}\"/><text "
          "x=\"{4}\" y=\"{5:.1f}\" text-anchor=\"end\">{6}</text>",
          kLeft, kLeft + kArea, down(value), value == panel_.axis.base ? "#444444" : "#E4E4E4",
          kLeft - 5, down(value) + 4, html::prose(label));
    return text + fmt::format(
                      "<text transform=\"translate(11 {}) rotate(-90)\" "
                      "text-anchor=\"middle\">{}</text>\n",
                      kTop + kHeight / 2, escape(panel_.axis.label));
  }

  // First, middle and last layer of the first line.
  std::string layer_axis() const {
    std::string text = fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                                   kLeft + kArea / 2, kTop + kHeight + 29, escape(figure_.x_label));
    if (panel_.lines.empty() || panel_.lines[0].points.empty()) return text;
    const Line& line = panel_.lines[0];
    const std::size_t last = line.points.size() - 1;
    for (const std::size_t i : std::set<std::size_t>{0, last / 2, last})
      text += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                          across(place_of(line, line.points[i])), kTop + kHeight + 14,
                          html::prose(std::to_string(layer_of(line, line.points[i]))));
    return text + "\n";
  }
  std::int64_t layer_of(const Line& line, const LinePoint& point) const {
    return std::llround(point.x * static_cast<double>(line.layers)) + shift_;
  }

  // Under the frame, above the numbers of layers.
  std::string strips() const {
    std::string text;
    double top = kTop + kHeight;
    for (const LayerStrip& strip : panel_.strips) {
      const auto layers = static_cast<double>(strip.layers.size());
      for (std::size_t layer = 0; layer < strip.layers.size(); ++layer)
        if (strip.layers[layer])
          text += fmt::format(
              "<rect x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\" fill=\"{}\"/>",
              across(static_cast<double>(layer) / layers), top, kArea / layers, kStrip,
              strip.color);
      top += kStrip;
    }
    return text + "\n";
  }

  // Bars from 0, or dots, with whiskers.
  std::string shapes(const Line& line) const {
    std::string text;
    for (const LinePoint& point : line.points) {
      if (!std::isfinite(point.y)) continue;
      const double x = across(place_of(line, point));
      const std::string title = fmt::format("<title>{}</title>", escape(in_words(line, point)));
      if (line.shape == Shape::kBars) {
        const double width = kArea * line.width / static_cast<double>(line.layers);
        text += fmt::format(
            "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" "
            "fill=\"{}\">{}</rect>",
            x - 0.5 * width, std::min(down(0), down(point.y)), width,
            std::abs(down(point.y) - down(0)), line.style.color, title);
      }
      if (line.band && std::isfinite(point.low) && std::isfinite(point.high))
        text += fmt::format(
            "<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\" "
            "stroke=\"#222222\" stroke-width=\"0.8\"/>",
            x, down(point.low), down(point.high));
      if (line.shape == Shape::kDots)
        text += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2\" fill=\"{}\">{}</circle>",
                            x, down(point.y), line.style.color, title);
    }
    return text + "\n";
  }

  std::string in_words(const Line& line, const LinePoint& point) const {
    return fmt::format("{}, layer {}: {:.3f} [{:.3f}, {:.3f}], n = {}", line.label,
                       layer_of(line, point), point.y, point.low, point.high, point.n);
  }

  std::string band(const Line& line) const {
    std::string upper, lower;
    for (const LinePoint& point : line.points) {
      if (!line.band || !std::isfinite(point.low) || !std::isfinite(point.high)) continue;
      upper += fmt::format("{:.1f},{:.1f} ", across(point.x), down(point.high));
      lower.insert(0, fmt::format("{:.1f},{:.1f} ", across(point.x), down(point.low)));
    }
    if (upper.empty()) return "";
    return fmt::format("<polygon points=\"{}{}\" fill=\"{}\" fill-opacity=\"0.18\"/>\n", upper,
                       lower, line.style.color);
  }

  std::string curve(const Line& line) const {
    std::string points, marks;
    const std::size_t step = line.points.size() <= 12 ? 1 : line.points.size() / 6;
    for (std::size_t i = 0; i < line.points.size(); ++i) {
      const LinePoint& point = line.points[i];
      if (!std::isfinite(point.y)) continue;
      if (line.style.marker > 0 && i % step == 0)
        marks += marker_svg(line.style, across(point.x), down(point.y));
      points += fmt::format("{:.1f},{:.1f} ", across(point.x), down(point.y));
      marks += fmt::format(
          "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"1.5\" fill=\"{}\"><title>{}</title></circle>",
          across(point.x), down(point.y), line.style.color, escape(in_words(line, point)));
    }
    return fmt::format(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.8\"{}/>{}\n", points,
        line.style.color, dash_of(line.style.dash), marks);
  }

  std::string legend() const {
    std::string text = "<p class=\"lines\">";
    for (const Line& line : panel_.lines)
      text += fmt::format(
          "<span><svg class=\"swatch\" viewBox=\"0 0 26 10\"><line x1=\"0\" x2=\"26\" y1=\"5\" "
          "y2=\"5\" stroke=\"{}\" stroke-width=\"{}\"{}/>{}</svg>{}</span>",
          line.style.color, line.shape == Shape::kLine ? "2.2" : "7", dash_of(line.style.dash),
          line.style.marker > 0 ? marker_svg(line.style, 13, 5) : "", escape(line.label));
    return text + "</p>";
  }

  const LinePlot& figure_;
  const Panel& panel_;
  std::int64_t shift_;
  Range range_;
  double deepest_ = 0;
};

}  // namespace

std::string panels_html(const LinePlot& figure, std::int64_t layer_shift) {
  std::string text = "<div class=\"panels\">\n";
  for (const Panel& panel : figure.panels) text += PanelPicture(figure, panel, layer_shift).html();
  return text + "</div>\n";
}

}  // namespace factflow
