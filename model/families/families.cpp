#include <stdexcept>

#include "model/families/declarations.hpp"
#include "model/families/family.hpp"

namespace factflow {

const std::vector<Family>& families() {
  static const std::vector<Family> list = {
      {"gpt2", read_gpt2, gpt2_tensors, build_gpt2, transformer_memory},
      {"llama", read_llama, llama_tensors, build_llama, transformer_memory},
      {"mistral", read_mistral, llama_tensors, build_llama, transformer_memory},
      {"qwen2", read_qwen2, llama_tensors, build_llama, transformer_memory},
      {"gpt_neox", read_gpt_neox, gpt_neox_tensors, build_gpt_neox, transformer_memory},
      {"mamba", read_mamba, mamba_tensors, build_mamba, mamba_memory},
      {"falcon_mamba", read_falcon_mamba, mamba_tensors, build_mamba, mamba_memory},
      {"mamba2", read_mamba2, mamba2_tensors, build_mamba2, mamba2_memory},
  };
  return list;
}

const Family& family_named(const std::string& model_type) {
  for (const Family& family : families())
    if (model_type == family.model_type) return family;
  throw std::out_of_range("no family " + model_type);
}

}  // namespace factflow
