// What each file of this folder offers to the list in families.cpp.
#pragma once

#include "model/families/family.hpp"

namespace factflow {

#define FACTFLOW_FAMILY(name)                                   \
  TensorTable name##_tensors(const Architecture& architecture); \
  NetworkParts name##_parts(const Architecture& architecture, Weights& weights);

FACTFLOW_FAMILY(gpt2)
FACTFLOW_FAMILY(llama)
FACTFLOW_FAMILY(gpt_neox)
FACTFLOW_FAMILY(qwen3)
FACTFLOW_FAMILY(olmo)
FACTFLOW_FAMILY(gemma)
FACTFLOW_FAMILY(phi3)
FACTFLOW_FAMILY(smollm3)
FACTFLOW_FAMILY(granite)
FACTFLOW_FAMILY(gptj)
FACTFLOW_FAMILY(opt)
FACTFLOW_FAMILY(mamba)
FACTFLOW_FAMILY(mamba2)
FACTFLOW_FAMILY(bamba)
FACTFLOW_FAMILY(falcon_h1)
FACTFLOW_FAMILY(granite_hybrid)
FACTFLOW_FAMILY(jamba)
FACTFLOW_FAMILY(lfm2)
FACTFLOW_FAMILY(mixtral)
FACTFLOW_FAMILY(nemotron_h)
FACTFLOW_FAMILY(olmo_hybrid)
FACTFLOW_FAMILY(qwen3_5)
FACTFLOW_FAMILY(qwen3_moe)
FACTFLOW_FAMILY(qwen3_next)
FACTFLOW_FAMILY(recurrent_gemma)
FACTFLOW_FAMILY(rwkv7)
FACTFLOW_FAMILY(zamba2)
#undef FACTFLOW_FAMILY

Architecture read_gpt2(ConfigReader& config);
Architecture read_llama(ConfigReader& config);
Architecture read_mistral(ConfigReader& config);
Architecture read_qwen2(ConfigReader& config);
Architecture read_gpt_neox(ConfigReader& config);
Architecture read_qwen3(ConfigReader& config);
Architecture read_olmo2(ConfigReader& config);
Architecture read_olmo3(ConfigReader& config);
Architecture read_gemma2(ConfigReader& config);
Architecture read_gemma3_text(ConfigReader& config);
Architecture read_phi3(ConfigReader& config);
Architecture read_smollm3(ConfigReader& config);
Architecture read_granite(ConfigReader& config);
Architecture read_gptj(ConfigReader& config);
Architecture read_opt(ConfigReader& config);
Architecture read_mamba(ConfigReader& config);
Architecture read_falcon_mamba(ConfigReader& config);
Architecture read_mamba2(ConfigReader& config);
Architecture read_bamba(ConfigReader& config);
Architecture read_falcon_h1(ConfigReader& config);
Architecture read_granite_hybrid(ConfigReader& config);
Architecture read_jamba(ConfigReader& config);
Architecture read_lfm2(ConfigReader& config);
Architecture read_mixtral(ConfigReader& config);
Architecture read_nemotron_h(ConfigReader& config);
Architecture read_olmo_hybrid(ConfigReader& config);
Architecture read_qwen3_5(ConfigReader& config);
Architecture read_qwen3_5_moe(ConfigReader& config);
Architecture read_qwen3_moe(ConfigReader& config);
Architecture read_qwen3_next(ConfigReader& config);
Architecture read_recurrent_gemma(ConfigReader& config);
Architecture read_rwkv7(ConfigReader& config);
Architecture read_zamba2(ConfigReader& config);

}  // namespace factflow
