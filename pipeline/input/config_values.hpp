// The kinds of values that only configurations have.
#pragma once

#include <cstdint>
#include <string>

#include "fields/fields.hpp"
#include "pipeline/input/config.hpp"

namespace factflow {

// Letters, digits, '.', '_' and '-', at most 100 of them, starting with a letter or digit: a safe
// name of a directory and of an HDF5 group.
Form<std::string> safe_name();

// A directory, or hf:ORG/NAME[@REVISION].
Form<std::string> checkpoint_path();

Form<std::string> dataset_format();         // "auto" or one of dataset_format_names()
Form<HeadChoice> head_choice();             // configured | embedding | own
Form<GatedNormChoice> gated_norm_choice();  // per-group | all-channels
Form<AnswerRule> answer_rule();             // continuation | first-token
Form<std::string> device();                 // auto | cpu | cuda | cuda:N
Form<std::string> precision();              // fp64 | fp32 | tf32x3 | tf32 | bf16
Form<std::int64_t> byte_size();             // "8 GiB", "512 MiB", "4096"

}  // namespace factflow
