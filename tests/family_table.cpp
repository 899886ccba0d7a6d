// The tests' own table of families: the program's, and theirs. A program that has this file among
// its sources links it in place of factflow_family_table.
#include "model/families/family.hpp"
#include "tests/toy_family/toy_family.hpp"

namespace factflow {

const std::vector<Family>& families() {
  static const std::vector<Family> list = [] {
    std::vector<Family> all = built_in_families();
    all.push_back(toy_family());
    return all;
  }();
  return list;
}

}  // namespace factflow
