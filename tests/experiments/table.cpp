// The kinds of a program of the tests: the project's and one of their own.
#include "experiments/table.hpp"

#include "experiments/attribution/attribution.hpp"
#include "experiments/edit/edit.hpp"
#include "experiments/evaluate/evaluate.hpp"
#include "experiments/heatmap/heatmap.hpp"
#include "experiments/intervene/intervene.hpp"
#include "experiments/lre/lre.hpp"
#include "experiments/mean_knockout/mean_knockout.hpp"
#include "experiments/sever/sever.hpp"
#include "experiments/sweep/sweep.hpp"
#include "experiments/trace/trace.hpp"
#include "tests/experiments/toy/lengths.hpp"

namespace factflow {

const std::vector<const ExperimentKind*>& experiment_kinds() {
  static const std::vector<const ExperimentKind*> kinds = {
      &evaluate_kind(),      &sweep_kind(),       &heatmap_kind(), &intervene_kind(),
      &trace_kind(),         &sever_kind(),       &edit_kind(),    &lre_kind(),
      &mean_knockout_kind(), &attribution_kind(), &lengths_kind(),
  };
  return kinds;
}

}  // namespace factflow
