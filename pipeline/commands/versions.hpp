// What this program is made of and what it finds.
#pragma once

#include <string>

namespace factflow {

// Lines for factflow --version: version, commit, libraries, devices.
std::string versions(const std::string& commit);

}  // namespace factflow
