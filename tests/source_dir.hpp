// Where the sources of the project are. Defined in one file, so that every other object file of the
// tests is the same in every checkout and a compiler cache can share it.
#pragma once
#include <string>

namespace factflow {

const std::string& source_dir();  // without a slash at its end

}  // namespace factflow
