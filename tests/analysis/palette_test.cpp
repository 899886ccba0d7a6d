// Colours that carry a meaning differ for all eyes: trichromats, and dichromats of the three kinds.
#include "analysis/palette.hpp"

#include <array>
#include <cmath>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "analysis/model_styles.hpp"
#include "base/error.hpp"

namespace factflow {
namespace {

using Vector = std::array<double, 3>;
using Matrix = std::array<Vector, 3>;

// What dichromats see, in linear RGB: Machado, Oliveira and Fernandes (2009), severity 1.
const std::vector<std::pair<const char*, Matrix>> kEyes = {
    {"trichromat", {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}}},
    {"protanope",
     {{{0.152286, 1.052583, -0.204868},
       {0.114503, 0.786281, 0.099216},
       {-0.003882, -0.048116, 1.051998}}}},
    {"deuteranope",
     {{{0.367322, 0.860646, -0.227968},
       {0.280085, 0.672501, 0.047413},
       {-0.011820, 0.042940, 0.968881}}}},
    {"tritanope",
     {{{1.255528, -0.076749, -0.178779},
       {-0.078411, 0.930809, 0.147602},
       {0.004733, 0.691367, 0.303900}}}}};

Vector operator*(const Matrix& matrix, const Vector& vector) {
  Vector product{};
  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t j = 0; j < 3; ++j) product[i] += matrix[i][j] * vector[j];
  return product;
}

Vector linear_rgb(const std::string& color) {
  Vector rgb{};
  for (std::size_t i = 0; i < 3; ++i) {
    const double value = std::stoi(color.substr(1 + 2 * i, 2), nullptr, 16) / 255.0;
    rgb[i] = value <= 0.04045 ? value / 12.92 : std::pow((value + 0.055) / 1.055, 2.4);
  }
  return rgb;
}

// CIE 1976 L*a*b*, white D65.
Vector lab(const Vector& rgb) {
  const Matrix to_xyz = {{{0.4124564, 0.3575761, 0.1804375},
                          {0.2126729, 0.7151522, 0.0721750},
                          {0.0193339, 0.1191920, 0.9503041}}};
  const Vector xyz = to_xyz * rgb, white = {0.95047, 1, 1.08883};
  Vector f{};
  for (std::size_t i = 0; i < 3; ++i) {
    const double t = std::max(0.0, xyz[i] / white[i]);
    f[i] = t > 0.008856 ? std::cbrt(t) : 7.787 * t + 16.0 / 116;
  }
  return {116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])};
}

void expect_different(const std::vector<std::string>& colors, double least) {
  for (const auto& [eye, matrix] : kEyes)
    for (std::size_t a = 0; a < colors.size(); ++a)
      for (std::size_t b = 0; b < a; ++b) {
        const Vector one = lab(matrix * linear_rgb(colors[a])),
                     other = lab(matrix * linear_rgb(colors[b]));
        const double distance = std::hypot(one[0] - other[0], one[1] - other[1], one[2] - other[2]);
        EXPECT_GE(distance, least) << eye << " " << colors[a] << " " << colors[b];
      }
}

TEST(Palette, SourcesDifferForAllEyes) {
  std::vector<std::string> colors;
  for (const char* role :
       {"subject", "relation", "last", "first", "context", "relation-minus-last", "all"})
    colors.push_back(role_style(role).color);
  expect_different(colors, 15);
}

TEST(Palette, FamiliesOfThePaperDifferForAllEyes) {
  std::vector<std::string> colors;
  for (const char* family : {"mamba", "mamba2", "falcon_mamba", "gpt2"})
    colors.push_back(family_style(family, 0, 1).color);
  expect_different(colors, 15);
}

TEST(Palette, NoTwoModelsOfARunLookAlike) {
  const std::vector<LineStyle> styles =
      model_styles({"mamba", "falcon_h1", "mamba", "qwen3_5", "gpt2", "jamba", "zamba2", "rwkv7"});
  std::set<std::tuple<std::string, int, int>> looks;
  for (const LineStyle& style : styles)
    EXPECT_TRUE(looks.insert({style.color, style.dash, style.marker}).second) << style.color;
  EXPECT_EQ(styles[4].color, family_style("gpt2", 0, 1).color);
  EXPECT_EQ(styles[0].color, family_style("mamba", 0, 2).color);
  // In grey there are dashes and markers.
  std::set<std::pair<int, int>> grey;
  for (const std::size_t i : {1U, 3U, 5U, 6U, 7U})
    EXPECT_TRUE(grey.insert({styles[i].dash, styles[i].marker}).second) << i;
}

TEST(Palette, PlainLinesDifferForAllEyes) {
  std::vector<std::string> colors;
  std::set<int> dashes;
  for (std::size_t i = 0; i < 5; ++i) {
    colors.push_back(plain_style(i).color);
    dashes.insert(plain_style(i).dash);
  }
  expect_different(colors, 15);
  EXPECT_EQ(dashes.size(), 5U);
}

// In grey there are lightness, dashes and markers: neighbours differ in all three.
TEST(Palette, OrderedLinesDifferInGrey) {
  for (const std::size_t count : {2U, 3U, 5U, 6U, 12U}) {
    std::set<std::pair<int, int>> looks;
    for (std::size_t i = 0; i < count; ++i) {
      const LineStyle style = ordered_style(i, count);
      EXPECT_TRUE(looks.insert({style.dash, style.marker}).second) << i << " of " << count;
      EXPECT_GE(style.marker, 1);
      EXPECT_LE(style.marker, kMarkers);
      if (i > 0) EXPECT_NE(style.dash, ordered_style(i - 1, count).dash);
      if (i > 0) EXPECT_NE(style.color, ordered_style(i - 1, count).color);
    }
  }
  EXPECT_EQ(ordered_style(0, 1).marker, 0);
  EXPECT_NE(family_style("mamba", 0, 3).marker, family_style("mamba", 1, 3).marker);
  EXPECT_NE(channel_style("quantile 1/5").dash, channel_style("quantile 2/5").dash);
}

double luminance(const Vector& rgb) {
  return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2];
}

TEST(Palette, TheMapForAllEyesGrowsLighterAllTheWay) {
  const std::string list = diverging_palette(kPaletteForAll);
  for (const auto& [eye, matrix] : kEyes) {
    double before = -1;
    for (std::size_t at = list.find('#'); at != std::string::npos; at = list.find('#', at + 1)) {
      const double now = luminance(matrix * linear_rgb(list.substr(at, 7)));
      EXPECT_GT(now, before + 0.005) << eye << " " << list.substr(at, 7);
      before = now;
    }
  }
  EXPECT_THROW(diverging_palette("jet"), InputError);
}

TEST(Palette, ChannelSetsDifferForAllEyes) {
  expect_different(
      {channel_style("all").color, channel_style("slow").color, channel_style("fast").color}, 30);
  EXPECT_NE(channel_style("slow").dash, channel_style("not-fast").dash);
  EXPECT_NE(channel_style("slow").marker, channel_style("fast").marker);  // in grey
}

// Light to dark without a turn, for all eyes: it can be read in grey.
TEST(Palette, ASequentialMapOnlyGrowsDarker) {
  for (const auto& [eye, matrix] : kEyes) {
    double before = 2;
    for (int i = 0; i <= 40; ++i) {
      const Vector rgb = matrix * linear_rgb(sequential_color(i / 40.0));
      const double luminance = 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2];
      EXPECT_LT(luminance, before - 0.005) << eye << " at " << i / 40.0;
      before = luminance;
    }
  }
  EXPECT_EQ(sequential_color(-1), "#FFFFFF");
  EXPECT_EQ(sequential_color(2), "#08306B");
}

}  // namespace
}  // namespace factflow
