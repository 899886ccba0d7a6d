#include "experiments/table.hpp"

#include "experiments/answers/answers.hpp"
#include "experiments/attribution/attribution.hpp"
#include "experiments/edit/edit.hpp"
#include "experiments/evaluate/evaluate.hpp"
#include "experiments/heatmap/heatmap.hpp"
#include "experiments/intervene/intervene.hpp"
#include "experiments/lre/lre.hpp"
#include "experiments/mean_knockout/mean_knockout.hpp"
#include "experiments/parts/parts.hpp"
#include "experiments/position/position.hpp"
#include "experiments/sever/sever.hpp"
#include "experiments/surge/surge.hpp"
#include "experiments/sweep/sweep.hpp"
#include "experiments/trace/trace.hpp"

namespace factflow {

const std::vector<const ExperimentKind*>& experiment_kinds() {
  static const std::vector<const ExperimentKind*> kinds = {
      &evaluate_kind(), &sweep_kind(), &heatmap_kind(),  &intervene_kind(),     &trace_kind(),
      &sever_kind(),    &edit_kind(),  &lre_kind(),      &mean_knockout_kind(), &attribution_kind(),
      &parts_kind(),    &surge_kind(), &position_kind(), &answers_kind(),
  };
  return kinds;
}

}  // namespace factflow
