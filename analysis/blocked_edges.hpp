// What the results say of the knockouts themselves: where they blocked nothing, and where they
// changed the routing of a mixture of experts.
#pragma once

#include <string>
#include <vector>

#include "analysis/study.hpp"

namespace factflow {

// Sentences about the main set of each model, at the window of its findings: knockouts of which
// some cell blocks no edge in any layer of the window, and how often tokens went to other experts.
// None where the results do not count that.
std::vector<std::string> blocked_edges_in_words(const Study& study);

}  // namespace factflow
