#include <stdexcept>

#include "model/families/declarations.hpp"
#include "model/families/family.hpp"

namespace factflow {

const std::vector<Family>& built_in_families() {
  static const std::vector<Family> list = {
      {"gpt2", read_gpt2, gpt2_tensors, gpt2_parts},
      {"llama", read_llama, llama_tensors, llama_parts},
      {"mistral", read_mistral, llama_tensors, llama_parts},
      {"qwen2", read_qwen2, llama_tensors, llama_parts},
      {"gpt_neox", read_gpt_neox, gpt_neox_tensors, gpt_neox_parts},
      {"qwen3", read_qwen3, qwen3_tensors, qwen3_parts},
      {"olmo2", read_olmo2, olmo_tensors, olmo_parts},
      {"olmo3", read_olmo3, olmo_tensors, olmo_parts},
      {"gemma2", read_gemma2, gemma_tensors, gemma_parts},
      {"gemma3_text", read_gemma3_text, gemma_tensors, gemma_parts},
      {"phi3", read_phi3, phi3_tensors, phi3_parts},
      {"smollm3", read_smollm3, smollm3_tensors, smollm3_parts},
      {"granite", read_granite, granite_tensors, granite_parts},
      {"gptj", read_gptj, gptj_tensors, gptj_parts},
      {"opt", read_opt, opt_tensors, opt_parts},
      {"mamba", read_mamba, mamba_tensors, mamba_parts},
      {"falcon_mamba", read_falcon_mamba, mamba_tensors, mamba_parts},
      {"mamba2", read_mamba2, mamba2_tensors, mamba2_parts},
      {"bamba", read_bamba, bamba_tensors, bamba_parts},
      {"falcon_h1", read_falcon_h1, falcon_h1_tensors, falcon_h1_parts},
      {"granitemoehybrid", read_granite_hybrid, granite_hybrid_tensors, granite_hybrid_parts},
      {"jamba", read_jamba, jamba_tensors, jamba_parts},
      {"lfm2", read_lfm2, lfm2_tensors, lfm2_parts},
      {"mixtral", read_mixtral, mixtral_tensors, mixtral_parts},
      {"nemotron_h", read_nemotron_h, nemotron_h_tensors, nemotron_h_parts},
      {"olmo_hybrid", read_olmo_hybrid, olmo_hybrid_tensors, olmo_hybrid_parts},
      {"qwen3_5", read_qwen3_5, qwen3_5_tensors, qwen3_5_parts, "qwen3_5_text"},
      {"qwen3_5_text", read_qwen3_5, qwen3_5_tensors, qwen3_5_parts},
      {"qwen3_5_moe", read_qwen3_5_moe, qwen3_5_tensors, qwen3_5_parts, "qwen3_5_moe_text"},
      {"qwen3_5_moe_text", read_qwen3_5_moe, qwen3_5_tensors, qwen3_5_parts},
      {"qwen3_moe", read_qwen3_moe, qwen3_moe_tensors, qwen3_moe_parts},
      {"qwen3_next", read_qwen3_next, qwen3_next_tensors, qwen3_next_parts},
      {"recurrent_gemma", read_recurrent_gemma, recurrent_gemma_tensors, recurrent_gemma_parts},
      {"rwkv7", read_rwkv7, rwkv7_tensors, rwkv7_parts},
      {"rwkv7_fla", read_rwkv7, rwkv7_tensors, rwkv7_parts},
      {"zamba2", read_zamba2, zamba2_tensors, zamba2_parts},
  };
  return list;
}

const Family& family_named(const std::string& model_type) {
  for (const Family& family : families())
    if (model_type == family.model_type) return family;
  throw std::out_of_range("no family " + model_type);
}

}  // namespace factflow
