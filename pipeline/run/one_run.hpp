// One run of one prompt in this process: interventions that act together, each in layers of its
// own, and values that are read. What is asked step by step; what is asked of many prompts and
// windows is a plan (local_run.hpp).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "experiments/loaded_model.hpp"
#include "model/intervention.hpp"
#include "model/prompt.hpp"

namespace factflow {

struct ActionInLayers {
  std::string row;  // YAML: a row of the section `intervene`; its lists act together too
  std::vector<int> layers;
  // Whose clean runs lend values: one to `resample`, any number to `mean`.
  std::vector<Prompt> others = {};
};

struct AskedRead {
  std::string site, tokens;  // a group of tokens as a row names them
  std::vector<int> layers;
};

struct SiteValues {
  std::vector<int> tokens;  // positions that were read
  // [layers, tokens, width] on the model's device, float32 or, in fp64, float64: in the run with
  // all actions, and in the clean one.
  at::Tensor values, clean;
};

struct OneRun {
  Answer answer, clean;             // the same where nothing acts
  std::int64_t touched = 0;         // (target, source) pairs and tokens written
  std::vector<std::string> tokens;  // of the prompt, texts
  std::vector<SiteValues> reads;    // as asked
};

// Throws InputError ("the call: ...") for what the model or the prompt does not have, for an action
// that changes nothing in the prompt, and for values of other runs that nobody lends; MemoryError;
// RunError for numbers that are not finite or, with `self_check`, that do not agree with whole
// forwards.
OneRun run_one(const Prompt& prompt, const std::vector<ActionInLayers>& actions,
               const std::vector<AskedRead>& reads, LoadedModel& model, bool self_check);

}  // namespace factflow
