"""Tiny config.json of every family in which every key that counts says something else than its class's default, for class_defaults.py.

Several of a family where one key hides another. Layers are as many as the longest pattern of a class needs to show.
"""
KINDS = ["sliding_attention", "full_attention"]
YARN = {"rope_type": "yarn", "factor": 4.0, "beta_fast": 8.0, "beta_slow": 0.5, "attention_factor": 1.2, "original_max_position_embeddings": 32,
        "rope_theta": 50.0}
MSCALE = {"rope_type": "yarn", "factor": 4.0, "mscale": 1.0, "mscale_all_dim": 0.7, "original_max_position_embeddings": 32, "rope_theta": 50.0}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 50.0}
LINEAR = {"rope_type": "linear", "factor": 4.0, "rope_theta": 50.0}
LONG = {"rope_type": "longrope", "factor": 4.0, "attention_factor": 1.1, "original_max_position_embeddings": 8, "rope_theta": 50.0,
        "short_factor": [1.0, 1.5], "long_factor": [2.0, 3.0]}
LARGE = {"vocab_size": 29, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 12,
         "max_position_embeddings": 64, "rms_norm_eps": 0.02, "tie_word_embeddings": True}
DECODER = {**LARGE, "hidden_act": "gelu"}
UNTIED = {"tie_word_embeddings": False}  # of classes that tie
DEEP = {"num_hidden_layers": 7}
BIASED = {"attention_bias": True}
MLP_BIASED = {**BIASED, "mlp_bias": True}
OUTSIDE = {"rope_theta": 50.0}


def rope(inside):
    return {"rope_parameters": inside}


GEMMA = {**DECODER, **DEEP, **UNTIED, **BIASED, "head_dim": 4, "hidden_activation": "silu", "query_pre_attn_scalar": 9, "sliding_window": 3,
         "final_logit_softcapping": 5.0, "use_bidirectional_attention": False}
GEMMA.pop("hidden_act")
GRANITE = {"embedding_multiplier": 3.0, "attention_multiplier": 0.2, "residual_multiplier": 0.6, "logits_scaling": 1.7}
GPT2 = {"vocab_size": 29, "n_positions": 64, "n_embd": 48, "n_layer": 2, "n_head": 4, "n_inner": 20, "activation_function": "relu",
        "layer_norm_epsilon": 0.02, "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": True, "reorder_and_upcast_attn": True,
        "add_cross_attention": False, "tie_word_embeddings": False}
GPTJ = {"vocab_size": 29, "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4, "n_inner": 20, "activation_function": "relu",
        "layer_norm_epsilon": 0.02, "tie_word_embeddings": True}
OPT = {"vocab_size": 29, "hidden_size": 48, "num_hidden_layers": 2, "ffn_dim": 20, "max_position_embeddings": 40, "num_attention_heads": 4,
       "activation_function": "gelu", "word_embed_proj_dim": 20, "do_layer_norm_before": False, "_remove_final_layer_norm": True,
       "enable_bias": False, "layer_norm_elementwise_affine": False, "tie_word_embeddings": False}
NEOX = {"vocab_size": 29, "hidden_size": 256, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 20, "hidden_act": "relu",
        "max_position_embeddings": 64, "layer_norm_eps": 0.02, "tie_word_embeddings": True, "use_parallel_residual": False, "attention_bias": False}
MAMBA = {"vocab_size": 29, "hidden_size": 12, "state_size": 3, "num_hidden_layers": 2, "layer_norm_epsilon": 0.02, "expand": 3, "conv_kernel": 3,
         "use_bias": True, "use_conv_bias": False, "residual_in_fp32": False, "time_step_rank": 3, "tie_word_embeddings": False, "hidden_act": "silu"}
MAMBA2 = {**MAMBA, "num_heads": 6, "head_dim": 6, "n_groups": 3, "time_step_limit": [0.1, 1.0], "chunk_size": 4, "tie_word_embeddings": True}
MAMBA2_BLOCK = {"mamba_n_heads": 4, "mamba_d_head": 12, "mamba_n_groups": 2, "mamba_d_state": 5, "mamba_d_conv": 3, "mamba_expand": 3,
                "mamba_chunk_size": 4, "mamba_conv_bias": False, "mamba_proj_bias": True, "time_step_limit": [0.1, 1.0]}
HYBRID = {**LARGE, "num_hidden_layers": 5, "hidden_act": "swish"}
DELTA = {"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 4, "linear_value_head_dim": 6, "linear_conv_kernel_dim": 3}
QWEN_LAYERS = {**HYBRID, **BIASED, **DELTA, "head_dim": 8}
MIX = ["full_attention", "linear_attention"]
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 3, "moe_intermediate_size": 6, "shared_expert_intermediate_size": 5}
NEMOTRON = {"vocab_size": 29, "hidden_size": 16, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "intermediate_size": 12,
            "mlp_hidden_act": "relu2", "ssm_state_size": 5, "mamba_num_heads": 4, "mamba_head_dim": 6, "mamba_hidden_act": "swish", "n_groups": 2,
            "conv_kernel": 3, "time_step_min": 0.3, "use_conv_bias": False, "use_bias": True, "layer_norm_epsilon": 0.02}
ROUTED = {"n_routed_experts": 6, "n_shared_experts": 1, "moe_intermediate_size": 6, "moe_shared_expert_intermediate_size": 5, "moe_latent_size": 7,
          "num_experts_per_tok": 3, "routed_scaling_factor": 2.5, "n_group": 2, "topk_group": 1, "norm_topk_prob": False}
LFM2 = {key: value for key, value in LARGE.items() if key not in ("rms_norm_eps", "tie_word_embeddings")}

FULL = {
    "gpt2": [GPT2],
    "gpt_neox": [{**NEOX, "rotary_emb_base": 50.0, "rotary_pct": 0.5}, {**NEOX, **rope({**LINEAR, "partial_rotary_factor": 0.5})}],
    "llama": [{**DECODER, **MLP_BIASED, "head_dim": 6, **OUTSIDE}, {**DECODER, **rope(LLAMA3)}, {**DECODER, "hidden_size": 64, **rope(YARN)}],
    "mistral": [{**DECODER, "head_dim": 4, "sliding_window": 3, **OUTSIDE}, {**DECODER, "hidden_size": 64, **rope(LINEAR)}],
    "qwen2": [{**DECODER, "hidden_size": 64, "use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1, **OUTSIDE},
              {**DECODER, "use_sliding_window": True, "sliding_window": 3, "layer_types": KINDS, **rope(YARN)}],
    "qwen3": [{**DECODER, **BIASED, "head_dim": 4, "use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1, **OUTSIDE},
              {**DECODER, "head_dim": 4, "use_sliding_window": True, "sliding_window": 3, "layer_types": KINDS, **rope(LONG)}],
    "olmo2": [{**DECODER, **BIASED, "head_dim": 4, **OUTSIDE}, {**DECODER, "hidden_size": 64, **rope(MSCALE)}],
    "olmo3": [{**DECODER, **DEEP, **BIASED, "head_dim": 4, "sliding_window": 3, "layer_types": KINDS * 3 + KINDS[:1],
               **rope({KINDS[0]: LINEAR, KINDS[1]: YARN})},
              {**DECODER, **DEEP, "sliding_window": 3, "rope_scaling": {key: YARN[key] for key in YARN if key != "rope_theta"}}],
    "gemma2": [{**GEMMA, "attn_logit_softcapping": 2.0, "layer_types": KINDS[::-1] * 3 + KINDS[:1], **OUTSIDE},
               {**GEMMA, "attn_logit_softcapping": 2.0, **rope(YARN)}],
    "gemma3_text": [{**GEMMA, "attn_logit_softcapping": None, "layer_types": KINDS * 3 + KINDS[:1], **rope({KINDS[0]: LINEAR, KINDS[1]: LLAMA3})},
                    {**GEMMA, "attn_logit_softcapping": None, "sliding_window_pattern": 3, "rope_theta": 50.0, "rope_local_base_freq": 30.0,
                     "rope_scaling": {"rope_type": "linear", "factor": 4.0}}],
    "phi3": [{**DECODER, "head_dim": 4, "sliding_window": 3, "original_max_position_embeddings": 8, **OUTSIDE, "partial_rotary_factor": 0.5},
             {**DECODER, "hidden_size": 64, "original_max_position_embeddings": 8, "num_attention_heads": 16, "sliding_window": None,
              **rope({key: LONG[key] for key in LONG if key != "original_max_position_embeddings"})},
             {**DECODER, "hidden_size": 32, "original_max_position_embeddings": 8, "sliding_window": None, "max_position_embeddings": 32, **OUTSIDE,
              "partial_rotary_factor": 0.5, "rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.5], "long_factor": [2.0, 3.0]}}],
    "smollm3": [{**DECODER, **DEEP, **UNTIED, **MLP_BIASED, "head_dim": 4, "no_rope_layer_interval": 3, "use_sliding_window": True,
                 "sliding_window": 3, **OUTSIDE},
                {**DECODER, **UNTIED, "hidden_size": 64, "no_rope_layers": [0, 1], "use_sliding_window": True, "sliding_window": 3,
                 "layer_types": KINDS[::-1], **rope(LINEAR)}],
    "granite": [{**DECODER, **MLP_BIASED, **GRANITE, "head_dim": 4, **OUTSIDE}, {**DECODER, **GRANITE, **rope(LLAMA3)}],
    "gptj": [GPTJ, {**GPTJ, "n_embd": 128, "n_head": 2}],
    "opt": [OPT, {**OPT, "do_layer_norm_before": True}],
    "mamba": [MAMBA],
    "falcon_mamba": [{**MAMBA, "mixer_rms_eps": 0.02}],
    "mamba2": [MAMBA2],
    "mixtral": [{**HYBRID, "num_hidden_layers": 2, "head_dim": 4, "sliding_window": 3, "num_local_experts": 4, "num_experts_per_tok": 3, **OUTSIDE},
                {**HYBRID, "hidden_size": 64, "num_hidden_layers": 2, "num_local_experts": 4, **rope({"rope_type": "default", **OUTSIDE})}],
    "qwen3_moe": [{**HYBRID, **BIASED, "head_dim": 4, "use_sliding_window": True, "sliding_window": 3, "decoder_sparse_step": 2,
                   "mlp_only_layers": [3], "norm_topk_prob": True, **{key: EXPERTS[key] for key in list(EXPERTS)[:3]}, **OUTSIDE},
                  {**HYBRID, "hidden_size": 64, **{key: EXPERTS[key] for key in list(EXPERTS)[:3]}, **rope({"rope_type": "default", **OUTSIDE})}],
    "bamba": [{**HYBRID, **MLP_BIASED, **MAMBA2_BLOCK, "attn_layer_indices": [1, 3], **OUTSIDE},
              {**HYBRID, **MAMBA2_BLOCK, "head_dim": 4, "mamba_n_heads": 6, "mamba_d_head": "auto", "attn_layer_indices": [1],
               **rope({"rope_type": "default", "partial_rotary_factor": 1.0, **OUTSIDE})}],
    "granitemoehybrid": [{**HYBRID, **BIASED, **MAMBA2_BLOCK, **GRANITE, "num_local_experts": 4, "num_experts_per_tok": 3,
                          "shared_intermediate_size": 6, "position_embedding_type": "rope", "layer_types": (MIX * 3)[:5], **OUTSIDE},
                         {**HYBRID, **MAMBA2_BLOCK, "num_local_experts": 0, "shared_intermediate_size": 6, "layers_block_type": ["mamba", "attention"] * 2 + ["mamba"],
                          "position_embedding_type": "rope", **rope({"rope_type": "default", **OUTSIDE})}],
    "falcon_h1": [{**HYBRID, **MLP_BIASED, **MAMBA2_BLOCK, "num_hidden_layers": 2, "mamba_d_ssm": 24, "mamba_d_head": 6, "mamba_norm_before_gate": False,
                   "mamba_rms_norm": True, "projectors_bias": True, "lm_head_multiplier": 0.5, "embedding_multiplier": 3.0, "mlp_multipliers": [0.5, 1.5],
                   "key_multiplier": 0.7, "attention_out_multiplier": 0.6, "attention_in_multiplier": 1.3, "ssm_multipliers": [0.5, 1.5, 0.8, 1.2, 0.7],
                   "ssm_in_multiplier": 1.2, "ssm_out_multiplier": 0.8, **OUTSIDE},
                  {**HYBRID, **MAMBA2_BLOCK, "num_hidden_layers": 2, "head_dim": 4, "mamba_d_ssm": None, **rope({"rope_type": "default", **OUTSIDE})}],
    "nemotron_h": [{**NEMOTRON, **ROUTED, "layers_block_type": ["linear_attention", "moe", "full_attention", "moe"]},
                   {**NEMOTRON, "mlp_bias": True, "hybrid_override_pattern": "M-*-"}],
    "jamba": [{**HYBRID, "num_hidden_layers": 10, "num_experts": 4, "num_experts_per_tok": 3, "expert_layer_period": 3, "expert_layer_offset": 0,
               "attn_layer_period": 3, "attn_layer_offset": 2, "mamba_d_state": 5, "mamba_d_conv": 3, "mamba_expand": 3, "mamba_dt_rank": 3,
               "mamba_conv_bias": False, "mamba_proj_bias": True}],
    "qwen3_next": [{**QWEN_LAYERS, **EXPERTS, "norm_topk_prob": False, "decoder_sparse_step": 2, "mlp_only_layers": [3], "full_attention_interval": 2,
                    "partial_rotary_factor": 0.5, **OUTSIDE},
                   {**QWEN_LAYERS, "num_experts": 0, "layer_types": (MIX * 3)[:5],
                    **rope({"rope_type": "default", "partial_rotary_factor": 0.5, **OUTSIDE})}],
    "qwen3_5_text": [{**QWEN_LAYERS, "full_attention_interval": 2, "partial_rotary_factor": 0.5, **OUTSIDE},
                     {**QWEN_LAYERS, "layer_types": (MIX * 3)[:5], **rope({"rope_type": "default", "partial_rotary_factor": 0.5, **OUTSIDE})}],
    "qwen3_5_moe_text": [{**QWEN_LAYERS, **EXPERTS, "full_attention_interval": 2, "partial_rotary_factor": 0.5, **OUTSIDE},
                         {**QWEN_LAYERS, **EXPERTS, "layer_types": (MIX * 3)[:5],
                          **rope({"rope_type": "default", "partial_rotary_factor": 0.5, **OUTSIDE})}],
    "olmo_hybrid": [{**HYBRID, **BIASED, **DELTA, "head_dim": 4, "linear_allow_neg_eigval": False, **OUTSIDE},
                    {**HYBRID, **DELTA, "layer_types": (MIX * 3)[:5], **rope({"rope_type": "default", **OUTSIDE})}],
    "lfm2": [{**LFM2, **UNTIED, "num_hidden_layers": 3, "norm_eps": 0.02, "head_dim": 4, "conv_bias": True, "conv_L_cache": 4, "block_multiple_of": 4,
              "block_ffn_dim_multiplier": 1.7, "full_attn_idxs": [1], **OUTSIDE},
             {**LFM2, "tie_embedding": False, "num_hidden_layers": 3, "norm_eps": 0.02, "hidden_size": 64, "block_auto_adjust_ff_dim": False,
              "block_ff_dim": 14, "layer_types": ["conv", "full_attention", "conv"], **rope({"rope_type": "default", **OUTSIDE})}],
    "recurrent_gemma": [{**LARGE, **UNTIED, **BIASED, "num_hidden_layers": 4, "hidden_size": 32, "lru_width": 24, "attention_window_size": 3,
                         "conv1d_width": 3, "logits_soft_cap": 5.0, "hidden_activation": "gelu_pytorch_tanh", "block_types": ["attention", "recurrent"],
                         "partial_rotary_factor": 1.0, **OUTSIDE},
                        {**LARGE, **UNTIED, "num_hidden_layers": 3, "attention_window_size": 3, "block_types": ["recurrent", "attention"],
                         **rope({"rope_type": "default", "partial_rotary_factor": 1.0, **OUTSIDE})}],
}
