// A draw of prompts that depends on their ids and the seed alone, not on their order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/prompt.hpp"

namespace factflow {

// `count` of them, at most as many as there are, in the order drawn.
std::vector<Prompt> drawn_prompts(const std::vector<Prompt>& prompts, std::size_t count,
                                  std::uint64_t seed);

}  // namespace factflow
