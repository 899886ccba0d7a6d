// Prompts as bytes, for kinds whose plan holds some (experiments/bytes.hpp).
#pragma once

#include "model/prompt.hpp"

namespace factflow {

template <class Archive>
void serialize(Archive& archive, Prompt& p) {
  archive(p.id, p.text, p.subject, p.subject_begin, p.answer, p.relation);
}

}  // namespace factflow
