// The program's table of families, a library of its own: another program may link another one.
#include "model/families/family.hpp"

namespace factflow {

const std::vector<Family>& families() {
  return built_in_families();
}

}  // namespace factflow
