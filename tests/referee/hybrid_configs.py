"""Random config.json of hybrids, for checkpoint_configs.py: the keys of transformers 5, and older ones where they exist."""
from decoder_configs import activation, maybe, plain_rotary

HYBRIDS = ("bamba", "granitemoehybrid", "falcon_h1", "nemotron_h", "jamba", "qwen3_next", "qwen3_5_text", "qwen3_5_moe_text", "olmo_hybrid",
           "lfm2", "recurrent_gemma")
SILU = ("silu", "swish")
SHARED_NULLS = "num_key_value_heads head_dim rms_norm_eps rope_theta rope_scaling rope_parameters tie_word_embeddings hidden_act attention_bias "
MAMBA_NULLS = "mamba_n_groups mamba_d_head mamba_expand mamba_conv_bias mamba_proj_bias mamba_d_conv time_step_limit mamba_chunk_size "
DELTA_NULLS = "linear_num_key_heads linear_num_value_heads linear_key_head_dim linear_value_head_dim linear_conv_kernel_dim layer_types "
EXPERT_NULLS = "num_experts num_experts_per_tok moe_intermediate_size shared_expert_intermediate_size "
# Keys that null is tried for.
NULLABLE = {
    "bamba": SHARED_NULLS + MAMBA_NULLS + "attn_layer_indices mlp_bias",
    "granitemoehybrid": SHARED_NULLS + MAMBA_NULLS + "position_embedding_type num_local_experts num_experts_per_tok shared_intermediate_size "
                                                     "embedding_multiplier attention_multiplier residual_multiplier logits_scaling layer_types",
    "falcon_h1": SHARED_NULLS + MAMBA_NULLS + "mamba_d_ssm mamba_rms_norm mamba_norm_before_gate projectors_bias mlp_multipliers ssm_multipliers "
                                              "key_multiplier lm_head_multiplier attention_in_multiplier ssm_in_multiplier ssm_out_multiplier",
    "nemotron_h": "num_key_value_heads head_dim layer_norm_epsilon n_groups use_bias use_conv_bias time_step_min time_step_limit mlp_bias "
                  "mlp_hidden_act mamba_hidden_act norm_topk_prob moe_latent_size routed_scaling_factor layers_block_type",
    "jamba": SHARED_NULLS + "num_experts num_experts_per_tok mamba_d_state mamba_d_conv mamba_expand mamba_dt_rank mamba_conv_bias mamba_proj_bias "
                            "attn_layer_period attn_layer_offset expert_layer_period expert_layer_offset",
    "qwen3_next": SHARED_NULLS + DELTA_NULLS + EXPERT_NULLS + "norm_topk_prob decoder_sparse_step mlp_only_layers full_attention_interval",
    "qwen3_5_text": SHARED_NULLS + DELTA_NULLS + "full_attention_interval",
    "qwen3_5_moe_text": SHARED_NULLS + DELTA_NULLS + EXPERT_NULLS + "full_attention_interval",
    "olmo_hybrid": SHARED_NULLS + DELTA_NULLS + "linear_allow_neg_eigval",
    "lfm2": "num_key_value_heads head_dim norm_eps conv_bias conv_L_cache block_multiple_of block_ffn_dim_multiplier block_auto_adjust_ff_dim "
            "full_attn_idxs layer_types rope_theta rope_parameters tie_word_embeddings",
    "recurrent_gemma": SHARED_NULLS + "lru_width attention_window_size conv1d_width logits_soft_cap block_types hidden_activation",
}


def sizes(rng, config, unusual, layers=(2, 3, 4), known=SILU):
    heads = rng.choice([1, 2, 4])
    config.update(hidden_size=heads * rng.choice([4, 8]), num_hidden_layers=rng.choice(layers), num_attention_heads=heads,
                  intermediate_size=rng.choice([16, 23]), max_position_embeddings=64,
                  num_key_value_heads=rng.choice([n for n in (1, 2, 4) if heads % n == 0]))
    maybe(rng, config, "rms_norm_eps", [1e-5, 1e-3, 0.02])
    activation(rng, config, "hidden_act", unusual, known)


def mamba2_block(rng, config, inner=None):
    """The keys of Bamba, Granite-4 and Falcon-H1. `inner`: channels, if not mamba_expand x hidden_size."""
    if inner is None:
        maybe(rng, config, "mamba_expand", [1, 2, 3])
        inner = config.get("mamba_expand", 2) * config["hidden_size"]
    heads = rng.choice([n for n in (1, 2, 4) if inner % n == 0])
    config.update(mamba_n_heads=heads, mamba_d_state=rng.choice([1, 3, 8]))
    maybe(rng, config, "mamba_d_head", ["auto", inner // heads])
    maybe(rng, config, "mamba_n_groups", [n for n in (1, 2, 4) if heads % n == 0])
    maybe(rng, config, "mamba_d_conv", [2, 3, 4])
    maybe(rng, config, "mamba_conv_bias", [True, False])
    maybe(rng, config, "mamba_proj_bias", [True, False])
    maybe(rng, config, "mamba_chunk_size", [4, 8, 256])
    maybe(rng, config, "time_step_limit", [[0.1, 1.0], [0.0, 0.5]], 0.4)
    maybe(rng, config, "num_logits_to_keep", [1], 0.2)


def bamba(rng, config, unusual):
    sizes(rng, config, unusual)
    mamba2_block(rng, config)
    layers = range(config["num_hidden_layers"])
    maybe(rng, config, "attn_layer_indices", [[0], [1], [0, 1], [layers[-1]], [], None], 0.8)
    maybe(rng, config, "attention_bias", [True, False])
    maybe(rng, config, "mlp_bias", [True, False])
    maybe(rng, config, "head_dim", [4, 12], 0.2)
    plain_rotary(rng, config, unusual)
    if "rope_parameters" not in config:
        maybe(rng, config, "partial_rotary_factor", [0.5, 0.5, 0.25], 0.3)
        if config.get("partial_rotary_factor") == 0.25:
            unusual.add("partial_rotary_factor")


def granitemoehybrid(rng, config, unusual):
    sizes(rng, config, unusual)
    mamba2_block(rng, config)
    names = rng.choice([("attention", "mamba"), ("full_attention", "linear_attention")])
    kinds = [rng.choice(names) for _ in range(config["num_hidden_layers"])]
    maybe(rng, config, rng.choice(["layer_types", "layers_block_type"]), [kinds], 0.8)
    maybe(rng, config, "position_embedding_type", ["rope", "nope", None], 0.7)
    experts = rng.choice([0, 1, 3, 4])
    config.update(num_local_experts=experts, shared_intermediate_size=rng.choice([8, 12]))
    config["num_experts_per_tok"] = rng.choice([n for n in (1, 2, 3) if n <= max(1, experts)])
    maybe(rng, config, "attention_bias", [True, False])
    for key in ("embedding_multiplier", "attention_multiplier", "residual_multiplier", "logits_scaling"):
        maybe(rng, config, key, [1, 0.3, 3, 1.7], 0.7)
    plain_rotary(rng, config, unusual)


def falcon_h1(rng, config, unusual):
    sizes(rng, config, unusual)
    inner = rng.choice([None, 8, 16, 24])
    config["mamba_d_ssm"] = inner
    mamba2_block(rng, config, inner)
    if inner is not None:
        maybe(rng, config, "mamba_expand", [2, 3], 0.3)
    maybe(rng, config, "mamba_rms_norm", [True, False])
    maybe(rng, config, "mamba_norm_before_gate", [True, False])
    for key in ("projectors_bias", "attention_bias", "mlp_bias"):
        maybe(rng, config, key, [True, False])
    for key in ("lm_head_multiplier", "embedding_multiplier", "key_multiplier", "attention_out_multiplier", "attention_in_multiplier",
                "ssm_in_multiplier", "ssm_out_multiplier"):
        maybe(rng, config, key, [0.3, 1.0, 1.7])
    maybe(rng, config, "mlp_multipliers", [[0.5, 1.5], None])
    maybe(rng, config, "ssm_multipliers", [[0.5, 1.5, 0.8, 1.2, 0.7], None])
    maybe(rng, config, "head_dim", [4, 6], 0.3)
    plain_rotary(rng, config, unusual)


def nemotron_h(rng, config, unusual):
    heads = rng.choice([1, 2, 4])
    letters = "".join(rng.choice("M*-E") for _ in range(rng.choice([2, 3, 4])))
    words = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}
    if rng.random() < 0.5:
        words.update({"M": "linear_attention", "*": "full_attention"})
    config.update(hidden_size=heads * 8, num_attention_heads=heads, num_key_value_heads=rng.choice([n for n in (1, 2, 4) if heads % n == 0]),
                  head_dim=rng.choice([4, 6]), intermediate_size=rng.choice([16, 23]), num_hidden_layers=len(letters))
    if rng.random() < 0.5:
        config["hybrid_override_pattern"] = letters
    else:
        config["layers_block_type"] = [words[letter] for letter in letters]
    mamba_heads = rng.choice([1, 2, 4])
    config.update(mamba_num_heads=mamba_heads, mamba_head_dim=rng.choice([4, 8]), ssm_state_size=rng.choice([1, 4]),
                  n_groups=rng.choice([n for n in (1, 2, 4) if mamba_heads % n == 0]))
    maybe(rng, config, "conv_kernel", [2, 3, 4])
    maybe(rng, config, "layer_norm_epsilon", [1e-6, 0.02])
    for key in ("use_bias", "use_conv_bias", "mlp_bias", "norm_topk_prob", "attention_bias", "mamba_proj_bias", "residual_in_fp32"):
        maybe(rng, config, key, [True, False], 0.3)
    maybe(rng, config, "time_step_min", [0.01, 0.3])
    maybe(rng, config, "time_step_limit", [[0.1, 1.0]], 0.2)
    maybe(rng, config, "chunk_size", [4, 128])
    groups = rng.choice([1, 1, 2])
    config.update(n_routed_experts=4, num_experts_per_tok=rng.choice([1, 2]), moe_intermediate_size=rng.choice([5, 8]),
                  moe_shared_expert_intermediate_size=rng.choice([6, 8]), n_group=groups, topk_group=rng.choice([1, groups]))
    maybe(rng, config, "routed_scaling_factor", [2.5, 1])
    maybe(rng, config, "moe_latent_size", [None, 6], 0.4)
    if config.get("mlp_bias") and "E" in letters:
        unusual.add("mlp_bias")
    activation(rng, config, "mlp_hidden_act", unusual, ("relu2",))
    activation(rng, config, "mamba_hidden_act", unusual, SILU)


def jamba(rng, config, unusual):
    sizes(rng, config, unusual)
    maybe(rng, config, "mamba_expand", [1, 2])
    config["mamba_d_state"] = rng.choice([1, 3, 8])
    maybe(rng, config, "mamba_d_conv", [2, 3, 4])
    maybe(rng, config, "mamba_dt_rank", ["auto", 1, 3])
    maybe(rng, config, "mamba_conv_bias", [True, False])
    maybe(rng, config, "mamba_proj_bias", [True, False])
    config["num_experts"] = rng.choice([1, 2, 4])
    config["num_experts_per_tok"] = rng.choice([n for n in (1, 2) if n <= config["num_experts"]])
    for kind in ("attn_layer", "expert_layer"):
        period = rng.choice([1, 2, 3])
        config.update({kind + "_period": period, kind + "_offset": rng.randrange(period)})
    maybe(rng, config, "use_mamba_kernels", [False, True], 0.3)
    maybe(rng, config, "head_dim", [4, 6], 0.2)


def delta_rule(rng, config):
    keys = rng.choice([1, 2])
    config.update(linear_num_key_heads=keys, linear_num_value_heads=keys * rng.choice([1, 2, 3]), linear_key_head_dim=rng.choice([2, 4]),
                  linear_value_head_dim=rng.choice([4, 6]))
    maybe(rng, config, "linear_conv_kernel_dim", [2, 3, 4])


def qwen_layers(rng, config, unusual):
    """What Qwen3-Next and the Qwen3.5s share."""
    sizes(rng, config, unusual)
    delta_rule(rng, config)
    config["head_dim"] = rng.choice([8, 16])
    maybe(rng, config, "attention_bias", [True, False])
    maybe(rng, config, "full_attention_interval", [1, 2, 3], 0.6)
    maybe(rng, config, "layer_types", [[rng.choice(["full_attention", "linear_attention"]) for _ in range(config["num_hidden_layers"])]], 0.4)
    plain_rotary(rng, config, unusual)
    place = config.get("rope_parameters") or config
    maybe(rng, place, "partial_rotary_factor", [0.5, 0.25, 1.0])
    maybe(rng, config, "mamba_ssm_dtype", ["float32"], 0.2)


def routed(rng, config, experts):
    config.update(num_experts=experts, num_experts_per_tok=rng.choice([n for n in (1, 2, 3) if n <= max(1, experts)]),
                  moe_intermediate_size=rng.choice([5, 8]), shared_expert_intermediate_size=rng.choice([6, 8]))


def qwen3_next(rng, config, unusual):
    qwen_layers(rng, config, unusual)
    routed(rng, config, rng.choice([0, 1, 3, 4]))
    maybe(rng, config, "norm_topk_prob", [True, False])
    maybe(rng, config, "decoder_sparse_step", [1, 2])
    maybe(rng, config, "mlp_only_layers", [[], [0], [1, 2], None], 0.4)


def qwen3_5_text(rng, config, unusual):
    qwen_layers(rng, config, unusual)


def qwen3_5_moe_text(rng, config, unusual):
    qwen_layers(rng, config, unusual)
    routed(rng, config, rng.choice([1, 3, 4]))
    maybe(rng, config, "mlp_only_layers", [[]], 0.2)


def olmo_hybrid(rng, config, unusual):
    sizes(rng, config, unusual)
    heads, kinds = config["num_attention_heads"], ("full_attention", "linear_attention")
    if rng.random() < 0.5:
        delta_rule(rng, config)
    elif 3 * config["hidden_size"] % (4 * heads) or rng.random() < 0.5:
        config["linear_key_head_dim"] = rng.choice([2, 4])
    if rng.random() < 0.5:
        config["layer_types"] = [*kinds, *(rng.choice(kinds) for _ in range(config["num_hidden_layers"] - 2))]
    maybe(rng, config, "attention_bias", [True, False])
    maybe(rng, config, "linear_allow_neg_eigval", [True, False])
    maybe(rng, config, "head_dim", [4, 6], 0.2)
    plain_rotary(rng, config, unusual)
    if rng.random() < 0.3:
        config["rope_parameters"] = {"rope_theta": None, "rope_type": "default"}
        config.pop("rope_scaling", None)
        config.pop("rope_theta", None)
        unusual.discard("rope_parameters.rope_type")


def lfm2(rng, config, unusual):
    sizes(rng, config, unusual)
    for key in ("rms_norm_eps", "hidden_act"):
        config.pop(key, None)
    unusual.discard("hidden_act")
    maybe(rng, config, "norm_eps", [1e-6, 0.02])
    layers = config["num_hidden_layers"]
    if rng.random() < 0.5:
        config["layer_types"] = [rng.choice(["conv", "full_attention"]) for _ in range(layers)]
    else:
        maybe(rng, config, "full_attn_idxs", [[0], [1], [0, layers - 1], []], 0.8)
    maybe(rng, config, "conv_bias", [True, False])
    maybe(rng, config, "conv_L_cache", [2, 3, 4])
    maybe(rng, config, "block_multiple_of", [4, 8], 0.8)
    maybe(rng, config, "block_ffn_dim_multiplier", [1.0, 1.3, 2], 0.5)
    maybe(rng, config, "block_auto_adjust_ff_dim", [True, False])
    maybe(rng, config, "block_ff_dim", [18, 30], 0.4)
    maybe(rng, config, "head_dim", [4, 6], 0.2)
    if rng.random() < 0.4:
        config.pop("tie_word_embeddings", None)
        config["tie_embedding"] = rng.choice([True, False])
    plain_rotary(rng, config, unusual)


def recurrent_gemma(rng, config, unusual):
    sizes(rng, config, unusual)
    config.pop("hidden_act", None)
    unusual.discard("hidden_act")
    heads = config["num_attention_heads"]
    maybe(rng, config, "lru_width", [None, 4 * heads, 12 * heads])
    config[rng.choice(["attention_window_size", "sliding_window"])] = rng.choice([1, 3, 100])
    maybe(rng, config, "conv1d_width", [2, 3, 4])
    maybe(rng, config, "logits_soft_cap", [3.0, 30.0])
    maybe(rng, config, "block_types", [["recurrent", "attention"], ["attention"], ["recurrent"], ["recurrent", "recurrent", "attention"]], 0.7)
    maybe(rng, config, "attention_bias", [True, False])
    activation(rng, config, "hidden_activation", unusual, ("gelu_pytorch_tanh",))
    plain_rotary(rng, config, unusual)
    if "rope_parameters" not in config:
        maybe(rng, config, "partial_rotary_factor", [0.5, 1.0], 0.3)
