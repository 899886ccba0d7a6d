// The fingerprint of a checkpoint.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "model/checkpoint/checkpoint.hpp"

namespace factflow {

// XXH3-128, 32 hex digits, over a stream in which every variable part is preceded by its length (64
// bits), so that no two different checkpoints give the same stream: the config's bytes; then per
// tensor, in name order, its name, its type as text, its shape, its bytes.
std::string digest_of(std::string_view config, const std::map<std::string, StoredTensor>& tensors);

}  // namespace factflow
