// Tensors that no family has, told by their names: what wrappers, adapters and quantisation make of
// a model's own.
#pragma once

#include <optional>
#include <string>

namespace factflow {

struct ForeignTensor {
  std::string problem,
      remedy;  // of InputError's form: the problem goes on behind the tensor's name
};

// What a tensor of this name is, if adapters or quantised weights have such ones.
std::optional<ForeignTensor> foreign_tensor(const std::string& name);

// Who puts `prefix` ("module.") before the name of every tensor, and what to do about it.
ForeignTensor foreign_prefix(const std::string& prefix);

}  // namespace factflow
