// A set of prompts that the analysis makes itself where a run has one set that differs from model
// to model: the prompts that all models share. With it comes the data-set ablation of the paper.
#pragma once

#include <cstdint>
#include <vector>

#include "analysis/run_data.hpp"

namespace factflow {

// Ids of the prompts that every knocked-out model was swept over and gets right (rank 1), in the
// order of the first such model.
std::vector<std::int64_t> common_prompts(const std::vector<ModelData>& models);

// Whether models were swept over different prompts, so that the common ones are a set of their own.
bool prompts_differ(const std::vector<ModelData>& models);

// A model reduced to those of its prompts that are among `prompts`.
ModelData restrict_model(const ModelData& model, const std::vector<std::int64_t>& prompts);

}  // namespace factflow
