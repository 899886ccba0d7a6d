// Whether what a user names is the directory of a run, and how far that run is.
#pragma once

#include <filesystem>

namespace factflow {

// Throws InputError that says what was given instead: nothing of that name, a configuration,
// another file, or another directory.
void require_run(const std::filesystem::path& directory);

// The same, and says how far the run is if it has no results yet.
void require_results(const std::filesystem::path& directory);

}  // namespace factflow
