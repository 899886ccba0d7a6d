// Linear relational embeddings: how far what a relation does to its subject's state is one affine
// map, and whether the map's inverse edits the answer (Hernandez et al. 2024; Sharma et al. 2024,
// section 6). docs/locate.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/experiment.hpp"

namespace factflow {

const ExperimentKind& lre_kind();

struct LreConfig : Entry {
  std::vector<int> layers = {};    // whose input is s; empty: coarse_layers(); {-1}: all
  std::vector<double> betas = {};  // empty: 0, 0.25, .. 5
  std::vector<int> ranks = {};     // of the inverse; empty: coarse_ranks(); {0}: nothing is edited
  int train = 5, trials = 3;
  bool examples = true;  // whether prompts stand behind the other training facts
  std::uint64_t seed = 1;
  bool operator==(const LreConfig&) const = default;
};
Form<std::vector<LreConfig>> lre_form();

// About twelve, evenly spaced from 0, below the model's last.
std::vector<int> coarse_layers(int layers);
// 8, 16, 32 .. up to the width and 256; the width itself if it is less than 8.
std::vector<int> coarse_ranks(int width);
std::vector<double> usual_betas();

}  // namespace factflow
