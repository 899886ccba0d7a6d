// The published per-prompt numbers of the reference implementation, put through our tables: its
// published means must come out. Needs ../shared beside the checkout.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "analysis/curves.hpp"
#include "analysis/load_runs.hpp"
#include "analysis/study.hpp"
#include "experiments/evaluate/evaluation_arrays.hpp"
#include "experiments/sweep/knockout_arrays.hpp"
#include "results/results_file.hpp"
#include "tests/source_dir.hpp"

namespace factflow {
namespace {

const std::filesystem::path kValues = source_dir() + "/../shared/data/reference_values.json";

// The reference names the channels that KEEP the edge; ours are those that lose it.
std::string label_of(const nlohmann::json& flow) {
  static const std::map<std::string, std::string> kEndings = {
      {"ALL", ""}, {"FAST_DECAY", "/not-fast"}, {"SLOW_DECAY", "/not-slow"}};
  return flow["source"].get<std::string>() + "->" + flow["target"].get<std::string>() +
         kEndings.at(flow["feature_category"].get<std::string>());
}

// A model's published knockouts as one of our results files, all windows of one size.
void write_published(const std::filesystem::path& file, const nlohmann::json& published,
                     std::int64_t layers) {
  PromptTable prompts;
  EvaluationResult clean;
  clean.top = 0;
  for (const auto& row : published["prompts"]) {
    prompts.id.push_back(row["original_idx"]);
    prompts.text.push_back(row["prompt"]);
    prompts.subject.push_back(row["subject"]);
    prompts.answer.push_back(row["target_true"]);
    prompts.relation.push_back(row["relation_id"]);
    clean.probability.push_back(row["target_probs"]);
    clean.rank.push_back(row["target_rank"]);
  }
  clean.prompt = prompts.id;
  clean.answer_token = clean.token_count = clean.subject_begin = clean.subject_end =
      std::vector<std::int32_t>(prompts.id.size(), 1);
  clean.changes.assign(prompts.id.size(), 0);
  clean.answer_text = prompts.answer;
  CellAxes axes;
  CellWindow window{15, "fit", {}, {}, {}};
  for (const auto& [id, values] : published["info_flow"][0]["prompts"].items())
    axes.prompts.push_back(std::stoll(id));
  for (std::int32_t start = 0; start + 15 <= layers; ++start) window.starts.push_back(start);
  for (const auto& flow : published["info_flow"]) {
    axes.items.push_back(label_of(flow));
    for (const std::int64_t id : axes.prompts) {
      axes.blocked.push_back(1);
      const auto& values = flow["prompts"][std::to_string(id)];
      for (const double p : values["true_probs"])
        window.probability.push_back(static_cast<float>(p));
      for (const bool hit : values["hit"]) window.rank.push_back(hit ? 1 : 2);
    }
  }
  ResultsWriter writer(file, RunInfo{}, prompts);
  writer.begin_model({"model", "mamba", "", layers, 8, 100, 1000, "", ""});
  writer.write(arrays_of(clean));
  writer.write(arrays_of(axes));
  writer.write(arrays_of(axes, window));
  writer.publish({});
}

TEST(Published, MeansOfTheReferenceComeOut) {
  if (!std::filesystem::exists(kValues)) GTEST_SKIP() << kValues << " is not there";
  const auto values = nlohmann::json::parse(std::ifstream(kValues));
  const std::filesystem::path file =
      std::filesystem::path(testing::TempDir()) / "factflow_published.h5";
  // Last from subject at window start 9, in percent: the reference's own means, to the digits that
  // it states.
  const std::map<std::string, std::vector<double>> expected = {
      {"mamba1-130M", {-61.6, -57.0, -23.8}}, {"mamba2-130M", {-56.6, -57.4, 8.1}}};
  for (const auto& [model, means] : expected) {
    const auto& published = values["models"][model];
    write_published(file, published, published["n_layers"]);
    const ResultsReader reader(file);
    const Study study = make_study(load_runs({&reader}), {});
    const char* labels[] = {"subject->last", "subject->last/not-fast", "subject->last/not-slow"};
    for (std::size_t i = 0; i < 3; ++i) {
      const auto curve = std::find_if(study.curves.begin(), study.curves.end(),
                                      [&](const Curve& c) { return c.edge.label == labels[i]; });
      ASSERT_NE(curve, study.curves.end()) << labels[i];
      EXPECT_NEAR(curve->points[9].change, means[i], 0.05) << model << " " << labels[i];
    }
  }
  std::filesystem::remove(file);
}

}  // namespace
}  // namespace factflow
