#include "base/version.hpp"

namespace factflow {

const char* version() {
  return FACTFLOW_VERSION;
}

}  // namespace factflow
