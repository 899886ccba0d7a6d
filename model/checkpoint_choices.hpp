// What the user decides about a checkpoint whose files contradict each other or leave it open. The
// parsers throw InputError for a word that is none of theirs.
#pragma once

#include <string>

namespace factflow {

// The matrix [vocabulary, hidden] that turns final states into logits.
enum class HeadChoice {
  kConfigured,  // as config.json says; an error if the tensors say something else
  kEmbedding,   // the input embedding, whatever head the file has
  kOwn          // the file's own head, whatever config.json says
};

HeadChoice parse_head_choice(const std::string& word);
std::string to_string(HeadChoice choice);  // configured, embedding, own

// What the gated norm of a Mamba-2 with several groups takes its mean square over.
enum class GatedNormChoice {
  kPerGroup,    // each group of channels: mamba_ssm, and transformers from 5.24 on
  kAllChannels  // all channels together: transformers up to 5.17
};

GatedNormChoice parse_gated_norm_choice(const std::string& word);
std::string to_string(GatedNormChoice choice);  // per-group, all-channels

struct CheckpointChoices {
  HeadChoice head = HeadChoice::kConfigured;
  GatedNormChoice gated_norm = GatedNormChoice::kPerGroup;
  bool operator==(const CheckpointChoices&) const = default;
};

}  // namespace factflow
