// What the decoders that followed Llama share: keys of config.json, names of tensors, blocks.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/architecture.hpp"
#include "model/config_reader.hpp"
#include "model/families/decoder.hpp"
#include "model/families/rotary.hpp"
#include "model/network.hpp"
#include "model/tensor_table.hpp"

namespace factflow {

// What a class of transformers takes for keys that are absent or null.
struct LlamaDefaults {
  int vocabulary, mlp_size, positions;
  std::optional<int> key_heads;  // of an absent num_key_value_heads; nullopt = one per head
  int hidden = 4096, layers = 32, heads = 32;
  double epsilon = 1e-6, theta = 10000;
  bool tied = false;
  std::optional<int> head_size = {};  // nullopt = hidden_size / heads
  bool null_key_heads = true;         // null is one per head, not an error
  bool null_head_size = false;        // null is as good as absence, not an error
  bool null_dropout = true;           // likewise
  bool whole_heads = false;           // heads must divide hidden_size, also beside head_dim
  const char* activation_key = "hidden_act";
  const char* activation = "silu";
};

struct LlamaDecoder {
  Architecture architecture;  // but its blocks
  AttentionShape attention;   // but for what is special about a family; no rotary
  MlpShape mlp;

  Architecture with_layers_alike() const;
  // With this window in the layers that are true; and with the rotations of their kind.
  Architecture with_windows(const std::vector<bool>& slides, int window) const;
  Architecture with_kinds(const std::vector<bool>& slides, int window,
                          const RotaryByKind& rotary) const;
};

// All keys but those of rotary embeddings, windows and biases. Throws InputError.
LlamaDecoder read_llama_decoder(ConfigReader& config, const LlamaDefaults& defaults);

// Which layers slide: as layer_types says, or if it is absent as `derived`. `none`: why no layer
// can slide ("sliding_window is null"), or empty.
std::vector<bool> sliding_layers(ConfigReader& config, const std::vector<bool>& derived,
                                 const std::string& none);

// Names of a layer's norms, and how weights are stored.
struct LlamaNames {
  // Before and behind attention and MLP; empty: there is none.
  std::string attention = "input_layernorm", attention_behind = "",
              mlp = "post_attention_layernorm", mlp_behind = "";
  bool one_plus = false;  // norms store w and multiply by 1 + w
  bool fused = false;     // qkv_proj and gate_up_proj
  // Of a layer's second block if it is no MLP: adds its tensors to the table, and makes it.
  // `layer`: "model.layers.0."
  std::function<void(TensorTable&, const std::string& layer, const MixerShape&)> add_other = {};
  std::function<std::unique_ptr<Mixer>(Weights&, const std::string& layer, const MixerShape&)>
      make_other = {};
};

TensorTable llama_named_tensors(const Architecture& architecture, const LlamaNames& names);
NetworkParts llama_named_parts(const Architecture& architecture, Weights& weights,
                               const LlamaNames& names);

// Adds NAME.weight [out, in], and NAME.bias.
void add_matrix(TensorTable& table, const std::string& name, std::int64_t out, std::int64_t in,
                bool bias);

}  // namespace factflow
