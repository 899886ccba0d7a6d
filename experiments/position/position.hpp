// Does an effect depend on where the subject stands and how far the last token is? The same
// knockouts in the same prompts, with neutral tokens in front of the prompt or behind its subject.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/experiment.hpp"
#include "experiments/intervene/rows.hpp"
#include "experiments/position/neutral_text.hpp"
#include "experiments/position/position_arrays.hpp"

namespace factflow {

const ExperimentKind& position_kind();

struct PositionConfig : Entry {
  WindowsConfig windows = {};
  std::vector<TokenGroup> from = {}, to = {};  // every pair is an edge; `to` empty = last
  std::vector<NeutralPlace> places = {NeutralPlace::kBefore, NeutralPlace::kBetween};
  std::vector<int> lengths = {};   // tokens; 0 is always computed
  std::vector<std::string> texts;  // neutral ones
  std::uint64_t seed = 1;
  bool operator==(const PositionConfig&) const = default;
};
Form<std::vector<PositionConfig>> position_form();

}  // namespace factflow
