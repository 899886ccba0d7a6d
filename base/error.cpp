#include "base/error.hpp"

#include <utility>

namespace factflow {
namespace {

std::string line_of(const std::string& where, const std::string& problem,
                    const std::string& remedy) {
  std::string line = where.empty() ? problem : where + ": " + problem;
  if (!remedy.empty()) line += "; " + remedy;
  for (char& c : line)
    if (c == '\n' || c == '\r') c = ' ';
  return line;
}

}  // namespace

InputError::InputError(std::string where, std::string problem, std::string remedy)
    : Error(2, line_of(where, problem, remedy)),
      where_(std::move(where)),
      problem_(std::move(problem)),
      remedy_(std::move(remedy)) {}

}  // namespace factflow
