#include "tests/source_dir.hpp"

namespace factflow {

const std::string& source_dir() {
  static const std::string path = FACTFLOW_SOURCE_DIR;
  return path;
}

}  // namespace factflow
