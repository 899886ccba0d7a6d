#include "model/kept_numbers.hpp"

#include "model/architecture.hpp"

namespace factflow {
namespace {

bool projects(const Architecture& architecture) {
  return architecture.embedding_width > 0 && architecture.embedding_width != architecture.hidden;
}

}  // namespace

std::int64_t numbers_multiplied(const Architecture& architecture) {
  if (!projects(architecture)) return 0;
  const std::int64_t matrices = architecture.tied_head ? 1 : 2,
                     width = architecture.embedding_width;
  return matrices * architecture.vocabulary * width + 2 * width * architecture.hidden;
}

std::int64_t numbers_kept(const Architecture& architecture, std::int64_t parameters) {
  if (!projects(architecture)) return parameters;
  return parameters - numbers_multiplied(architecture) +
         2 * std::int64_t{architecture.vocabulary} * architecture.hidden;
}

}  // namespace factflow
