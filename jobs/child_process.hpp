// Another program, run to its end.
#pragma once

#include <string>
#include <vector>

namespace factflow {

struct ChildOutput {
  int code = 0;  // exit code; 127 = there is no such program; 128 + n = ended by signal n
  std::string out, err;
};

// Looks the program up in PATH; no shell. Keeps the first MiB of each stream. Throws RunError if no
// process can be made.
ChildOutput run_child(const std::vector<std::string>& words);

}  // namespace factflow
