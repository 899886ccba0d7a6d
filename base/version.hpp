// Which factflow this is.
#pragma once

namespace factflow {

const char* version();  // "0.2.0", of CMakeLists.txt

}  // namespace factflow
