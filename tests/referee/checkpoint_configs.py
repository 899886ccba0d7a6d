"""Random config.json of every family: unusual, but with a meaning in transformers. Sizes are small and odd."""

import decoder_configs
import hybrid_configs

NEWER = (*decoder_configs.DECODERS, *hybrid_configs.HYBRIDS)
FAMILIES = ("gpt2", "gpt_neox", "llama", "mistral", "qwen2", "mamba", "falcon_mamba", "mamba2", "mamba_ssm", "mamba2_ssm", *NEWER)
ACTIVATIONS = ("silu", "swish", "gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "relu")
OTHER_ACTIVATIONS = ("quick_gelu", "tanh", "mish", "relu2")
# Keys that null is tried for: those of the classes, and old spellings.
NULLABLE = {
    "gpt2": "n_inner activation_function layer_norm_epsilon scale_attn_weights scale_attn_by_inverse_layer_idx n_positions "
            "reorder_and_upcast_attn add_cross_attention tie_word_embeddings attn_pdrop sliding_window rope_scaling pad_token_id hidden_size",
    "gpt_neox": "hidden_act rotary_pct rotary_emb_base layer_norm_eps use_parallel_residual attention_bias tie_word_embeddings "
                "rope_scaling rope_parameters hidden_dropout max_position_embeddings rope_theta sliding_window",
    "llama": "num_key_value_heads head_dim hidden_act rms_norm_eps rope_theta rope_scaling rope_parameters attention_bias mlp_bias "
             "tie_word_embeddings pretraining_tp sliding_window layer_types max_position_embeddings",
    "mistral": "num_key_value_heads head_dim hidden_act rms_norm_eps rope_theta rope_scaling sliding_window tie_word_embeddings",
    "qwen2": "num_key_value_heads head_dim hidden_act rms_norm_eps rope_theta rope_scaling sliding_window use_sliding_window "
             "max_window_layers layer_types tie_word_embeddings",
    "mamba": "state_size conv_kernel expand use_bias use_conv_bias time_step_rank layer_norm_epsilon hidden_act tie_word_embeddings "
             "intermediate_size residual_in_fp32 time_step_max sliding_window",
    "falcon_mamba": "mixer_rms_eps state_size use_bias use_conv_bias time_step_rank hidden_act tie_word_embeddings intermediate_size",
    **decoder_configs.NULLABLE,
    **hybrid_configs.NULLABLE,
    "mamba2": "num_heads head_dim n_groups state_size conv_kernel use_bias use_conv_bias time_step_limit hidden_act chunk_size "
              "layer_norm_epsilon tie_word_embeddings",
}


# What other classes have and the class of the file does not, as switched off: no class reads it.
SWITCHED_OFF = {
    "use_sliding_window": [False], "attention_bias": [False, None], "mlp_bias": [False], "qkv_bias": [False], "use_moe": [False],
    "num_experts": [0], "num_local_experts": [0, None], "logit_scale": [1, 1.0, None], "residual_multiplier": [1.0], "clip_qkv": [None],
    "embedding_multiplier": [1, None], "attn_logit_softcapping": [None], "final_logit_softcapping": [None], "use_parallel_residual": [False],
    "rope_interleaved": [False], "use_mrope": [False, None], "qk_layernorm": [False], "resid_pdrop": [0.0], "hidden_dropout": [0, 0.1],
    "attention_dropout": [0.0], "output_router_logits": [False],
}


def maybe(rng, config, key, values, share=0.5):
    if rng.random() < share:
        config[key] = rng.choice(values)


def bookkeeping(rng, config):
    maybe(rng, config, "transformers_version", ["4.31.0", "4.57.3", "5.24.0"])
    maybe(rng, config, rng.choice(["torch_dtype", "dtype"]), ["float32", "float16", "bfloat16"])
    maybe(rng, config, "use_cache", [True, False])
    maybe(rng, config, "pad_token_id", [None, 0])
    maybe(rng, config, "bos_token_id", [0, 1])
    maybe(rng, config, "eos_token_id", [1, [1, 2]])
    maybe(rng, config, "tie_word_embeddings", [True, False], 0.6)
    maybe(rng, config, "output_attentions", [False], 0.1)
    maybe(rng, config, "pruned_heads", [{}, None], 0.1)
    maybe(rng, config, "initializer_range", [0.02, 0.1])


def switched_off(rng, config, family):
    """Keys that the family's class has stay as they are."""
    own = {"gpt_neox": {"attention_bias", "use_parallel_residual", "hidden_dropout"}, "llama": {"attention_bias", "mlp_bias"},
           "qwen2": {"use_sliding_window"}}.get(family, set())
    for key in rng.sample(sorted(set(SWITCHED_OFF) - own - set(config)), rng.choice([0, 0, 1, 3])):
        config[key] = rng.choice(SWITCHED_OFF[key])


def activation(rng, config, key, unusual):
    if rng.random() < 0.06:
        config[key] = rng.choice(OTHER_ACTIVATIONS)
        unusual.add(key)
    else:
        maybe(rng, config, key, ACTIVATIONS)


def scaling(rng, unusual, place):
    """An object of rope_scaling or rope_parameters, without theta."""
    kind = rng.choice(["default", "linear", "linear", "llama3", "llama3", "yarn", "dynamic"] if rng.random() < 0.3 else ["default", "linear", "llama3"])
    name = rng.choice(["rope_type", "rope_type", "type"])
    rope = {name: kind}
    if kind == "default":
        rope.update(rng.choice([{}, {}, {"factor": 1.0}, {"factor": 1, "original_max_position_embeddings": 64}, {"attention_factor": 1.0}]))
    else:
        rope["factor"] = rng.choice([1.5, 2, 4.0, 8.0])
    if kind == "llama3":
        rope.update(low_freq_factor=rng.choice([1.0, 0.5]), high_freq_factor=rng.choice([2.0, 4.0]),
                    original_max_position_embeddings=rng.choice([8, 16, 64]))
    if kind == "yarn":
        rope["original_max_position_embeddings"] = 32
    if kind in ("yarn", "dynamic"):
        unusual.add(f"{place}.rope_type")
    return rope


def rotary(rng, config, unusual, theta_key, share_key):
    """Old keys, new keys or both with the same content."""
    theta, share = rng.choice([100.0, 1000, 10000.0, 500000.0]), rng.choice([0.25, 0.4, 0.5, 0.75, 1.0])
    inside = {"rope_theta": theta, **({"partial_rotary_factor": share} if share_key else {})}
    outside = {theta_key: theta, **({share_key: share} if share_key else {})}
    form = rng.choice(["absent", "outside", "old", "new", "both"] + (["copies"] if share_key else []))
    if form == "outside":
        config.update({key: value for key, value in outside.items() if rng.random() < 0.8})
    elif form == "old":
        config.update(outside, rope_scaling=scaling(rng, unusual, "rope_scaling"))
    elif form == "new":
        config["rope_parameters"] = {**scaling(rng, unusual, "rope_parameters"), **inside}
    elif form == "copies":  # transformers 4.47 to 4.57
        config.update(outside, **inside, rope_scaling=scaling(rng, unusual, "rope_scaling") if rng.random() < 0.5 else None)
    elif form == "both":
        rope = scaling(rng, unusual, "rope_scaling")
        config.update(outside, rope_scaling=rope, rope_parameters={**rope, **inside})
    config["max_position_embeddings"] = rng.choice([64, 128])


def gpt2(rng, config, unusual):
    heads, head = rng.choice([1, 2, 3, 4]), rng.choice([4, 5, 6, 8])
    sizes = dict(n_embd=heads * head, n_layer=rng.choice([1, 2, 3]), n_head=heads, n_positions=rng.choice([40, 64]))
    names = dict(n_embd="hidden_size", n_layer="num_hidden_layers", n_head="num_attention_heads", n_positions="max_position_embeddings")
    for key, size in sizes.items():
        form = rng.choice(["own", "own", "own", "other", "both"])
        config.update({key: size} if form != "other" else {}, **({names[key]: size} if form != "own" else {}))
    maybe(rng, config, "n_ctx", [sizes["n_positions"]])
    maybe(rng, config, "n_inner", [None, 24, 33])
    maybe(rng, config, "layer_norm_epsilon", [1e-6, 1e-3, 0.02])
    maybe(rng, config, "scale_attn_by_inverse_layer_idx", [True, False])
    maybe(rng, config, "reorder_and_upcast_attn", [False, True], 0.3)
    activation(rng, config, "activation_function", unusual)
    if rng.random() < 0.05:
        config["scale_attn_weights"] = False
        unusual.add("scale_attn_weights")


def decoder_sizes(rng, config):
    heads, head = rng.choice([1, 2, 3, 4]), rng.choice([4, 6, 8, 10])
    config.update(hidden_size=heads * head, num_hidden_layers=rng.choice([1, 2, 3]), num_attention_heads=heads,
                  intermediate_size=rng.choice([16, 23, 40]))
    return heads


def gpt_neox(rng, config, unusual):
    decoder_sizes(rng, config)
    rotary(rng, config, unusual, "rotary_emb_base", "rotary_pct")
    share = config.get("rotary_pct", (config.get("rope_parameters") or {}).get("partial_rotary_factor", 0.25))
    head = config["hidden_size"] // config["num_attention_heads"]
    if int(head * share) < 2 or 2 * ((int(head * share) + 1) // 2) > head:
        unusual.add("rotary_emb_base")
    maybe(rng, config, "use_parallel_residual", [True, False])
    maybe(rng, config, "attention_bias", [True, False])
    maybe(rng, config, "layer_norm_eps", [1e-6, 1e-3, 0.02])
    activation(rng, config, "hidden_act", unusual)


def llama_like(rng, config, unusual, default_key_heads):
    heads = decoder_sizes(rng, config)
    divisors = [n for n in range(1, heads + 1) if heads % n == 0]
    config["num_key_value_heads"] = rng.choice(divisors)
    if rng.random() < 0.15:
        del config["num_key_value_heads"]
        if default_key_heads:
            unusual.add("num_key_value_heads")
    maybe(rng, config, "head_dim", [4, 6, 12], 0.3)
    maybe(rng, config, "rms_norm_eps", [1e-5, 1e-3, 0.02])
    activation(rng, config, "hidden_act", unusual)
    rotary(rng, config, unusual, "rope_theta", None)


def llama(rng, config, unusual):
    llama_like(rng, config, unusual, None)
    maybe(rng, config, "attention_bias", [True, False])
    maybe(rng, config, "mlp_bias", [True, False])
    maybe(rng, config, "pretraining_tp", [1, 2, None], 0.3)


def mistral(rng, config, unusual):
    llama_like(rng, config, unusual, 8)
    maybe(rng, config, "sliding_window", [None, 1, 3, 100], 0.7)


def qwen2(rng, config, unusual):
    llama_like(rng, config, unusual, 32)
    maybe(rng, config, "use_sliding_window", [True, True, False], 0.7)
    maybe(rng, config, "sliding_window", [None, 1, 3], 0.8)
    maybe(rng, config, "max_window_layers", [0, 1, 2])
    if rng.random() < 0.2:
        config["layer_types"] = [rng.choice(["full_attention", "sliding_attention"]) for _ in range(config["num_hidden_layers"])]
        if not config.get("use_sliding_window") or config.get("sliding_window", 1) is None:
            unusual.add("layer_types")


def mamba(rng, config, unusual):
    config.update(hidden_size=rng.choice([8, 12, 17]), num_hidden_layers=rng.choice([1, 2, 3]), state_size=rng.choice([1, 3, 8]))
    maybe(rng, config, "expand", [1, 2, 3])
    maybe(rng, config, "intermediate_size", [16, 21], 0.3)
    maybe(rng, config, "conv_kernel", [1, 2, 3, 4])
    maybe(rng, config, "use_bias", [True, False])
    maybe(rng, config, "use_conv_bias", [True, False])
    maybe(rng, config, "time_step_rank", ["auto", 1, 3])
    maybe(rng, config, "layer_norm_epsilon", [1e-6, 1e-3, 0.02])
    maybe(rng, config, "residual_in_fp32", [True, False], 0.3)
    if rng.random() < 0.05:
        config["hidden_act"] = "gelu"
        unusual.add("hidden_act")


def falcon_mamba(rng, config, unusual):
    mamba(rng, config, unusual)
    maybe(rng, config, "mixer_rms_eps", [1e-5, 1e-2])


def mamba2(rng, config, unusual):
    heads, groups, head = rng.choice([(2, 1), (4, 1), (4, 2), (6, 3), (4, 4)]) + (rng.choice([2, 4, 6]),)
    config.update(num_heads=heads, head_dim=head, hidden_size=heads * head, expand=1, n_groups=groups,
                  num_hidden_layers=rng.choice([1, 2, 3]), state_size=rng.choice([1, 3, 8]))
    if heads * head % 2 == 0 and rng.random() < 0.6:
        config["hidden_size"] = heads * head // 2
        config["expand"] = 2
    maybe(rng, config, "conv_kernel", [2, 3, 4])
    maybe(rng, config, "use_bias", [True, False])
    maybe(rng, config, "use_conv_bias", [True, False])
    maybe(rng, config, "layer_norm_epsilon", [1e-6, 1e-3, 0.02])
    maybe(rng, config, "time_step_limit", [[0.1, 1.0], [0.0, 0.5]], 0.4)
    maybe(rng, config, "chunk_size", [4, 8, 256])
    if rng.random() < 0.05:
        config["hidden_act"] = "gelu"
        unusual.add("hidden_act")


def config_for(rng, family):
    """(config, unusual): config.json as transformers reads it, and the keys that may be refused."""
    library = {"mamba_ssm": "mamba", "mamba2_ssm": "mamba2"}.get(family, family)
    config, unusual = {"model_type": library, "vocab_size": rng.choice([16, 24, 32] if library != family else [11, 29, 40])}, set()
    bookkeeping(rng, config)
    if library in NEWER:
        rows = decoder_configs if library in decoder_configs.DECODERS else hybrid_configs
        getattr(rows, library)(rng, config, unusual)
        config.setdefault("pad_token_id", 0)  # the classes' own may be beyond a small vocabulary
        return config, unusual
    globals()[library](rng, config, unusual)
    switched_off(rng, config, library)
    if library != family:  # what mamba_ssm's modules have no parameter for
        for key in ("hidden_act", "layer_norm_epsilon", "intermediate_size"):
            config.pop(key, None)
        config.setdefault("tie_word_embeddings", True)
        unusual.clear()
    return config, unusual


def mamba_ssm_config(rng, config):
    """The same model in the words of the mamba_ssm library."""
    ours = {"d_model": config["hidden_size"], "n_layer": config["num_hidden_layers"], "vocab_size": config["vocab_size"] - rng.choice([0, 3]),
            "pad_vocab_size_multiple": 8, "rms_norm": True, "residual_in_fp32": True, "fused_add_norm": rng.choice([True, False]),
            "tie_embeddings": config["tie_word_embeddings"]}
    names = {"state_size": "d_state", "conv_kernel": "d_conv", "expand": "expand", "use_bias": "bias", "use_conv_bias": "conv_bias",
             "time_step_rank": "dt_rank"}
    if config["model_type"] == "mamba2":
        names = {**names, "head_dim": "headdim", "n_groups": "ngroups", "time_step_limit": "dt_limit", "chunk_size": "chunk_size"}
        ours.update(d_intermediate=0, attn_layer_idx=[], attn_cfg={})
        del names["time_step_rank"]
    ours["ssm_cfg"] = {theirs: config[key] for key, theirs in names.items() if key in config}
    if config["model_type"] == "mamba2":
        ours["ssm_cfg"]["layer"] = "Mamba2"
    elif rng.random() < 0.5:
        ours["ssm_cfg"]["layer"] = "Mamba1"
    return ours
