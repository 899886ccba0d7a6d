// The whole analysis, from a file to tables, figures and the report.
#include "analysis/analyse.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <utility>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "analysis/csv.hpp"
#include "analysis/fonts.hpp"
#include "analysis/gnuplot.hpp"
#include "analysis/html.hpp"
#include "base/error.hpp"
#include "base/files.hpp"
#include "experiments/evaluate/evaluation_arrays.hpp"
#include "experiments/heatmap/heatmap_arrays.hpp"
#include "experiments/sweep/knockout_arrays.hpp"
#include "tests/analysis/synthetic_results.hpp"

namespace factflow {
namespace {

using testing::HasSubstr;
using testing::Not;

bool has_gnuplot() {
  return std::system("gnuplot --version > /dev/null 2>&1") == 0;
}

class Analyse : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) /
              ("factflow_analyse_" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { remove_tree(folder_); }

  std::string text(const std::string& file) const { return read_file(folder_ / file); }

  static SyntheticOptions small() {
    SyntheticOptions options = synthetic_report();
    options.models = {{"gpt2", "gpt2", 8, 1e8}, {"mamba", "mamba", 12, 1e8}};
    options.prompts = 24;
    options.windows = {1, 3};
    options.edges = {"subject->last", "context->last", "last->last", "subject->last/slow",
                     "subject->last/fast"};
    options.heatmap_prompts = 1;
    options.failed_share = 0.1;
    return options;
  }
  static AnalysisOptions quick() {
    AnalysisOptions options;
    options.study.bootstrap.resamples = 50;
    return options;
  }

  std::filesystem::path folder_;
};

TEST_F(Analyse, WritesEverythingAndSaysWhatItFound) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  write_synthetic_results(folder_ / "results.h5", small());
  const AnalysisSummary summary = analyse(folder_, quick());
  EXPECT_EQ(summary.tables, 42U);
  EXPECT_THAT(summary.findings, HasSubstr("mamba  subject->last"));
  EXPECT_THAT(summary.findings,
              HasSubstr("Blocking subject \u2192 last lowers the answer's probability in 1 of 1 "
                        "Transformer: gpt2 by"));
  EXPECT_THAT(summary.findings, HasSubstr("prompts or units failed"));
  EXPECT_THAT(summary.findings, Not(HasSubstr("not finished")));
  for (const char* stem : {"models", "edges_gpt2", "edges_mamba", "channels_subject-last",
                           "windows_gpt2", "windows_mamba", "heatmap_100"})
    for (const char* ending : {".svg", ".pdf", ".png", "_column.pdf"})
      EXPECT_GT(std::filesystem::file_size(folder_ / "figures" / (std::string(stem) + ending)),
                1000U)
          << stem;
  const std::string page = text("report.html");
  EXPECT_THAT(page, HasSubstr("Apache ECharts"));
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));  // nothing is loaded from anywhere
  EXPECT_THAT(page, HasSubstr("tables/curves.csv"));
  EXPECT_THAT(text("tables/failures.csv"), HasSubstr("the subject has no token"));
  EXPECT_THAT(text("tables/curves.csv"), testing::StartsWith("model,family,layers,edge,"));
}

// What the program says on its standard output.
std::string output_of(const std::string& command) {
  std::string text;
  std::FILE* pipe = ::popen(command.c_str(), "r");
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) text += static_cast<char>(c);
  ::pclose(pipe);
  return text;
}

TEST_F(Analyse, FiguresForPapersHoldTheirFontsAndFitTheColumns) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  if (std::system("pdffonts -v > /dev/null 2>&1") != 0)
    GTEST_SKIP() << "poppler-utils is not installed";
  write_synthetic_results(folder_ / "results.h5", small());
  analyse(folder_, quick());
  for (const char* stem : {"models", "edges_mamba", "heatmap_100"})
    for (const auto& [ending, points] :
         {std::pair{".pdf", 6.3 * 72}, std::pair{"_column.pdf", 3.03 * 72}}) {
      const std::string file = (folder_ / "figures" / (std::string(stem) + ending)).string();
      const std::string fonts = output_of("pdffonts " + file);
      EXPECT_THAT(fonts, HasSubstr("TrueType")) << file;
      EXPECT_THAT(fonts, Not(HasSubstr(" no  "))) << file << "\n" << fonts;  // column "emb"
      const std::string info = output_of("pdfinfo " + file);
      const std::size_t at = info.find("Page size:");
      ASSERT_NE(at, std::string::npos) << file;
      EXPECT_NEAR(std::stod(info.substr(at + 10)), points, 1) << file;
    }
}

// Everything that the paper draws, from results that hold its ingredients.
TEST_F(Analyse, EveryKindOfFigureIsDrawn) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  SyntheticOptions options = small();
  options.models = {{"gpt2-small", "gpt2", 8, 1e8},
                    {"gpt2-large", "gpt2", 10, 1e9},
                    {"mamba-small", "mamba", 8, 1e8},
                    {"mamba-large", "mamba", 12, 1e9},
                    {"mamba2", "mamba2", 8, 1e8}};
  options.heatmap_windows = {1, 3};
  options.own_prompts = true;
  write_synthetic_results(folder_ / "results.h5", options);
  analyse(folder_, quick());
  for (const char* stem :
       {"models", "sizes_gpt2", "sizes_mamba", "channels_subject-last", "windows_mamba-large",
        "prompts", "heatmap_100", "heatmap_windows_gpt2-small"})
    EXPECT_TRUE(std::filesystem::exists(folder_ / "figures" / (std::string(stem) + ".pdf")))
        << stem;
  EXPECT_THAT(text("tables/curves.csv"), HasSubstr(",shared,"));
  EXPECT_THAT(text("tables/claims.csv"), HasSubstr("gpt2-small against gpt2-large"));
}

// Words between quotes that follow `before`: what links of a page name, or what it has.
std::set<std::string> quoted_after(const std::string& page, const std::string& before) {
  std::set<std::string> found;
  for (std::size_t at = page.find(before); at != std::string::npos; at = page.find(before, at)) {
    at += before.size();
    found.insert(page.substr(at, page.find('"', at) - at));
  }
  return found;
}

TEST_F(Analyse, OneModelIsNamedInItsFiguresAndEveryLinkLeadsSomewhere) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  SyntheticOptions options = small();
  options.models = {{"only", "mamba", 8, 1e8}};
  options.heatmap_windows = {1, 3};
  write_synthetic_results(folder_ / "results.h5", options);
  analyse(folder_, quick());
  for (const char* stem :
       {"models", "edges_only", "windows_only", "heatmap_windows_only", "heatmap_100"})
    EXPECT_THAT(text("figures/" + std::string(stem) + ".svg"), HasSubstr(">only")) << stem;
  const std::string page = text("report.html");
  const std::set<std::string> ids = quoted_after(page, " id=\"");
  EXPECT_EQ(ids.count("pairs"), 0U);  // of one model there are none
  for (const std::string& place : quoted_after(page, "href=\"#"))
    EXPECT_EQ(ids.count(place), 1U) << place;
}

// Files of figures/, sorted.
std::set<std::string> figures_in(const std::filesystem::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "figures"))
    names.insert(entry.path().filename().string());
  return names;
}

TEST_F(Analyse, OnlyTheFiguresThatAreAskedForAreDrawnWithTheirCaptions) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  SyntheticOptions made = small();
  made.heatmap_prompts = 3;
  write_synthetic_results(folder_ / "results.h5", made);
  AnalysisOptions options = quick();
  options.figures.only = {"models", "heatmap_*"};
  options.figures.formats = {"svg"};
  options.figures.prompts = {114};
  EXPECT_EQ(analyse(folder_, options).problem, "");
  EXPECT_THAT(figures_in(folder_),
              testing::UnorderedElementsAre("models.svg", "models_column.svg", "models.txt",
                                            "heatmap_114.svg", "heatmap_114_column.svg",
                                            "heatmap_114_for_all_eyes.svg", "heatmap_114.txt"));
  // Title, what is drawn, n, and where it comes from.
  EXPECT_THAT(text("figures/models.txt"),
              testing::AllOf(HasSubstr("2 models, window of 1 layer."), HasSubstr("n = "),
                             HasSubstr("Panel subject \u2192 last"), HasSubstr("results digest")));
  EXPECT_THAT(text("figures/heatmap_114.txt"),
              testing::AllOf(HasSubstr("Prompt 114: "), HasSubstr("p(clean)"),
                             HasSubstr("Colour: p \u2212 p(clean)")));
  EXPECT_THAT(text("report.html"), HasSubstr("figures/models.txt"));
  const auto refused = [&](AnalysisOptions wrong, const std::string& words) {
    try {
      analyse(folder_, wrong);
      FAIL() << words;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr(words));
    }
  };
  AnalysisOptions wrong = quick();
  wrong.figures.only = {"modles"};
  refused(wrong, "no figure is called 'modles'; the figures are: models, ");
  wrong = quick();
  wrong.figures.prompts = {7};
  refused(wrong, "no map of prompt 7 is stored; there are maps of: 100, 114");
}

TEST_F(Analyse, OnlyTheModelsThatAreAskedForAreAnalysedUnderTheirLabels) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  write_synthetic_results(folder_ / "results.h5", small());
  AnalysisOptions options = quick();
  options.figures.only = {"models"};
  options.models.names = {"mamba"};
  options.models.labels = {{"mamba", "Mamba, 130M"}};
  const AnalysisSummary summary = analyse(folder_, options);
  EXPECT_THAT(summary.findings, testing::AllOf(HasSubstr("Mamba, 130M"), Not(HasSubstr("gpt2"))));
  EXPECT_THAT(summary.findings,
              Not(HasSubstr("no result")));  // what is not asked for is not missing
  EXPECT_THAT(text("tables/curves.csv"),
              testing::AllOf(HasSubstr("\"Mamba, 130M\""), Not(HasSubstr("gpt2"))));
  EXPECT_THAT(text("figures/models.svg"), HasSubstr("Mamba, 130M"));
  // Both, the other way round.
  options.models.names = {"mamba", "gpt2"};
  analyse(folder_, options);
  const std::string models = text("tables/models.csv");
  EXPECT_LT(models.find("Mamba, 130M"), models.find("gpt2"));
  const auto refused = [&](ModelChoice choice, const std::string& words) {
    AnalysisOptions wrong = quick();
    wrong.models = std::move(choice);
    try {
      analyse(folder_, wrong);
      FAIL() << words;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr(words));
    }
  };
  refused({{"mamba3"}, {}},
          "--models: no model 'mamba3' in these results; name some of: gpt2, mamba");
  refused({{"mamba", "mamba"}, {}}, "'mamba' is given twice");
  refused({{}, {{"mamba3", "x"}}}, "--labels: no model 'mamba3'");
  refused({{}, {{"mamba", ""}}}, "'mamba' has no label that can be shown");
  refused({{}, {{"mamba", "gpt2"}}}, "two models would be called 'gpt2'");
}

TEST_F(Analyse, DepthAndChangeHaveOneNameAndAccuracyEndsAtAll) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  write_synthetic_results(folder_ / "results.h5", small());
  analyse(folder_, quick());
  for (const char* file : {"figures/models.svg", "figures/edges_mamba.svg",
                           "figures/heatmap_100.svg", "report.html"}) {
    EXPECT_THAT(text(file), HasSubstr("Relative depth")) << file;
    EXPECT_THAT(text(file), Not(HasSubstr("Layer depth"))) << file;
    EXPECT_THAT(text(file), Not(HasSubstr("Probability diff"))) << file;
  }
  EXPECT_THAT(text("figures/edges_mamba.svg"), HasSubstr(">100<"));
  for (const char* beyond : {">105<", ">110<", ">120<"})
    EXPECT_THAT(text("figures/edges_mamba.svg"), Not(HasSubstr(beyond)));
}

TEST_F(Analyse, SetsOfPromptsAreKeptApart) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  SyntheticOptions options = small();
  options.models.push_back({"mamba2", "mamba2", 8, 1e8});
  options.named_sets = true;
  write_synthetic_results(folder_ / "results.h5", options);
  analyse(folder_, quick());
  const std::string effects = text("tables/effects.csv");
  EXPECT_THAT(effects, HasSubstr("gpt2,gpt2,8,subject->last,subject,last,all,both,half,"));
  EXPECT_THAT(effects, HasSubstr("gpt2,gpt2,8,subject->last,subject,last,all,both,own,"));
  EXPECT_THAT(effects, Not(HasSubstr("mamba2,mamba2,8,subject->last,subject,last,all,both,half,")));
  // Window 3 was asked of the other set only.
  EXPECT_THAT(effects, Not(HasSubstr(",own,3,")));
  EXPECT_THAT(text("tables/findings.csv"), Not(HasSubstr(",own,")));  // the main set only
  for (const char* stem : {"models", "models_own", "channels_subject-last_own", "prompts"})
    EXPECT_TRUE(std::filesystem::exists(folder_ / "figures" / (std::string(stem) + ".pdf")))
        << stem;
}

// Window sizes whose heat maps are of different prompts.
TEST_F(Analyse, HeatMapsOfSeveralWindowSizesNeedNotShareTheirPrompts) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  const std::map<std::int64_t, std::vector<std::int64_t>> drawn = {
      {1, {4}}, {2, {1, 2}}, {3, {2, 3}}};
  {
    PromptTable prompts;
    for (std::int64_t id = 1; id <= 4; ++id) {
      prompts.id.push_back(id);
      prompts.text.push_back("prompt " + std::to_string(id));
    }
    prompts.subject = prompts.answer = prompts.relation = std::vector<std::string>(4, "x");
    ResultsWriter writer(folder_ / "results.h5", RunInfo{}, prompts);
    for (const char* model : {"all", "apart"}) {
      writer.begin_model({model, "gpt2", "", 4, 8, 100, 1000, "", ""});
      std::vector<HeatmapResult> maps;
      for (const auto& [window, ids] : drawn)
        for (const std::int64_t id : ids)
          if (std::string(model) == "all" || window != 2)
            maps.push_back({window, "fit", id, {"a", "b"}, {0, 1}, {0.1F, 0.2F, 0.3F, 0.4F}});
      for (const ArrayGroup& group : arrays_of(maps)) writer.write(group);
    }
    writer.publish({});
  }
  const AnalysisSummary summary = analyse(folder_, quick());
  EXPECT_EQ(summary.problem, "");
  // Each prompt has its figure at a size at which it was drawn; one model has a prompt at two.
  EXPECT_EQ(summary.figures, 5U);
  EXPECT_THAT(text("figures/heatmap_1.svg"), HasSubstr("window 2, p(clean) unknown"));
  EXPECT_THAT(text("figures/heatmap_2.svg"), HasSubstr("window 3,"));
  EXPECT_THAT(text("figures/heatmap_4.svg"), HasSubstr("window 1,"));
  const std::string sizes = text("figures/heatmap_windows_all.svg");
  EXPECT_THAT(sizes, HasSubstr("prompt 2"));
  EXPECT_THAT(sizes, Not(HasSubstr("prompt 1")));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "figures" / "heatmap_windows_apart.svg"));
}

TEST_F(Analyse, IsReproducible) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  write_synthetic_results(folder_ / "results.h5", small());
  analyse(folder_, quick());
  const std::string page = text("report.html"), effects = text("tables/effects.csv");
  analyse(folder_, quick());
  EXPECT_EQ(text("report.html"), page);
  EXPECT_EQ(text("tables/effects.csv"), effects);
}

TEST_F(Analyse, APartialRunWorksAndSaysSo) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  SyntheticOptions options = small();
  options.complete = false;
  options.placement = "centred";
  write_synthetic_results(folder_ / "results.h5", options);
  const AnalysisSummary summary = analyse(folder_, quick());
  EXPECT_THAT(summary.findings, HasSubstr("! The run is not finished: 93 of 100 units are in"));
  EXPECT_THAT(text("report.html"), HasSubstr("The run is not finished"));
}

TEST_F(Analyse, ResultsWithoutModelsOrKnockoutsGiveAReport) {
  {
    ResultsWriter writer(folder_ / "results.h5", RunInfo{}, PromptTable{});
    writer.begin_model({"bare", "gpt2", "", 4, 8, 100, 1000, "", ""});
    writer.publish({});
  }
  EXPECT_THAT(analyse(folder_, quick()).findings, HasSubstr("No knockouts in these results."));
  EXPECT_THAT(text("report.html"), HasSubstr("These results hold no knockouts"));
}

// Cells of a CSV file without quotes: rows of columns.
std::vector<std::vector<std::string>> cells_of(const std::string& csv) {
  std::vector<std::vector<std::string>> rows(1, std::vector<std::string>(1));
  for (const char c : csv) {
    if (c == '\n')
      rows.emplace_back(1);
    else if (c == ',')
      rows.back().emplace_back();
    else
      rows.back().back() += c;
  }
  rows.pop_back();
  return rows;
}

// The second run holds the first one's prompts under ids that belong to other prompts there.
TEST_F(Analyse, RunsAreComparedOnTheirCommonPrompts) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  SyntheticOptions options = small();
  for (const char* run : {"a", "b"}) {
    std::filesystem::create_directories(folder_ / run);
    write_synthetic_results(folder_ / run / "results.h5", options);
    options.first_id += 7;
  }
  const AnalysisSummary summary =
      compare({folder_ / "a", folder_ / "b"}, folder_ / "both", quick());
  EXPECT_EQ(summary.report, folder_ / "both" / "report.html");
  std::size_t same_model = 0;
  for (const std::vector<std::string>& row : cells_of(text("both/tables/paired.csv"))) {
    if (row[0] != "synthetic/mamba" || row[1] != "synthetic-2/mamba") continue;
    ++same_model;
    EXPECT_GT(std::stoi(row[5]), 10);           // n
    EXPECT_EQ(std::stod(row[9]), 0) << row[2];  // difference: the same numbers, prompt by prompt
  }
  EXPECT_GT(same_model, 20U);
  EXPECT_THAT(text("both/report.html"), HasSubstr("Differences between models"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "both" / "figures" / "models.pdf"));
  EXPECT_THROW(compare({folder_ / "a"}, folder_ / "one", quick()), InputError);
  EXPECT_THROW(compare({folder_ / "a", folder_ / "a"}, folder_ / "one", quick()), InputError);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "one"));
}

TEST_F(Analyse, MissingOrDamagedResultsAreOneClearLine) {
  const auto message = [&] {
    try {
      analyse(folder_, quick());
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_THAT(message(), HasSubstr("results.h5"));
  write_synthetic_results(folder_ / "results.h5", small());
  std::filesystem::resize_file(folder_ / "results.h5", 5000);
  EXPECT_THAT(message(), HasSubstr("check sum"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "report.html"));
}

// Something else in place of gnuplot, as long as it lives.
class OtherGnuplot {
 public:
  // `script` of a shell; "" = there is no gnuplot at all.
  OtherGnuplot(const std::filesystem::path& folder, const std::string& script)
      : path_(std::getenv("PATH") != nullptr ? std::getenv("PATH") : "") {
    std::filesystem::create_directories(folder);
    if (script.empty()) {
      ::setenv("PATH", folder.c_str(), 1);
      return;
    }
    std::ofstream(folder / "gnuplot") << "#!/bin/sh\n" << script << '\n';
    std::filesystem::permissions(folder / "gnuplot", std::filesystem::perms::owner_all);
    ::setenv("PATH", (folder.string() + ":" + path_).c_str(), 1);
  }
  ~OtherGnuplot() { ::setenv("PATH", path_.c_str(), 1); }
  OtherGnuplot(const OtherGnuplot&) = delete;
  OtherGnuplot& operator=(const OtherGnuplot&) = delete;

 private:
  std::string path_;
};

TEST_F(Analyse, WhateverGnuplotDoesTheTablesAndTheReportAreThere) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "gnuplot is not on this machine; figures need it (Debian: gnuplot-nox)"},
      {"echo the licence has expired >&2; exit 3", "exit code 3: 'the licence has expired'"},
      {"kill -9 $$", "gnuplot"},
      {"echo svg pdfcairo pngcairo >&2", "gnuplot left "},  // says that it can, and draws nothing
      {"read words; case \"$words\" in *TERMINALS*) echo svg pdfcairo pngcairo;; *) exit 5;; esac",
       "exit code 5"}};
  write_synthetic_results(folder_ / "results.h5", small());
  for (const auto& [script, words] : cases) {
    AnalysisSummary summary;
    {
      const OtherGnuplot other(folder_ / "bin", script);
      summary = analyse(folder_, quick());
    }
    EXPECT_THAT(summary.problem, HasSubstr(words)) << script;
    EXPECT_EQ(summary.figures, 0U) << script;
    EXPECT_EQ(summary.tables, 42U) << script;
    EXPECT_TRUE(std::filesystem::exists(folder_ / "tables" / "curves.csv")) << script;
    const std::string page = text("report.html");
    EXPECT_THAT(page, HasSubstr("The figures are not all drawn: ")) << script;
    EXPECT_THAT(page, Not(HasSubstr("href=\"figures/"))) << script;
    remove_tree(folder_ / "tables");
    remove_tree(folder_ / "report.html");
    remove_tree(folder_ / "bin");
  }
}

TEST_F(Analyse, OfATerminalThatIsMissingTheOtherFormatsAreDrawn) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  write_synthetic_results(folder_ / "results.h5", small());
  const std::string real = output_of("command -v gnuplot");
  AnalysisSummary summary;
  {
    const OtherGnuplot other(
        folder_ / "bin",
        fmt::format("exec {} \"$@\" 2>&1 | sed 's/pdfcairo//g'", real.substr(0, real.find('\n'))));
    summary = analyse(folder_, quick());
  }
  EXPECT_THAT(summary.problem, HasSubstr("no terminal pdfcairo"));
  EXPECT_GT(summary.figures, 5U);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "figures" / "models.svg"));
  EXPECT_TRUE(std::filesystem::exists(folder_ / "figures" / "models.png"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "figures" / "models.pdf"));
  EXPECT_THAT(text("report.html"), HasSubstr("figures/models.svg"));
  EXPECT_THAT(text("report.html"), Not(HasSubstr("figures/models.pdf")));
}

TEST_F(Analyse, AGnuplotThatHangsIsNotWaitedForForever) {
  Plot plot;
  plot.formats = {"svg"};
  plot.stem = "plot";
  plot.width = 3;
  plot.script = "plot NaN\n";
  const OtherGnuplot other(folder_ / "bin", "sleep 600");
  const Drawing drawing = draw({plot}, folder_, 1, std::chrono::seconds(10));
  EXPECT_THAT(drawing.problem, HasSubstr("gnuplot gave no answer within 1.0 s"));
  EXPECT_TRUE(drawing.files.empty());
}

// What tells a gnuplot in a shell what to do.
TEST_F(Analyse, TheUsersGnuplotSettingsHaveNoSay) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  write_synthetic_results(folder_ / "results.h5", small());
  const std::map<std::string, std::string> settings = {{"GNUTERM", "nonsense"},
                                                       {"GNUPLOT_LIB", "/nowhere"},
                                                       {"GNUPLOT_DRIVER_DIR", "/nowhere"},
                                                       {"GDFONTPATH", "/nowhere"},
                                                       {"LC_ALL", "de_DE.UTF-8"}};
  for (const auto& [name, value] : settings) ::setenv(name.c_str(), value.c_str(), 1);
  const AnalysisSummary summary = analyse(folder_, quick());
  for (const auto& [name, value] : settings) ::unsetenv(name.c_str());
  EXPECT_EQ(summary.problem, "");
  EXPECT_TRUE(std::filesystem::exists(folder_ / "figures" / "models.pdf"));
}

// Texts of every script, and of characters that no font has: the font's own name is in the file.
TEST_F(Analyse, FontsFollowTheScript) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  if (!FontCoverage::installed().draws("\u57C3\u0625\U0001F914\u0939"))
    GTEST_SKIP() << "fonts for Chinese, Arabic, Hindi or emoji are not installed";
  const std::string chinese = "\u57C3\u83F2\u5C14\u94C1\u5854\u4F4D\u4E8E",
                    arabic = "\u0628\u0631\u062C \u0625\u064A\u0641\u0644",
                    missing = "\U000F1234";  // private use: in no font
  PromptTable prompts{{1, 2, 3},       {chinese, arabic, "\U0001F914 " + missing},
                      {"x", "x", "x"}, {"\u5DF4\u9ECE", "\u0628\u0627\u0631\u064A\u0633", "!"},
                      {"", "", ""},    {}};
  {
    ResultsWriter writer(folder_ / "results.h5", RunInfo{}, prompts);
    writer.begin_model({"tiny", "mamba", "", 4, 8, 100, 1000, "", ""});
    const std::vector<std::vector<std::string>> tokens = {
        {"\u57C3\u83F2", "\uFFFD"},
        {" \u0628\u0631\u062C", "\u0625\u064A\u0641\u0644"},
        {"\U0001F914", missing}};
    std::vector<HeatmapResult> maps;
    for (std::size_t i = 0; i < tokens.size(); ++i)
      maps.push_back(
          {2, "fit", prompts.id[i], tokens[i], {0, 1}, {0.1F, 0.2F, 0.3F, 0.4F}, {5, 4711}});
    writer.write(arrays_of(maps)[0]);
    writer.publish({});
  }
  const AnalysisSummary summary = analyse(folder_, quick());
  EXPECT_EQ(summary.problem, "");
  EXPECT_THAT(summary.findings, HasSubstr("! No installed font has 1 character of the prompts and "
                                          "tokens in the figures (U+F1234)"));
  EXPECT_THAT(text("report.html"), HasSubstr("No installed font has 1 character"));
  EXPECT_THAT(text("figures/heatmap_1.svg"), HasSubstr("\u57C3\u83F2"));
  EXPECT_THAT(text("figures/heatmap_1.svg"), HasSubstr("#4711"));  // part of a character
  EXPECT_THAT(text("figures/heatmap_3.svg"), HasSubstr("#4711"));  // in no font
  EXPECT_THAT(text("figures/heatmap_3.svg"), Not(HasSubstr(missing)));
  if (std::system("pdffonts -v > /dev/null 2>&1") != 0)
    GTEST_SKIP() << "poppler-utils is not installed";
  // A font beside the Latin one and DejaVu, whose boxes stood there.
  const std::string fonts =
      output_of("pdffonts " + (folder_ / "figures" / "heatmap_1.pdf").string() +
                " | tail -n +3 | grep -v -e Liberation -e DejaVu");
  EXPECT_NE(fonts, "");
}

// What people read: one of a thing is no plural, and zero has no sign.
void expect_good_words(const std::string& words, const std::string& where) {
  const std::regex plural(
      "(^|[^0-9.,+\u2212-])1 (selected |different |state-space )?(prompts|layers|models|facts|"
      "tests|units|rows|pairs|answers|tokens|panels|figures|tables|starts|lines|Transformers)\\b");
  const std::regex zero("[-\u2212+]0(\\.0+)?([^0-9.]|$)");
  std::istringstream lines(words);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_FALSE(std::regex_search(line, plural)) << where << ": " << line;
    EXPECT_FALSE(std::regex_search(line, zero)) << where << ": " << line;
  }
}

TEST_F(Analyse, OneOfAThingIsNoPluralAndZeroHasNoSign) {
  const bool figures = has_gnuplot();
  for (const bool alone : {true, false}) {
    SyntheticOptions options = small();
    if (alone) {
      options.models = {{"only", "mamba", 1, 1e8}};
      options.prompts = 1;
      options.windows = {1};
      options.heatmap_windows = {1};
    }
    options.failed_share = 0;
    options.complete = !alone;
    add_interventions(options);
    write_synthetic_results(folder_ / "results.h5", options);
    const AnalysisSummary summary = analyse(folder_, quick());
    expect_good_words(summary.findings, "findings");
    const std::string page = text("report.html");
    // The program and the data of the page are not read by people.
    expect_good_words(page.substr(0, page.find("<script type=\"application/json\"")), "report");
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / "tables"))
      expect_good_words(read_file(entry.path()), entry.path().filename());
    if (!figures) continue;
    const std::regex mark("<[^>]*>|\\]\\]>");
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / "figures"))
      if (entry.path().extension() == ".svg")
        expect_good_words(std::regex_replace(read_file(entry.path()), mark, ""),
                          entry.path().filename());
  }
}

TEST_F(Analyse, AComparisonIsNotWrittenAmongOtherFiles) {
  for (const char* run : {"a", "b"}) {
    std::filesystem::create_directories(folder_ / run);
    SyntheticOptions options = small();
    options.seed = run[0] == 'a' ? 1 : 2;
    write_synthetic_results(folder_ / run / "results.h5", options);
  }
  const std::vector<std::filesystem::path> runs = {folder_ / "a", folder_ / "b"};
  std::filesystem::create_directories(folder_ / "mine" / "tables");
  std::ofstream(folder_ / "mine" / "tables" / "curves.csv") << "mine\n";
  for (const char* place : {"mine", "a", "a/results.h5"}) {
    try {
      compare(runs, folder_ / place, quick());
      ADD_FAILURE() << place;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr("with --out")) << place;
    }
  }
  EXPECT_EQ(text("mine/tables/curves.csv"), "mine\n");
  std::filesystem::create_directories(folder_ / "empty");
  for (int again = 0; again < 2; ++again) {
    compare(runs, folder_ / "empty", quick());
    EXPECT_THAT(text("empty/comparison.json"), HasSubstr("synthetic-2"));
    EXPECT_TRUE(std::filesystem::exists(folder_ / "empty" / "report.html"));
  }
}

// Texts from data and tokens that would run commands, close strings or open tags if they were taken
// for code.
TEST_F(Analyse, HostileTextsStayTexts) {
  if (!has_gnuplot()) GTEST_SKIP() << "gnuplot is not installed";
  const std::string canary = (folder_ / "canary").string();
  const std::vector<std::string> tokens = {"`touch " + canary + "`",
                                           "'; system('touch " + canary + "') #",
                                           "<b>&\"",
                                           "a\nb",
                                           "@x $(touch " + canary + ")",
                                           "%s {/=50 big} \\n"};
  RunInfo info;
  info.name = "<script>alert(1)</script>";
  PromptTable prompts{{1}, {"<i>text"}, {"s"}, {" <img src=x onerror=alert(1)>"}, {"P\"1"}, {}};
  {
    ResultsWriter writer(folder_ / "results.h5", info, prompts);
    writer.begin_model({"tiny", "mamba", "'`", 4, 8, 100, 1000, "<d>", ""});
    writer.write(arrays_of(
        EvaluationResult{{1}, {0.5F}, {1}, {3}, {" a"}, {0}, {6}, {0}, {1}, 0, {}, {}, {}}));
    const std::string edge = "'`touch " + canary + "`<u>->last";
    CellAxes axes;
    axes.items = {edge};
    axes.prompts = axes.blocked = {1};
    writer.write(arrays_of(axes));
    writer.write(arrays_of(axes, {2, "fit", {0, 1, 2}, {0.5F, 0.4F, 0.3F}, {1, 1, 2}}));
    writer.write(arrays_of(std::vector<HeatmapResult>{
        {2, "fit", 1, tokens, {0, 1}, std::vector<float>(12, 0.4F)}})[0]);
    writer.publish({{"tiny", "sweep", "1", "</table><script>alert(2)</script>"}});
  }
  analyse(folder_, quick());
  EXPECT_FALSE(std::filesystem::exists(canary));
  const std::string page = text("report.html");
  EXPECT_THAT(page, Not(HasSubstr("<script>alert")));
  EXPECT_THAT(page, Not(HasSubstr("</table><script")));
  EXPECT_THAT(page, Not(HasSubstr("<img src=x")));
  EXPECT_THAT(page, Not(HasSubstr("<u>")));
  EXPECT_THAT(text("figures/heatmap_1.svg"), Not(HasSubstr("<b>")));
}

TEST(Csv, QuotesOnlyWhatNeedsItAndKeepsEveryDigit) {
  CsvTable table({"a", "b,c"});
  table.cell("x\"y").cell(0.1).end_row();
  table.cell(std::int64_t{-3}).cell(std::numeric_limits<double>::quiet_NaN()).end_row();
  EXPECT_EQ(table.text(), "a,\"b,c\"\n\"x\"\"y\",0.10000000000000001\n-3,NaN\n");
  EXPECT_EQ(table.rows(), 2U);
  table.cell("one");
  EXPECT_THROW(table.end_row(), std::logic_error);
}

TEST(Html, EscapesAndEncodes) {
  EXPECT_EQ(html::escape("<a b='c'>&\x01\""), "&lt;a b=&#39;c&#39;&gt;&amp;\uFFFD&quot;");
  EXPECT_EQ(html::prose("[-1.5, +2] by 5 %"), "[\u22121.5, +2] by 5&nbsp;%");
  EXPECT_EQ(html::base64(""), "");
  EXPECT_EQ(html::base64("f"), "Zg==");
  EXPECT_EQ(html::base64("fo"), "Zm8=");
  EXPECT_EQ(html::base64("foobar"), "Zm9vYmFy");
}

TEST(Gnuplot, QuotedTextsCannotEnd) {
  EXPECT_EQ(gnuplot_quote("it's"), "'it\u2019s'");
  EXPECT_EQ(gnuplot_quote("a\nb\x02\t"), "'a\u21B5b\uFFFD\u21E5'");
  EXPECT_EQ(gnuplot_quote("a\u202Eb\u2067c"), "'a\uFFFDb\uFFFDc'");  // would turn the rest
}

}  // namespace
}  // namespace factflow
