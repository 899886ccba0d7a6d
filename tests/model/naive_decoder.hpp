// The newer Transformer families for naive_forward.hpp: one decoder with switches, each token's
// attention a softmax over the list of keys that it still reads. Rotary embeddings without scaling.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "model/intervention.hpp"

namespace factflow {

class NaiveDecoder {
 public:
  static bool knows(const std::string& family);
  // Keeps references to both; tensors in float64.
  NaiveDecoder(const nlohmann::json& config, const std::map<std::string, at::Tensor>& tensors);

  // [vocabulary] log-probabilities after the last token.
  at::Tensor log_probabilities(const std::vector<int>& ids, const Block& knockout) const;

 private:
  bool is(const std::string& family) const { return family_ == family; }
  bool has(const std::string& name) const { return tensors_.count(name) != 0; }
  at::Tensor get(const std::string& name) const { return tensors_.at(name).to(at::kDouble); }
  at::Tensor linear(const std::string& name, const at::Tensor& x) const;
  at::Tensor norm(const std::string& name, const at::Tensor& x) const;
  at::Tensor activated(const at::Tensor& x) const;
  int window(int layer) const;  // 0 = none
  at::Tensor turned(int layer, const at::Tensor& heads) const;
  at::Tensor attention(int layer, const at::Tensor& x, const Block& knockout) const;
  at::Tensor mlp(int layer, const at::Tensor& x) const;
  at::Tensor layer(int layer, const at::Tensor& x, const Block& knockout) const;
  at::Tensor embedded(const std::vector<int>& ids) const;
  std::string prefix(int layer) const;

  const nlohmann::json& config_;
  const std::map<std::string, at::Tensor>& tensors_;
  std::string family_;
  bool gemma_, olmo_;
  int layers_, heads_, key_heads_, head_size_, hidden_;
  double epsilon_, scale_;
};

}  // namespace factflow
