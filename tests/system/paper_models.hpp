// Small stand-ins for the models of configs/paper: same families, layers and options, everything
// else scaled down, random weights, a small tokenizer. They are made to know one answer, so that
// selections by correctness select something.
#pragma once

#include <filesystem>
#include <string>

namespace factflow::testing {

inline constexpr const char* kPaperAnswer = " French";

// Writes directory/ORG/NAME for every model of configs/paper/everything.yaml, and the tokenizers
// that it names.
void write_paper_models(const std::filesystem::path& directory);

// Writes four prompts in the minimal form, of our own, all with that answer. Their ids are among
// those of configs/paper: the first two are in both published lists and among the heat maps by
// model, the others among the heat maps by prompt.
void write_paper_prompts(const std::filesystem::path& file);

}  // namespace factflow::testing
