// Named arrays with named axes: all that the results file holds of experiments.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace factflow {

// What every array and axis says about itself.
struct ArrayLabel {
  std::string units;        // "1" for a plain number, "layer", "token", ...
  std::string description;  // one sentence
};

struct ArrayAxis {
  std::string name;  // unique in its group
  std::variant<std::vector<std::int32_t>, std::vector<std::int64_t>, std::vector<std::string>>
      values;
  ArrayLabel label;
};

struct LabelledArray {
  std::string name;               // unique in its group, and no axis's
  std::vector<std::string> axes;  // names of axes of the group
  // Row-major; as many as the axes' lengths multiplied.
  std::variant<std::vector<float>, std::vector<double>, std::vector<std::int32_t>,
               std::vector<std::int64_t>, std::vector<std::string>>
      values;
  ArrayLabel label;
};

// Arrays that share axes. The axis called "prompt", if there is one, holds ids of the run's
// prompts.
struct ArrayGroup {
  std::string path;  // below the model: "evaluation", "knockout/window_5"
  std::vector<std::pair<std::string, std::variant<std::int64_t, double, std::string>>> attributes =
      {};
  std::vector<ArrayAxis> axes = {};
  std::vector<LabelledArray> arrays = {};
};

}  // namespace factflow
