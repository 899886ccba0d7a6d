#include "model/edited_matrix.hpp"

#include <algorithm>
#include <vector>

#include "base/error.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

// In the order of EditedMatrix.
const std::vector<std::string>& matrix_names() {
  static const std::vector<std::string> names = {"W_a", "W_xbc", "W_g", "W_o", "W_down"};
  return names;
}

}  // namespace

std::string to_string(EditedMatrix matrix) {
  return matrix_names()[static_cast<size_t>(matrix)];
}

EditedMatrix parse_edited_matrix(std::string_view name) {
  const std::vector<std::string>& names = matrix_names();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) throw InputError("matrix", unknown_word("matrix", name, names));
  return static_cast<EditedMatrix>(found - names.begin());
}

}  // namespace factflow
