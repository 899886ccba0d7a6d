// One checkpoint on a GPU in every precision against the same on the CPU in fp64.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "model/replay/replay.hpp"
#include "random_checkpoint.hpp"

namespace factflow {

using RandomTensors = std::map<std::string, NamedTensor>;

class CudaComparison {
 public:
  // `nudges`: how often the noise floor is measured with every weight moved to a neighbouring
  // float32, beside once in float32. A few small prompts need some, since one measurement alone may
  // be lucky by a factor of sixteen; among a thousand answers of wide models none is.
  CudaComparison(nlohmann::json config, RandomTensors tensors, unsigned nudges);

  const Architecture& architecture() const { return cpu_->architecture(); }

  // Expects every answer to each list of requests to be the CPU's up to the precision's multiple of
  // the noise, whole and in passes of about `rows` rows, and to have the same bits when asked
  // again. Of a mixture, whose tokens go to other experts where two are nearly alike and products
  // are rounded otherwise, only so many answers as keep_their_experts() says.
  void compare(const std::vector<std::vector<ReplayRequest>>& lists, std::int64_t rows) const;

 private:
  std::shared_ptr<const Checkpoint> written(const RandomTensors& tensors) const;
  double amplified_rounding(const std::vector<ReplayRequest>& requests,
                            const std::vector<ReplayResult>& expected) const;
  double share(Precision precision) const;

  nlohmann::json config_;
  RandomTensors tensors_;
  unsigned nudges_;
  std::shared_ptr<const Checkpoint> checkpoint_;
  std::unique_ptr<Network> cpu_;
};

// The largest difference of a log-probability, as a share of 1 - log p, or of a value that was
// read, as a share of its norm; infinite if an answer is missing, not finite, or on one side only.
// With `share` below 1 the largest among the nearest such part of all answers and values.
double distance(const std::vector<ReplayResult>& found, const std::vector<ReplayResult>& expected,
                double share = 1);

// The part of a mixture's answers that rounding leaves with the experts of float64: of N experts,
// two are so near to each other that float32 tells them otherwise in about N * 1e-7 of the tokens
// and layers, tf32 in N * 1e-3, bfloat16 in N * 1e-2; a token of a prompt concerns all its rows.
double keep_their_experts(Precision precision);

std::vector<Window> all_windows(int layers);

}  // namespace factflow
