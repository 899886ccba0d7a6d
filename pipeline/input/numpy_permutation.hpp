// numpy.random.default_rng(seed).permutation(count), bit for bit: the shuffle behind the reference
// code's prompt numbers (datasets.Dataset.shuffle(seed=42)).
#pragma once

#include <cstdint>
#include <vector>

namespace factflow {

// What numpy >= 1.17 returns, for 0 <= count <= 2^32 - 1 and 0 <= seed < 2^32. Pure; throws
// std::invalid_argument for other counts. Sources: numpy's SeedSequence (O'Neill's seed_seq_fe128),
// PCG64 (O'Neill 2014, XSL-RR 128/64), masked rejection and Fisher-Yates.
std::vector<std::int64_t> numpy_permutation(std::uint32_t seed, std::int64_t count);

}  // namespace factflow
