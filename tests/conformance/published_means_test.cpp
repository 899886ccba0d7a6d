// The published single prompts, through the project's own results file and analysis, give the
// published means: of the edge from the subject to the last token in the last window of 15 layers
// (starts 0 to 9), by channels.
#include <cmath>

#include <gtest/gtest.h>

#include "analysis/load_runs.hpp"
#include "analysis/study.hpp"
#include "experiments/evaluate/evaluation_arrays.hpp"
#include "experiments/sweep/knockout_arrays.hpp"
#include "pipeline/conformance/published.hpp"
#include "tests/model/random_checkpoint.hpp"

namespace factflow {
namespace {

constexpr std::int64_t kWindow = 15;
constexpr std::size_t kStart = 9;

struct Edge {
  std::string label;
  const PublishedFlow* flow;
};

std::vector<Edge> edges_from_subject(const PublishedModel& model) {
  std::vector<Edge> edges;
  for (const PublishedFlow& flow : model.flows)
    if (flow.from == TokenRole::kSubject && flow.to == TokenRole::kLast)
      edges.push_back({flow.channels.kind == ChannelSet::Kind::kAll
                           ? "subject->last"
                           : "subject->last/" + to_string(flow.channels),
                       &flow});
  return edges;
}

PromptTable table_of(const PublishedModel& model) {
  PromptTable table;
  for (const auto& [id, clean] : model.clean) {
    table.id.push_back(id);
    for (auto* column : {&table.text, &table.subject, &table.answer, &table.relation})
      column->push_back("");
  }
  return table;
}

EvaluationResult clean_runs(const PublishedModel& model) {
  EvaluationResult result;
  result.top = 0;
  for (const auto& [id, clean] : model.clean) {
    result.prompt.push_back(id);
    result.probability.push_back(static_cast<float>(clean.probability));
    result.rank.push_back(clean.rank);
    for (auto* column : {&result.answer_token, &result.changes, &result.token_count,
                         &result.subject_begin, &result.subject_end})
      column->push_back(1);
    result.answer_text.push_back("x");
  }
  return result;
}

void write(const PublishedModel& model, const std::filesystem::path& file) {
  const std::vector<Edge> edges = edges_from_subject(model);
  CellAxes axes;
  CellWindow window{kWindow, "fit", {}, {}, {}};
  for (std::int32_t start = 0; start <= static_cast<std::int32_t>(kStart); ++start)
    window.starts.push_back(start);
  for (const auto& [id, series] : edges.at(0).flow->prompts) axes.prompts.push_back(id);
  for (const Edge& edge : edges) {
    axes.items.push_back(edge.label);
    for (const std::int64_t id : axes.prompts) {
      axes.blocked.push_back(1);
      const PublishedSeries& series = edge.flow->prompts.at(id);
      for (std::size_t start = 0; start <= kStart; ++start) {
        window.probability.push_back(static_cast<float>(series.probability.at(start)));
        window.rank.push_back(series.right.at(start) ? 1 : 2);
      }
    }
  }
  ResultsWriter writer(file, {}, table_of(model));
  writer.begin_model({model.name, "mamba", model.hub, model.layers, 768, 50280, 1, "", ""});
  writer.write(arrays_of(clean_runs(model)));
  writer.write(arrays_of(axes));
  writer.write(arrays_of(axes, window));
  writer.publish({});
}

double mean_change(const Study& study, const std::string& edge) {
  for (const Curve& curve : study.curves)
    if (curve.edge.label == edge && curve.window == kWindow) return curve.points.at(kStart).change;
  return NAN;
}

// One decimal, as published.
TEST(PublishedMeans, ComeOutOfTheAnalysis) {
  struct Expected {
    const char* model;
    double all, not_fast, not_slow;
  };
  for (const Expected& expected :
       {Expected{"mamba1-130M", -61.6, -57.0, -23.8}, Expected{"mamba2-130M", -56.6, -57.4, 8.1}}) {
    const TemporaryDirectory directory;
    const std::filesystem::path file = directory.path() / kResultsFileName;
    write(read_published(published_numbers(), "here", expected.model), file);
    StudyOptions options;
    options.bootstrap.resamples = 10;
    const ResultsReader reader(file);
    const Study study = make_study(load_runs({&reader}), options);
    EXPECT_NEAR(mean_change(study, "subject->last"), expected.all, 0.05) << expected.model;
    EXPECT_NEAR(mean_change(study, "subject->last/not-fast"), expected.not_fast, 0.05)
        << expected.model;  // FAST_DECAY
    EXPECT_NEAR(mean_change(study, "subject->last/not-slow"), expected.not_slow, 0.05)
        << expected.model;  // SLOW_DECAY
  }
}

}  // namespace
}  // namespace factflow
