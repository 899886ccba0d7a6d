#include "analysis/study.hpp"

#include <algorithm>
#include <future>
#include <iterator>
#include <utility>

namespace factflow {
namespace {

// Pairs grow with the square of the models: beyond this, each model is compared with the first one only.
constexpr std::size_t kMostModelsForAllPairs = 20;

template <typename T>
void append(std::vector<T>& to, std::vector<T> from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

// What one window of one model contributes.
struct WindowStudy {
  std::vector<Curve> curves;
  WindowEffects effects;
};

WindowStudy study_window(const WindowData& window, const PromptTable& prompts,
                         const BootstrapOptions& bootstrap) {
  // The two halves are independent and about equally long.
  std::future<std::vector<Curve>> curves =
      std::async(std::launch::async, [&] { return make_curves(window, bootstrap.level); });
  WindowStudy result;
  result.effects = measure_effects(window, prompts, bootstrap);
  result.curves = curves.get();
  return result;
}

void study_groups(const WindowData& window, double level, Study& study) {
  append(study.by_relation, group_effects(window, study.run.prompts, Grouping::kRelation, level));
  append(study.by_subject_length, group_effects(window, study.run.prompts, Grouping::kSubjectLength, level));
  append(study.by_distance, group_effects(window, study.run.prompts, Grouping::kDistance, level));
}

void study_pairs(const std::vector<WindowData>& windows, double level, Study& study) {
  study.all_pairs = windows.size() <= kMostModelsForAllPairs;
  const std::size_t firsts = study.all_pairs ? windows.size() : 1;
  for (std::size_t a = 0; a < firsts; ++a)
    for (std::size_t b = a + 1; b < windows.size(); ++b)
      append(study.paired, paired_differences(windows[a], windows[b], level));
}

}  // namespace

Study make_study(const ResultsReader& reader, const StudyOptions& options) {
  Study study;
  study.run = load_run(reader);
  study.window = finding_window(study.run.models, options.window);
  const double level = options.bootstrap.level;
  std::vector<WindowData> common;  // kept for the pairs, without ranks
  for (const ModelData& model : study.run.models)
    for (const std::int64_t size : model.windows) {
      WindowData window{&model, reader.window(model.info.name, size)};
      WindowStudy part = study_window(window, study.run.prompts, options.bootstrap);
      append(study.curves, std::move(part.curves));
      if (size == window_of(model, study.window)) {
        append(study.main_effects, part.effects.edges);
        study_groups(window, level, study);
      }
      append(study.effects, std::move(part.effects.edges));
      append(study.channels, std::move(part.effects.channels));
      if (size != study.window) continue;
      window.cells.rank = {};
      common.push_back(std::move(window));
    }
  study_pairs(common, level, study);
  std::vector<ChannelRatio> main_channels;
  for (const ModelData& model : study.run.models)
    std::copy_if(study.channels.begin(), study.channels.end(), std::back_inserter(main_channels),
                 [&](const ChannelRatio& ratio) {
                   return ratio.model == model.info.name && ratio.window == window_of(model, study.window);
                 });
  study.claims = judge_claims(study.main_effects, main_channels);
  return study;
}

}  // namespace factflow
