// How many numbers a loaded model keeps, known before it is loaded.
#pragma once

#include <cstdint>

namespace factflow {

struct Architecture;

// `parameters`: of the checkpoint. The same number for most models; more where projections are
// multiplied into embedding and head, which are [vocabulary, hidden] each then, tied or not
// (OPT-350m).
std::int64_t numbers_kept(const Architecture& architecture, std::int64_t parameters);

// Of the parameters, those that are only multiplied into others: nothing keeps them as they are.
std::int64_t numbers_multiplied(const Architecture& architecture);

}  // namespace factflow
