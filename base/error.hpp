// The two ways in which factflow stops: bad input (exit code 2) and a failed run (exit code 1).
#pragma once

#include <stdexcept>
#include <string>

namespace factflow {

// Base of everything that factflow throws on purpose. what() is one line, fit to be shown to a user
// as it is.
class Error : public std::runtime_error {
 public:
  Error(int exit_code, const std::string& line) : std::runtime_error(line), exit_code_(exit_code) {}
  int exit_code() const { return exit_code_; }

 private:
  int exit_code_;
};

// Bad usage, configuration, checkpoint, tokenizer or data: nothing was computed. Exit code 2.
// what() = "WHERE: PROBLEM" or "WHERE: PROBLEM; REMEDY".
//   where    the file, with line number or key if there is one: "demo.yaml: key
//   sweep.windows.sizes", "facts.jsonl:17" problem  what was expected and what was found remedy
//   what the user can do; may be empty
class InputError : public Error {
 public:
  InputError(std::string where, std::string problem, std::string remedy = "");
  const std::string& where() const { return where_; }
  const std::string& problem() const { return problem_; }
  const std::string& remedy() const { return remedy_; }

 private:
  std::string where_, problem_, remedy_;
};

// A run that could not go on though its input was good: full disk, lost rank, failed device. Exit
// code 1.
class RunError : public Error {
 public:
  explicit RunError(const std::string& line) : Error(1, line) {}
};

}  // namespace factflow
