// What a config.json says about a model: family, sizes and blocks. No weights, no devices.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "model/block.hpp"
#include "model/checkpoint_choices.hpp"

namespace factflow {

struct Architecture {
  std::string family;      // config.json's model_type: "gpt2", "llama", ...
  bool mamba_ssm = false;  // tensors carry the mamba_ssm library's names
  int layers = 0;
  int hidden = 0;
  int vocabulary = 0;  // rows of the embedding, padding included
  double norm_epsilon = 1e-5;
  bool norm_weights = true;    // false: norms have neither weights nor biases (OPT)
  bool final_norm = true;      // false: the head reads the stream (OPT-350m)
  double embedding_scale = 1;  // of what enters the stream; the head is not scaled
  int embedding_width = 0;     // of the embedding and the head, with projections; 0 = hidden (OPT)
  double logits_divisor = 1;   // logits are the head's outputs divided by it (Granite)
  double logits_cap = 0;       // c: then c tanh(logits / c); 0 = no cap (Gemma-2)
  bool tied_head = true;       // the head is the input embedding
  bool head_chosen = false;    // by the user, against the files if need be
  std::int64_t max_positions = 0;  // 0 = no limit
  // Sizes that config.json leaves to its class's defaults: "hidden_size (4096)".
  std::vector<std::string> assumed;
  std::vector<LayerShape> blocks;  // [layers]

  // What channel sets choose among, where the fewest are, of the mixers on a path; 0 = some of them
  // has none, so that only the set of all blocks anything, or there is none.
  int channels(Path path = Path::kBoth) const;
  bool has(Path path) const;  // whether any mixer of tokens is on it
  bool keeps_states() const;  // in any layer; MixerShape::keeps_states
  bool routes() const;        // likewise
  int taps() const;           // of the longest convolution; MixerShape::taps
  // How tokens are mixed, every way once: "mamba", or "attention+mamba" of a hybrid.
  std::string mixing() const;
  // Sites that some layer has, and that of the final norm, in the order of the computation.
  std::vector<Site> sites() const;
  // The mixer of a block, which the caller knows to be a T; throws std::bad_cast.
  template <class T>
  const T& mixer(int layer, int block = 0) const {
    return dynamic_cast<const T&>(
        *blocks.at(static_cast<size_t>(layer)).at(static_cast<size_t>(block)).mixer);
  }
};

// Throws InputError naming `file` and the key for a family that is not known, a missing or
// misshapen value, every key that could change the mathematics and is not supported, and a choice
// that the model does not have.
Architecture read_architecture(const nlohmann::json& config, const std::filesystem::path& file,
                               const CheckpointChoices& choices = {});

}  // namespace factflow
