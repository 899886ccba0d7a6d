#include "experiments/stream_only.hpp"

#include <fmt/format.h>

#include "base/error.hpp"
#include "model/mixers/mixer_roles.hpp"

namespace factflow {

void require_stream_only(const ModelToPlan& model, const std::string& key) {
  if (!carries(model.architecture)) return;
  throw InputError(
      model.file.string(),
      fmt::format(
          "key {}: model {} is a {}, whose layers pass on more than the residual stream, so "
          "that no forward can begin between them",
          key, model.name, model.architecture.family),
      "leave it out by an entry with models: [...]");
}

}  // namespace factflow
