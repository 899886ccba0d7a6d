"""Random config.json of the newer Transformers, for checkpoint_configs.py: the keys of transformers 4 or 5."""

DECODERS = ("qwen3", "olmo2", "olmo3", "gemma2", "gemma3_text", "phi3", "smollm3", "granite", "gptj", "opt")
NESTED = ("olmo3", "gemma3_text")  # a dictionary of rotary embeddings for each kind of layer
KINDS = ("full_attention", "sliding_attention")


def maybe(rng, config, key, values, share=0.5):
    if rng.random() < share:
        config[key] = rng.choice(values)


def rope_type(rng, positions):
    """A scaling that 5.24 takes in every family, without theta."""
    kind = rng.choice(["default", "default", "linear", "llama3", "yarn"])
    if kind == "linear":
        return {"rope_type": kind, "factor": rng.choice([2, 4.0])}
    if kind == "llama3":
        return {"rope_type": kind, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
    if kind == "yarn":
        rope = {"rope_type": kind, "factor": rng.choice([2.0, 4.0]), "original_max_position_embeddings": positions}
        maybe(rng, rope, "attention_factor", [1.2, None])
        maybe(rng, rope, "beta_fast", [32, 4.0])
        maybe(rng, rope, "beta_slow", [1, 0.5])
        if rng.random() < 0.3:
            rope.update(mscale=1.0, mscale_all_dim=0.8)
        return rope
    return {"rope_type": kind}


def flat_rotary(rng, config):
    theta, positions = rng.choice([100.0, 10000.0, 1e6]), config["max_position_embeddings"]
    form = rng.choice(["absent", "outside", "old", "new"])
    if form == "outside":
        config["rope_theta"] = theta
    elif form == "old":
        config.update(rope_theta=theta, rope_scaling=rope_type(rng, positions))
    elif form == "new":
        config["rope_parameters"] = {**rope_type(rng, positions), "rope_theta": theta}


def nested_rotary(rng, config):
    positions, form = config["max_position_embeddings"], rng.choice(["absent", "old", "new"])
    if form == "new":
        config["rope_parameters"] = {kind: {**rope_type(rng, positions), "rope_theta": rng.choice([50.0, 10000.0])} for kind in KINDS}
    elif form == "old":
        maybe(rng, config, "rope_scaling", [rope_type(rng, positions), None])
        if config["model_type"] == "gemma3_text":
            maybe(rng, config, "rope_theta", [1e6, 100.0])
            maybe(rng, config, "rope_local_base_freq", [1e4, 30.0])
        else:
            maybe(rng, config, "rope_theta", [500000.0])


def layer_types(rng, config, share=0.4):
    if rng.random() < share:
        config["layer_types"] = [rng.choice(KINDS) for _ in range(config["num_hidden_layers"])]


def llama_like(rng, config):
    heads = rng.choice([1, 2, 4])
    config.update(hidden_size=heads * rng.choice([4, 6, 8]), num_hidden_layers=rng.choice([1, 2, 4]), num_attention_heads=heads,
                  intermediate_size=rng.choice([16, 23]), max_position_embeddings=rng.choice([64, 128]),
                  num_key_value_heads=rng.choice([n for n in (1, 2, 4) if heads % n == 0]))
    maybe(rng, config, "rms_norm_eps", [1e-5, 1e-3, 0.02])


def qwen3(rng, config, unusual):
    llama_like(rng, config)
    config["head_dim"] = rng.choice([4, 6, 10])
    maybe(rng, config, "attention_bias", [True, False])
    config["use_sliding_window"] = rng.choice([True, False])
    config["sliding_window"] = rng.choice([1, 3, 100]) if config["use_sliding_window"] else rng.choice([None, 3])
    maybe(rng, config, "max_window_layers", [0, 1, 2])
    if config["use_sliding_window"]:
        layer_types(rng, config)
    flat_rotary(rng, config)


def olmo2(rng, config, unusual):
    llama_like(rng, config)
    maybe(rng, config, "attention_bias", [True, False])
    flat_rotary(rng, config)


def olmo3(rng, config, unusual):
    llama_like(rng, config)
    maybe(rng, config, "attention_bias", [True, False])
    config["sliding_window"] = rng.choice([1, 3, 100])
    layer_types(rng, config)
    nested_rotary(rng, config)


def gemma(rng, config):
    llama_like(rng, config)
    config["head_dim"] = rng.choice([4, 6, 10])
    maybe(rng, config, "query_pre_attn_scalar", [4, 9, 256])
    maybe(rng, config, "attention_bias", [True, False])
    maybe(rng, config, "hidden_activation", ["gelu_pytorch_tanh", "gelu", "silu"])
    maybe(rng, config, "hidden_act", ["gelu"], 0.2)
    maybe(rng, config, "final_logit_softcapping", [None, 5.0, 30.0])
    config["sliding_window"] = rng.choice([1, 3, 100])
    layer_types(rng, config)


def gemma2(rng, config, unusual):
    gemma(rng, config)
    maybe(rng, config, "attn_logit_softcapping", [None, 2.0, 50.0])
    flat_rotary(rng, config)


def gemma3_text(rng, config, unusual):
    gemma(rng, config)
    maybe(rng, config, "sliding_window_pattern", [1, 2, 6])
    nested_rotary(rng, config)


def phi3(rng, config, unusual):
    llama_like(rng, config)
    head = config["hidden_size"] // config["num_attention_heads"]
    config["sliding_window"] = rng.choice([None, 1, 3, 100])
    share = rng.choice([1.0, 0.5, 0.75])
    turned = int(head * share)
    rope = {"rope_type": "default"}
    if turned % 2:
        unusual.add("partial_rotary_factor")
    elif rng.random() < 0.5:
        rope = {"rope_type": "longrope", "short_factor": [rng.uniform(1, 2) for _ in range(turned // 2)],
                "long_factor": [rng.uniform(1, 4) for _ in range(turned // 2)]}
        config["original_max_position_embeddings"] = rng.choice([4, 8])
    if rng.random() < 0.5:
        config.update(rope_scaling=rope if rope["rope_type"] != "default" else None, rope_theta=1000.0, partial_rotary_factor=share)
    else:
        config["rope_parameters"] = {**rope, "rope_theta": 1000.0, "partial_rotary_factor": share}


def smollm3(rng, config, unusual):
    llama_like(rng, config)
    maybe(rng, config, "attention_bias", [True, False])
    maybe(rng, config, "mlp_bias", [True, False])
    maybe(rng, config, "no_rope_layers", [[rng.choice([0, 1]) for _ in range(config["num_hidden_layers"])]])
    maybe(rng, config, "no_rope_layer_interval", [2, 4])
    config["use_sliding_window"] = rng.choice([True, False])
    config["sliding_window"] = rng.choice([1, 3]) if config["use_sliding_window"] else None
    if config["use_sliding_window"]:
        layer_types(rng, config)
    flat_rotary(rng, config)


def granite(rng, config, unusual):
    llama_like(rng, config)
    maybe(rng, config, "attention_bias", [True, False])
    maybe(rng, config, "mlp_bias", [True, False])
    for key in ("embedding_multiplier", "attention_multiplier", "residual_multiplier", "logits_scaling"):
        maybe(rng, config, key, [1, 0.3, 3, 1.7], 0.7)
    flat_rotary(rng, config)


def gptj(rng, config, unusual):
    heads, head = rng.choice([1, 2, 4]), rng.choice([4, 6, 8])
    config.update(n_embd=heads * head, n_layer=rng.choice([1, 2, 3]), n_head=heads, n_positions=rng.choice([40, 64]),
                  rotary_dim=rng.choice([n for n in (2, 4, 6) if n <= head]))
    maybe(rng, config, "n_inner", [None, 24, 33])
    maybe(rng, config, "layer_norm_epsilon", [1e-6, 0.02])
    maybe(rng, config, "activation_function", ["gelu_new", "gelu", "relu"])


def opt(rng, config, unusual):
    heads = rng.choice([1, 2, 4])
    config.update(hidden_size=heads * rng.choice([4, 5, 8]), num_hidden_layers=rng.choice([1, 2, 3]), num_attention_heads=heads,
                  ffn_dim=rng.choice([16, 23]), max_position_embeddings=rng.choice([40, 64]))
    maybe(rng, config, "word_embed_proj_dim", [None, 6, config["hidden_size"]])
    maybe(rng, config, "do_layer_norm_before", [True, False])
    maybe(rng, config, "_remove_final_layer_norm", [True, False], 0.3)
    maybe(rng, config, "enable_bias", [True, False])
    maybe(rng, config, "layer_norm_elementwise_affine", [True, False], 0.3)
    maybe(rng, config, "activation_function", ["relu", "gelu"])
