// Which factflow this is.
#pragma once

namespace factflow {

const char* version();  // "0.2.0", of CMakeLists.txt
// "61c2965", "61c2965-dirty" or "unknown": of the library factflow_commit, which only programs
// link, since it changes with every commit.
const char* commit();

}  // namespace factflow
