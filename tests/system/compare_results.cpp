// compare_results A B...: exit 0 if every B holds the same datasets as A, bit for bit; else 1, and
// says where they differ.
#include <cstdio>
#include <exception>

#include "tests/system/results_difference.hpp"

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: compare_results A B...\n");
    return 2;
  }
  try {
    for (int i = 2; i < argc; ++i) {
      const std::string difference = factflow::testing::results_difference(argv[1], argv[i]);
      if (difference.empty()) continue;
      std::fprintf(stderr, "%s and %s: %s\n", argv[1], argv[i], difference.c_str());
      return 1;
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
