// What figures decide before anything is drawn: tics, ranges, counts, names.
#include <cmath>
#include <limits>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "analysis/axis_tics.hpp"
#include "analysis/fonts.hpp"
#include "analysis/heatmap_plot.hpp"
#include "analysis/line_names.hpp"
#include "analysis/line_plot.hpp"
#include "analysis/number_text.hpp"
#include "analysis/plot_text.hpp"

namespace factflow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::vector<std::string> labels(const std::vector<Tic>& tics) {
  std::vector<std::string> texts;
  for (const Tic& tic : tics) texts.push_back(tic.label);
  return texts;
}

// Four windows of a model of twelve layers start at 0, 1/12, 2/12 and 3/12 of the depth.
TEST(AxisTics, ARelativeDepthStandsWhereItsStartIs) {
  const std::vector<Tic> depths = depth_tics_of_columns({0, 1, 2, 3}, 12, 4);
  EXPECT_THAT(labels(depths), ElementsAre("0", "0.1", "0.2"));
  for (size_t i = 0; i < depths.size(); ++i)
    EXPECT_NEAR(depths[i].position, 1.2 * static_cast<double>(i), 1e-12);
  EXPECT_THAT(layer_tics_of_columns({0, 1, 2, 3}, 4),
              ElementsAre(Tic{0, "0"}, Tic{1, "1"}, Tic{2, "2"}, Tic{3, "3"}));
}

TEST(AxisTics, EveryNumberOfColumnsGetsAFewTicsAtTheirPlaces) {
  for (const int layers : {1, 4, 12, 28, 64, 127})
    for (int columns = 1; columns <= layers; ++columns)
      for (const std::size_t most : {2U, 5U}) {
        std::vector<std::int32_t> starts;
        for (int start = 0; start < columns; ++start) starts.push_back(start);
        const std::vector<Tic> depths = depth_tics_of_columns(starts, layers, most),
                               layer = layer_tics_of_columns(starts, most);
        for (const std::vector<Tic>& tics : {depths, layer}) {
          ASSERT_GE(tics.size(), 1U);
          ASSERT_LE(tics.size(), most);
        }
        for (const Tic& tic : depths)
          EXPECT_NEAR(std::stod(tic.label), tic.position / layers, 1e-9) << layers;
        for (const Tic& tic : layer) EXPECT_EQ(std::stod(tic.label), tic.position);
      }
}

TEST(AxisTics, StartsNeedNotBeginAtZeroOrFollowEachOther) {
  EXPECT_THAT(layer_tics_of_columns({10, 20, 40}, 3), ElementsAre(Tic{1, "20"}, Tic{2, "40"}));
  const std::vector<Tic> depths = depth_tics_of_columns({10, 20, 40}, 100, 4);
  EXPECT_THAT(labels(depths), ElementsAre("0.1", "0.2", "0.3", "0.4"));
  EXPECT_NEAR(depths[2].position, 1.5, 1e-12);
  EXPECT_TRUE(depth_tics_of_columns({}, 12, 4).empty());
}

TEST(AxisTics, NumbersAreRoundAndNotCrowded) {
  EXPECT_THAT(labels(value_tics(-100, 20, 7)),
              ElementsAre("\u2212100", "\u221280", "\u221260", "\u221240", "\u221220", "0", "20"));
  EXPECT_THAT(labels(value_tics(60, 100, 7)), ElementsAre("60", "70", "80", "90", "100"));
  EXPECT_THAT(labels(value_tics(6, 9, 1)), ElementsAre("6"));
  EXPECT_THAT(labels(value_tics(0, 0, 3)), ElementsAre("0"));
  EXPECT_THAT(labels(layer_tics(0.75, 12, 5)), ElementsAre("0", "2", "4", "6", "8"));
  EXPECT_NEAR(layer_tics(0.75, 12, 5)[1].position, 2.0 / 12, 1e-12);
}

LinePoint at(double x, double y, double low, double high, std::size_t n) {
  return {x, y, low, high, n};
}

Line line_of(const std::string& label, const std::vector<LinePoint>& points) {
  Line line;
  line.label = label;
  line.style.color = "#000000";
  line.layers = 12;
  line.points = points;
  return line;
}

LinePlot two_lines() {
  LinePlot plot;
  plot.stem = "plot";
  plot.header = "gpt2";
  plot.panels.resize(2);
  for (Panel& panel : plot.panels) panel.axis = {"Accuracy (%)", 60, 100, 100, 0, 100};
  plot.panels[0].title = {"first"};
  plot.panels[0].lines = {line_of("a", {at(0, 100, 72, 100, 40), at(0.5, 30, 20, 42, 40)})};
  plot.panels[1].title = {"second"};
  plot.panels[1].lines = {line_of("b", {at(0, 90, 70, 128, 13)})};
  return plot;
}

TEST(LinePlots, RangesEndWhereValuesCannotBe) {
  LinePlot plot = two_lines();
  const Range range = range_of(plot, plot.panels[0].axis);
  EXPECT_EQ(range.high, 100);
  EXPECT_LE(range.low, 20);
  EXPECT_GE(range.low, 0);
  EXPECT_TRUE(cuts_bands(plot));  // 128 lies beyond
  plot.panels[1].lines[0].points[0].high = 100;
  EXPECT_FALSE(cuts_bands(plot));
  // The published limits where means and bands lie within them.
  plot.panels[0].lines[0].points.pop_back();
  EXPECT_EQ(range_of(plot, plot.panels[0].axis).low, 60);
  plot.panels[0].lines[0].points[0].low = 40;
  EXPECT_LE(range_of(plot, plot.panels[0].axis).low, 60);
}

TEST(LinePlots, CountsAreThoseOfTheLinesDrawn) {
  LinePlot plot = two_lines();
  EXPECT_EQ(count_of(plot.panels[0].lines), "n = 40");
  plot.panels[0].lines.push_back(plot.panels[1].lines[0]);
  EXPECT_EQ(count_of(plot.panels[0].lines), "n = 13 to 40");
  plot.panels[0].lines[1].points[0].y = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(count_of(plot.panels[0].lines), "n = 40");
  EXPECT_EQ(count_of({}), "n = 0");
}

TEST(LinePlots, LayersStandAboveOrInTheLegend) {
  LinePlot plot = two_lines();
  plot.panels[1].lines[0].layers = 64;
  EXPECT_EQ(common_layers(plot.panels[0]), 12);
  EXPECT_THAT(render(plot)[0].script, HasSubstr("set x2tics"));
  EXPECT_THAT(render(plot)[0].script, Not(HasSubstr("12 layers")));
  plot.panels[0].lines.push_back(plot.panels[1].lines[0]);
  EXPECT_EQ(common_layers(plot.panels[0]), 0);
  EXPECT_THAT(render(plot)[0].script, HasSubstr("'a, 12 layers'"));
  EXPECT_THAT(render(plot)[0].script, HasSubstr("'b, 64 layers'"));
  EXPECT_THAT(render(plot)[0].script, HasSubstr("'gpt2'"));
}

TEST(LinePlots, OneLineHasALegendAsWell) {
  LinePlot plot = two_lines();
  plot.panels.pop_back();
  EXPECT_THAT(render(plot)[0].script, HasSubstr("set label 'a' at"));
}

TEST(LinePlots, APanelsOwnLegendHasWholeNamesAndItsRoom) {
  LinePlot plot = two_lines();
  const Plot shared = render(plot)[0];
  plot.own_legends = true;
  EXPECT_THAT(render(plot)[0].script, HasSubstr("set label 'b' at"));
  const double low = render(plot)[0].height;
  plot.panels[1].lines[0].label = "a name of so many words that no single line has room for all";
  const Plot own = render(plot)[0];
  EXPECT_THAT(own.script, HasSubstr("set label 'a name of so many words that"));
  EXPECT_THAT(own.script, Not(HasSubstr("\u2026")));  // nothing is shortened
  EXPECT_GT(own.height, low);
  EXPECT_EQ(own.width, shared.width);
}

TEST(LinePlots, NothingIsTallerThanAPageAndAllPagesHaveOneRange) {
  LinePlot plot = two_lines();
  plot.columns = 3;
  plot.panels.resize(20, plot.panels[1]);
  for (Panel& panel : plot.panels) panel.lines[0].points[0] = at(0, 90, 80, 95, 13);
  plot.panels.back().lines[0].points[0] = at(0.75, 12, 10, 14, 13);
  std::size_t pages = 0, panels = 0;
  std::set<std::string> stems;
  for (const Plot& page : render(plot)) {
    EXPECT_LE(page.height, kPageHeight) << page.stem;
    EXPECT_TRUE(stems.insert(page.stem).second) << page.stem;
    if (page.stem.ends_with("_column")) continue;
    ++pages;
    std::size_t at = 0;
    for (; (at = page.script.find("set yrange", at)) != std::string::npos; ++at) {
      ++panels;
      EXPECT_NE(page.script.find("set yrange [0:100]", at), at + 1);
      EXPECT_LE(std::stod(page.script.substr(at + 12)), 12);
    }
    EXPECT_THAT(page.script, HasSubstr("set xrange [0:0.75]"));
    EXPECT_EQ(page.title, "gpt2");
    EXPECT_THAT(page.script, HasSubstr("'gpt2 (page "));
  }
  EXPECT_GE(pages, 2U);
  EXPECT_EQ(panels, 20U);
  EXPECT_EQ(stems.count("plot_page2"), 1U);
}

TEST(LinePlots, NamesStandBesideLinesWhereThereIsRoomAndNowhereElse) {
  const PanelBox box{2, 1.5, 1, -100, 0, 0};
  Line high = line_of("high", {at(0, -10, 0, 0, 1), at(0.5, -10, 0, 0, 1), at(1, -10, 0, 0, 1)}),
       low = line_of("low", {at(0, -80, 0, 0, 1), at(0.5, -80, 0, 0, 1), at(1, -80, 0, 0, 1)});
  const std::vector<PlacedName> names = place_names({high, low}, box);
  ASSERT_EQ(names.size(), 2U);
  EXPECT_EQ(names[0].text, "high");
  EXPECT_NEAR(names[0].y, 1.35, 0.12);  // beside its line, at 1.35 inches
  EXPECT_NEAR(names[1].y, 0.3, 0.12);
  // Lines on top of each other: a name there would say nothing.
  low.points = high.points;
  EXPECT_TRUE(place_names({high, low}, box).empty());
  high.shape = low.shape = Shape::kDots;
  EXPECT_TRUE(place_names({high, low}, box).empty());
  EXPECT_TRUE(place_names({}, box).empty());
  high.shape = Shape::kLine;
  high.label = std::string(60, 'x');  // longer than the panel
  EXPECT_TRUE(place_names({high}, box).empty());
}

TEST(LinePlots, MarkersStandOnLongLinesAndInTheLegend) {
  LinePlot plot = two_lines();
  plot.panels.pop_back();
  Line& line = plot.panels[0].lines[0];
  line.points.clear();
  for (int i = 0; i < 36; ++i) line.points.push_back(at(i / 48.0, -i, -i, -i, 5));
  EXPECT_THAT(render(plot)[0].script, Not(HasSubstr("linespoints")));
  line.style.marker = 3;
  EXPECT_THAT(render(plot)[0].script, HasSubstr("linespoints pt 9 ps 0.45 pi 6"));
  EXPECT_THAT(render(plot)[0].script, HasSubstr("point pt 9 ps 0.5"));
}

HeatmapPlot map_of(std::vector<float> probability, std::vector<std::string> tokens) {
  HeatmapPlot plot;
  plot.stem = "map";
  plot.header = "gpt2";
  HeatmapResult data{1, "fit", 7, std::move(tokens), {0}, std::move(probability)};
  plot.panels.push_back({{"window 1"}, std::move(data), 12, 0.5, 0, 1});
  return plot;
}

TEST(HeatmapPlots, TheColorBarSaysWhereValuesLieBeyondIt) {
  EXPECT_EQ(color_ends(map_of({0.4F, 0.6F}, {"a", "b"}), 0.3).low, "\u22120.3");
  EXPECT_EQ(color_ends(map_of({0.4F, 0.6F}, {"a", "b"}), 0.3).high, "+0.3");
  EXPECT_EQ(color_ends(map_of({0.1F, 0.6F}, {"a", "b"}), 0.3).low, "\u2264 \u22120.3");
  EXPECT_EQ(color_ends(map_of({0.1F, 0.9F}, {"a", "b"}), 0.3).high, "\u2265 +0.3");
  const float none = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(color_ends(map_of({none, 0.6F}, {"a", "b"}), 0.3).low, "\u22120.3");
}

TEST(HeatmapPlots, ClippedCellsHaveDotsAndTheCaptionSaysSo) {
  const std::vector<Plot> plots = render(map_of({0.1F, 0.9F, 0.5F}, {"a", "b", "c"}), {});
  EXPECT_THAT(plots[0].script, HasSubstr("$c0 using 1:2:3 with points"));
  EXPECT_THAT(plots[0].data, HasSubstr("$c0 << EOD\n0 0 16777215\n0 1 16777215\nEOD"));
  EXPECT_THAT(plots[0].notes.back(), HasSubstr("A dot marks a cell that lies beyond."));
  const Plot within = render(map_of({0.4F, 0.6F}, {"a", "b"}), {})[0];
  EXPECT_THAT(within.script, Not(HasSubstr("$c0")));
  EXPECT_THAT(within.notes.back(), Not(HasSubstr("dot")));
}

TEST(HeatmapPlots, AreDrawnInThePublishedColoursAndForAllEyes) {
  HeatmapPlot plot = map_of({0.4F, 0.6F}, {"a", "b"});
  const std::vector<Plot> plots = render(plot, {});
  ASSERT_EQ(plots.size(), 3U);
  EXPECT_EQ(plots[1].stem, "map_column");
  EXPECT_EQ(plots[2].stem, "map_for_all_eyes");
  EXPECT_THAT(plots[0].script, HasSubstr("#A50026"));
  EXPECT_THAT(plots[2].script, HasSubstr("#00224E"));
  plot.scale = ColorScale{0, 1, "0", "1", "effect", "0 '#FFFFFF', 1 '#000000'"};
  EXPECT_EQ(render(plot, {}).size(), 2U);  // for all eyes as it is
}

TEST(HeatmapPlots, NothingIsTallerThanAPage) {
  HeatmapPlot tall = map_of(std::vector<float>(120, 0.4F), std::vector<std::string>(120, "word"));
  for (const Plot& plot : render(tall, {})) EXPECT_LE(plot.height, kPageHeight + 1e-9);
  EXPECT_THAT(render(tall, {})[0].script, HasSubstr("font ',3.8'"));
  HeatmapPlot many = map_of(std::vector<float>(14, 0.4F), std::vector<std::string>(14, "word"));
  many.panels.resize(18, many.panels[0]);
  std::size_t panels = 0;
  for (const Plot& plot : render(many, {})) {
    EXPECT_LE(plot.height, kPageHeight + 1e-9) << plot.stem;
    if (!plot.stem.ends_with("_column") && !plot.stem.ends_with("_eyes"))
      panels += plot.notes.size() - 1;
  }
  EXPECT_EQ(panels, 18U);
}

// The bar stood a share of the panel's width beside it: in wide panels, over the names.
TEST(HeatmapPlots, TheSubjectsBarStandsInAGapBesideTheNames) {
  const std::string script = render(map_of({0.4F, 0.6F}, {"a", "b"}), {})[0].script;
  const std::size_t names = script.find("noenhanced offset screen -"),
                    margin = script.find("set lmargin at screen "),
                    arrow = script.find("set arrow 1 from screen ");
  ASSERT_NE(names, std::string::npos);
  ASSERT_NE(arrow, std::string::npos);
  const double gap = std::stod(script.substr(names + 26)),
               left = std::stod(script.substr(margin + 22)),
               bar = std::stod(script.substr(arrow + 24));
  EXPECT_LT(bar, left);
  EXPECT_GT(bar, left - gap);
}

TEST(HeatmapPlots, LongNamesTakeColumnsAwayAndNotTheMaps) {
  HeatmapPlot plot = map_of({0.4F, 0.6F}, {"an", std::string(40, 'x')});
  plot.panels.resize(4, plot.panels[0]);
  plot.columns = 4;
  const std::string script = render(plot, {})[0].script;
  // Left and right ends of the first panel, as shares of 6.3 inches.
  const double left = std::stod(script.substr(script.find("lmargin at screen ") + 18)),
               right = std::stod(script.substr(script.find("rmargin at screen ") + 18));
  EXPECT_GE((right - left) * 6.3, 0.9);
}

// Two prompts, of which the second was drawn at one window size only.
HeatmapPlot grid_with_a_gap(const std::string& token) {
  HeatmapPlot plot = map_of({0.4F, 0.6F}, {"an", token});
  plot.columns = 2;
  plot.grid = true;
  plot.panels.push_back(plot.panels[0]);
  plot.panels.push_back({});
  plot.panels.push_back(plot.panels[0]);
  return plot;
}

std::vector<double> numbers_after(const std::string& text, const std::string& before) {
  std::vector<double> numbers;
  for (std::size_t at = text.find(before); at != std::string::npos; at = text.find(before, at)) {
    at += before.size();
    numbers.push_back(std::stod(text.substr(at)));
  }
  return numbers;
}

TEST(HeatmapPlots, AGapKeepsTheColumnsOfAGrid) {
  const std::vector<double> left =
      numbers_after(render(grid_with_a_gap("b"), {})[0].script, "set lmargin at screen ");
  ASSERT_EQ(left.size(), 3U);
  EXPECT_EQ(left[2], left[1]);
  EXPECT_GT(left[1], left[0]);
  // In one column panels stand below each other, without room for what is not there.
  const Plot with = render(grid_with_a_gap("b"), {})[1];
  HeatmapPlot three = map_of({0.4F, 0.6F}, {"an", "b"});
  three.panels.resize(3, three.panels[0]);
  EXPECT_EQ(with.height, render(three, {})[1].height);
  EXPECT_EQ(with.script, render(three, {})[1].script);
}

TEST(HeatmapPlots, ARowThatIsTooWideIsBrokenAndTheNextBeginsOnANewLine) {
  HeatmapPlot plot = map_of({0.4F, 0.6F}, {"an", std::string(17, 'x')});
  plot.panels.resize(8, plot.panels[0]);
  plot.columns = 4;  // of which two fit
  plot.grid = true;
  plot.panels[2] = {};
  const std::vector<double> left =
      numbers_after(render(plot, {})[0].script, "set lmargin at screen ");
  ASSERT_EQ(left.size(), 7U);
  EXPECT_EQ(left[0], left[2]);  // three of the first row, and a gap
  EXPECT_EQ(left[0], left[3]);  // the second row
  EXPECT_EQ(left[1], left[4]);
}

std::string script_of(HeatmapPlot plot, const FontCoverage& fonts = {},
                      std::vector<std::int32_t> ids = {17, 4711}) {
  plot.panels[0].data.token_ids = std::move(ids);
  FigureOptions options;
  options.fonts = fonts;
  return render(plot, options)[0].script;
}

TEST(HeatmapPlots, TokensThatCannotBeReadAreNamedByTheirIds) {
  const FontCoverage latin("20-7e a0-24f 2010-203a 2423\n");
  const auto name = [&](const std::string& token, const FontCoverage& fonts) {
    return script_of(map_of({0.4F, 0.6F}, {"a", token}), fonts);
  };
  EXPECT_THAT(name(" \u4E2D\u6587", {}), HasSubstr("'\u4E2D\u6587*' 1"));
  EXPECT_THAT(name(" \u4E2D\u6587", latin), HasSubstr("'#4711*' 1"));
  EXPECT_THAT(name("\U0001F914", latin), HasSubstr("'#4711*' 1"));
  EXPECT_THAT(name("caf\u00E9", latin), HasSubstr("'caf\u00E9*' 1"));
  EXPECT_THAT(name("\uFFFD", {}), HasSubstr("'#4711*' 1"));  // part of a character
  EXPECT_THAT(name("\u200D", {}), HasSubstr("'#4711*' 1"));  // nothing to see
  EXPECT_THAT(name("  ", latin), HasSubstr("'\u2423*' 1"));
  EXPECT_THAT(script_of(map_of({0.4F, 0.6F}, {"a", "\uFFFD"}), {}, {}),
              HasSubstr("'\uFFFD*' 1"));  // results without ids
}

TEST(HeatmapPlots, TheStarStandsAtTheRightOfNamesThatRunToTheLeft) {
  EXPECT_THAT(script_of(map_of({0.4F, 0.6F}, {"a", "\u0645\u062F\u064A\u0646\u0629"})),
              HasSubstr("'\u200E\u0645\u062F\u064A\u0646\u0629\u200E*' 1"));
}

TEST(Fonts, CoverageIsTheUnionOfTheListedRanges) {
  const FontCoverage fonts("20-7e a0-ff\n41-5a 4e00-9fa5\n\nnonsense 9-\n1f914\n");
  for (const char32_t drawn : {U' ', U'A', U'~', U'\u00E9', U'\u4E2D', U'\U0001F914', U'\u200D'})
    EXPECT_TRUE(fonts.draws(drawn)) << static_cast<std::uint32_t>(drawn);
  for (const char32_t missing : {U'\u0627', U'\U0001F915', U'\u9FA6', U'\u3042'})
    EXPECT_FALSE(fonts.draws(missing)) << static_cast<std::uint32_t>(missing);
  EXPECT_TRUE(FontCoverage().draws("\u3042"));
  std::set<char32_t> missing;
  EXPECT_EQ(drawable("\u4E2D\u3042b\u0627", fonts, missing), "\u4E2D\u25A1b\u25A1");
  EXPECT_THAT(missing_fonts(missing), HasSubstr("2 characters of the prompts"));
  EXPECT_THAT(missing_fonts(missing), HasSubstr("(U+0627, U+3042)"));
  EXPECT_THAT(missing_fonts(missing), HasSubstr("fonts-wqy-microhei"));
  EXPECT_EQ(missing_fonts({}), "");
}

TEST(Numbers, WhatIsRoundedToZeroHasNoSign) {
  EXPECT_EQ(signed_number(-0.04, 1), "0.0");
  EXPECT_EQ(signed_number(0.04, 1), "0.0");
  EXPECT_EQ(signed_number(-0.06, 1), "-0.1");
  EXPECT_EQ(signed_number(12, 2), "+12.00");
  EXPECT_EQ(signed_number(std::numeric_limits<double>::quiet_NaN(), 1), "-");
  EXPECT_EQ(signed_number(-0.5, 2), "-0.50");
  EXPECT_EQ(interval_text({-0.02, 3}, "none"), "[0.0, +3.0]");
  const double none = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(interval_text({none, none}, "none"), "none");
}

TEST(PlotText, WidthsAreThoseOfWhatIsSeen) {
  EXPECT_EQ(count_letters("\u4E2D\u6587"), 4U);
  EXPECT_EQ(count_letters("e\u0301"), 1U);                     // with its accent
  EXPECT_EQ(count_letters("\U0001F469\u200D\U0001F4BB"), 2U);  // one emoji of three parts
  EXPECT_EQ(count_letters("\U0001F1E9\U0001F1EA"), 2U);        // a flag
  EXPECT_EQ(count_letters("\u0645\u062F\u064A\u0646\u0629"), 5U);
  EXPECT_EQ(shorten("\u4E2D\u6587\u5B57", 5), "\u4E2D\u6587\u2026");
  EXPECT_EQ(shorten("\u4E2D\u6587\u5B57", 4), "\u4E2D\u2026");
  EXPECT_EQ(shorten("e\u0301e\u0301e\u0301", 2), "e\u0301\u2026");
  EXPECT_THAT(wrap("\u4E2D\u6587\u5B57 ab", 4), ElementsAre("\u4E2D\u6587", "\u5B57", "ab"));
  EXPECT_EQ(count_letters(std::string("\xE4\xB8", 2)), 2U);  // bytes that are no character
}

TEST(PlotText, FitsByLettersAndKeepsBothEnds) {
  EXPECT_EQ(count_letters("\u2192 a"), 3U);
  EXPECT_EQ(shorten("abcdef", 4), "abc\u2026");
  EXPECT_EQ(shorten_middle("abcdefgh", 5), "ab\u2026gh");
  EXPECT_EQ(shorten_middle("abc", 3), "abc");
  EXPECT_THAT(wrap("one two three", 7), ElementsAre("one two", "three"));
  EXPECT_THAT(wrap("extraordinary", 5), ElementsAre("ex\u2026ry"));
}

}  // namespace
}  // namespace factflow
