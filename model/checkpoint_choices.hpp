// What the user decides about a checkpoint whose files contradict each other or leave it open.
#pragma once

#include <string>

namespace factflow {

// The matrix [vocabulary, hidden] that turns final states into logits.
enum class HeadChoice {
  kConfigured,  // as config.json says; an error if the tensors say something else
  kEmbedding,   // the input embedding, whatever head the file has
  kOwn          // the file's own head, whatever config.json says
};

HeadChoice parse_head_choice(const std::string& word);  // throws InputError
std::string to_string(HeadChoice choice);               // configured, embedding, own

struct CheckpointChoices {
  HeadChoice head = HeadChoice::kConfigured;
  bool operator==(const CheckpointChoices&) const = default;
};

}  // namespace factflow
