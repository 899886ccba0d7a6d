// The oracle's answers about tracing, severing and knocking out, computed by the replay engine.
#pragma once

#include <vector>

#include "model/locate_cases.hpp"
#include "model/locate_check.hpp"
#include "model/oracle_cases.hpp"
#include "model/replay/replay.hpp"

namespace factflow {

// A check each of the facts' own probabilities, the means of sites, the traces, the traces from
// noise, the severed paths and the knockouts: by |log p - log q|, which limit.value is the largest
// of that is right, and the means as values that are read. Throws as ReplayEngine::run().
std::vector<LocateCheck> check_traced_cases(ReplayEngine& engine, const LocateCases& cases,
                                            const OracleTolerance& limit);

}  // namespace factflow
