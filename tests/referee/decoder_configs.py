"""Random config.json of the newer Transformers, for checkpoint_configs.py: the keys of transformers 4 or 5."""

DECODERS = ("qwen3", "olmo2", "olmo3", "gemma2", "gemma3_text", "phi3", "smollm3", "granite", "gptj", "opt", "mixtral", "qwen3_moe")
MIXTURES = ("mixtral", "qwen3_moe")
NESTED = ("olmo3", "gemma3_text")  # a dictionary of rotary embeddings for each kind of layer
KINDS = ("full_attention", "sliding_attention")
ACTIVATIONS = ("silu", "swish", "gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "relu")
SHARED_NULLS = "num_key_value_heads head_dim rms_norm_eps rope_theta rope_scaling rope_parameters tie_word_embeddings hidden_act "
# Keys that null is tried for.
NULLABLE = {
    "qwen3": SHARED_NULLS + "attention_bias sliding_window use_sliding_window max_window_layers layer_types",
    "olmo2": SHARED_NULLS + "attention_bias layer_types sliding_window intermediate_size",
    "olmo3": SHARED_NULLS + "attention_bias sliding_window layer_types",
    "gemma2": SHARED_NULLS + "query_pre_attn_scalar attn_logit_softcapping final_logit_softcapping hidden_activation sliding_window layer_types "
                             "use_bidirectional_attention",
    "gemma3_text": SHARED_NULLS + "query_pre_attn_scalar attn_logit_softcapping final_logit_softcapping hidden_activation sliding_window "
                                  "layer_types rope_local_base_freq sliding_window_pattern use_bidirectional_attention",
    "phi3": SHARED_NULLS + "sliding_window partial_rotary_factor original_max_position_embeddings resid_pdrop",
    "smollm3": SHARED_NULLS + "attention_bias mlp_bias no_rope_layers no_rope_layer_interval use_sliding_window sliding_window layer_types",
    "granite": SHARED_NULLS + "attention_bias mlp_bias embedding_multiplier attention_multiplier residual_multiplier logits_scaling",
    "gptj": "n_inner rotary_dim activation_function layer_norm_epsilon tie_word_embeddings n_positions hidden_size attn_pdrop",
    "opt": "word_embed_proj_dim do_layer_norm_before enable_bias layer_norm_elementwise_affine _remove_final_layer_norm activation_function "
           "tie_word_embeddings ffn_dim",
    "mixtral": SHARED_NULLS + "sliding_window num_local_experts num_experts_per_tok router_jitter_noise",
    "qwen3_moe": SHARED_NULLS + "attention_bias sliding_window use_sliding_window max_window_layers num_experts num_experts_per_tok "
                                "moe_intermediate_size norm_topk_prob decoder_sparse_step mlp_only_layers",
}


def maybe(rng, config, key, values, share=0.5):
    if rng.random() < share:
        config[key] = rng.choice(values)


def activation(rng, config, key, unusual, known=ACTIVATIONS):
    if rng.random() < 0.08:
        config[key] = rng.choice([name for name in (*ACTIVATIONS, "quick_gelu", "tanh", "mish", "relu2") if name not in known])
        unusual.add(key)
    else:
        maybe(rng, config, key, known)


def yarn(rng, positions, truncates):
    rope = {"factor": rng.choice([2.0, 4.0]), "original_max_position_embeddings": rng.choice([positions, positions // 2])}
    maybe(rng, rope, "attention_factor", [1.2, None])
    maybe(rng, rope, "beta_fast", [32, 4.0])
    maybe(rng, rope, "beta_slow", [1, 0.5])
    if truncates:
        maybe(rng, rope, "truncate", [True, False], 0.3)
    if rng.random() < 0.3:
        rope.update(mscale=1.0, mscale_all_dim=rng.choice([0.8, 1.0]))
    return rope


def longrope(rng, turned):
    rope = {"short_factor": [rng.uniform(1, 2) for _ in range(turned // 2)], "long_factor": [rng.uniform(1, 4) for _ in range(turned // 2)]}
    maybe(rng, rope, "factor", [2.0, 8], 0.3)
    maybe(rng, rope, "attention_factor", [1.1], 0.3)
    return rope


def scaling(rng, config, unusual, place, head, nested=False):
    """A dictionary of rotary embeddings without theta."""
    positions = config["max_position_embeddings"]
    kind = rng.choice(["default", "default", "linear", "llama3", "yarn", "yarn", "longrope"])
    if rng.random() < 0.06:
        kind = "dynamic"
        unusual.add(f"{place}.rope_type")
    rope = {rng.choice(["rope_type", "rope_type", "type"]): kind}
    if kind in ("linear", "dynamic"):
        rope["factor"] = rng.choice([2, 4.0])
    elif kind == "llama3":
        rope.update(factor=8.0, low_freq_factor=1.0, high_freq_factor=rng.choice([2.0, 4.0]), original_max_position_embeddings=16)
    elif kind == "yarn":
        rope.update(yarn(rng, positions, not nested))
    elif kind == "longrope":
        rope.update(longrope(rng, head), original_max_position_embeddings=rng.choice([4, 8, 32]))
    return rope


def head_size(config, otherwise=None):
    return config.get("head_dim") or otherwise or config["hidden_size"] // config["num_attention_heads"]


def flat_rotary(rng, config, unusual):
    theta, head = rng.choice([100.0, 10000, 1e6]), head_size(config)
    form = rng.choice(["absent", "outside", "old", "new", "both", "empty"])
    if form == "outside":
        config["rope_theta"] = theta
    elif form == "old":
        config.update(rope_theta=theta, rope_scaling=scaling(rng, config, unusual, "rope_scaling", head))
    elif form == "new":
        config["rope_parameters"] = {**scaling(rng, config, unusual, "rope_parameters", head), "rope_theta": theta}
    elif form == "both":
        rope = scaling(rng, config, unusual, "rope_scaling", head)
        config.update(rope_theta=theta, rope_scaling=rope, rope_parameters={**rope, "rope_theta": theta})
    elif form == "empty":  # what is absent inside stands outside
        config.update(rope_theta=theta, rope_parameters={"rope_type": "default"}, rope_scaling=rng.choice([None, {}]))


def plain_rotary(rng, config, unusual):
    """Of families whose rope types are not all built: default, or refused."""
    theta, form = rng.choice([100.0, 10000, 1e6]), rng.choice(["absent", "outside", "old", "new"])
    if form == "outside":
        config.update(rope_theta=theta, rope_scaling=None)
    elif form == "old":
        config.update(rope_theta=theta, rope_scaling=rng.choice([None, {"type": "default"}, {"rope_type": "default"}]))
    elif form == "new":
        config["rope_parameters"] = {"rope_type": "default", "rope_theta": theta}
    if rng.random() < 0.1:
        config["rope_parameters"] = {"rope_type": "linear", "factor": 2.0, "rope_theta": theta}
        config["rope_scaling"] = None
        unusual.add("rope_parameters.rope_type")


def nested_rotary(rng, config, unusual):
    form, head = rng.choice(["absent", "old", "new"]), head_size(config)
    if form == "new":
        kinds = rng.choice([KINDS, KINDS, KINDS[:1], KINDS[1:]])
        config["rope_parameters"] = {kind: {**scaling(rng, config, unusual, f"rope_parameters.{kind}", head, nested=True),
                                            "rope_theta": rng.choice([50.0, 10000.0])} for kind in kinds}
        if len(kinds) < 2:
            maybe(rng, config["rope_parameters"], KINDS[1 if kinds == KINDS[:1] else 0], [None])
    elif form == "old":
        maybe(rng, config, "rope_scaling", [scaling(rng, config, unusual, "rope_scaling", head, nested=True), None])
        if config["model_type"] == "gemma3_text":
            maybe(rng, config, "rope_theta", [1e6, 100.0])
            maybe(rng, config, "rope_local_base_freq", [1e4, 30.0])
        else:
            maybe(rng, config, "rope_theta", [500000.0])


def layer_types(rng, config, share=0.4):
    if rng.random() < share:
        config["layer_types"] = [rng.choice(KINDS) for _ in range(config["num_hidden_layers"])]


def llama_like(rng, config, unusual, null_key_heads=True, activation_key="hidden_act", known=ACTIVATIONS):
    heads = rng.choice([1, 2, 4])
    config.update(hidden_size=heads * rng.choice([4, 6, 8]), num_hidden_layers=rng.choice([1, 2, 4]), num_attention_heads=heads,
                  intermediate_size=rng.choice([16, 23]), max_position_embeddings=rng.choice([64, 128]),
                  num_key_value_heads=rng.choice([n for n in (1, 2, 4) if heads % n == 0]))
    if null_key_heads and rng.random() < 0.15:
        config["num_key_value_heads"] = None
    maybe(rng, config, "rms_norm_eps", [1e-5, 1e-3, 0.02])
    activation(rng, config, activation_key, unusual, known)


def qwen3(rng, config, unusual):
    llama_like(rng, config, unusual)
    config["head_dim"] = rng.choice([4, 6, 10])
    maybe(rng, config, "attention_bias", [True, False])
    config["use_sliding_window"] = rng.choice([True, False])
    config["sliding_window"] = rng.choice([1, 3, 100]) if config["use_sliding_window"] else rng.choice([None, 3])
    maybe(rng, config, "max_window_layers", [0, 1, 2])
    if config["use_sliding_window"]:
        layer_types(rng, config)
    flat_rotary(rng, config, unusual)


def olmo2(rng, config, unusual):
    llama_like(rng, config, unusual)
    maybe(rng, config, "head_dim", [4, 6, 10], 0.3)
    maybe(rng, config, "attention_bias", [True, False])
    flat_rotary(rng, config, unusual)


def olmo3(rng, config, unusual):
    llama_like(rng, config, unusual)
    maybe(rng, config, "head_dim", [4, 6, 10], 0.3)
    maybe(rng, config, "attention_bias", [True, False])
    config["sliding_window"] = rng.choice([1, 3, 100])
    layer_types(rng, config)
    nested_rotary(rng, config, unusual)


def gemma(rng, config, unusual):
    llama_like(rng, config, unusual, null_key_heads=False, activation_key="hidden_activation")
    config["head_dim"] = rng.choice([4, 6, 10])
    maybe(rng, config, "query_pre_attn_scalar", [4, 9, 256])
    maybe(rng, config, "attention_bias", [True, False])
    maybe(rng, config, "hidden_act", ["gelu"], 0.2)
    maybe(rng, config, "final_logit_softcapping", [None, 5.0, 30.0])
    maybe(rng, config, "use_bidirectional_attention", [False, None], 0.2)
    config["sliding_window"] = rng.choice([1, 3, 100])
    layer_types(rng, config)


def gemma2(rng, config, unusual):
    gemma(rng, config, unusual)
    maybe(rng, config, "attn_logit_softcapping", [None, 2.0, 50.0])
    maybe(rng, config, "cache_implementation", ["hybrid"], 0.2)
    flat_rotary(rng, config, unusual)


def gemma3_text(rng, config, unusual):
    gemma(rng, config, unusual)
    maybe(rng, config, "sliding_window_pattern", [1, 2, 6])
    maybe(rng, config, "attn_logit_softcapping", [None], 0.2)
    nested_rotary(rng, config, unusual)


def phi3(rng, config, unusual):
    llama_like(rng, config, unusual)
    if rng.random() < 0.2:  # an odd head, of which an even part turns
        config["hidden_size"] = 7 * config["num_attention_heads"]
    head = config["hidden_size"] // config["num_attention_heads"]
    config["sliding_window"] = rng.choice([None, 1, 3, 100])
    share = rng.choice([1.0, 0.5, 0.75, 0.9])
    turned = int(head * share)
    rope = {}
    if turned % 2 or turned < 2:
        unusual.add("partial_rotary_factor")
        unusual.update({"rope_theta"})
    elif rng.random() < 0.5:
        rope = {rng.choice(["rope_type", "type"]): "longrope", **longrope(rng, turned)}
        config["original_max_position_embeddings"] = rng.choice([4, 8])
    if rng.random() < 0.5:
        config.update(rope_scaling=rope or None, rope_theta=1000.0, partial_rotary_factor=share)
    else:
        config["rope_parameters"] = {"rope_type": "default", **rope, "rope_theta": 1000.0, "partial_rotary_factor": share}
        if "type" in rope:
            del config["rope_parameters"]["rope_type"]
    for key in ("attention_bias", "mlp_bias", "lm_head_bias"):
        maybe(rng, config, key, [False], 0.2)


def smollm3(rng, config, unusual):
    llama_like(rng, config, unusual)
    maybe(rng, config, "head_dim", [4, 6, 10], 0.3)
    maybe(rng, config, "attention_bias", [True, False])
    maybe(rng, config, "mlp_bias", [True, False])
    maybe(rng, config, "no_rope_layers", [[rng.choice([0, 1]) for _ in range(config["num_hidden_layers"])]])
    maybe(rng, config, "no_rope_layer_interval", [2, 4])
    maybe(rng, config, "max_window_layers", [1, 28], 0.2)
    config["use_sliding_window"] = rng.choice([True, False])
    config["sliding_window"] = rng.choice([1, 3]) if config["use_sliding_window"] else None
    if config["use_sliding_window"]:
        layer_types(rng, config)
    flat_rotary(rng, config, unusual)


def granite(rng, config, unusual):
    llama_like(rng, config, unusual)
    maybe(rng, config, "head_dim", [4, 6, 10], 0.3)
    maybe(rng, config, "attention_bias", [True, False])
    maybe(rng, config, "mlp_bias", [True, False])
    for key in ("embedding_multiplier", "attention_multiplier", "residual_multiplier", "logits_scaling"):
        maybe(rng, config, key, [1, 0.3, 3, 1.7], 0.7)
    flat_rotary(rng, config, unusual)


def gptj(rng, config, unusual):
    heads, head = rng.choice([1, 2, 4]), rng.choice([4, 5, 6, 8])
    names = {"n_embd": "hidden_size", "n_layer": "num_hidden_layers", "n_head": "num_attention_heads", "n_positions": "max_position_embeddings"}
    sizes = {"n_embd": heads * head, "n_layer": rng.choice([1, 2, 3]), "n_head": heads, "n_positions": rng.choice([40, 64])}
    for key, size in sizes.items():
        config[key if rng.random() < 0.8 else names[key]] = size
    config["rotary_dim"] = rng.choice([n for n in (2, 4, 6) if n <= head])
    maybe(rng, config, "n_inner", [None, 24, 33])
    maybe(rng, config, "layer_norm_epsilon", [1e-6, 0.02])
    maybe(rng, config, "scale_attn_weights", [True], 0.3)
    maybe(rng, config, "rotary", [True], 0.3)
    activation(rng, config, "activation_function", unusual)


def opt(rng, config, unusual):
    heads = rng.choice([1, 2, 4])
    config.update(hidden_size=heads * rng.choice([4, 5, 8]), num_hidden_layers=rng.choice([1, 2, 3]), num_attention_heads=heads,
                  ffn_dim=rng.choice([16, 23]), max_position_embeddings=rng.choice([40, 64]))
    maybe(rng, config, "word_embed_proj_dim", [None, 6, config["hidden_size"]])
    maybe(rng, config, "do_layer_norm_before", [True, False])
    maybe(rng, config, "_remove_final_layer_norm", [True, False], 0.3)
    maybe(rng, config, "enable_bias", [True, False])
    maybe(rng, config, "layer_norm_elementwise_affine", [True, False], 0.3)
    activation(rng, config, "activation_function", unusual)


def mixtral(rng, config, unusual):
    llama_like(rng, config, unusual, null_key_heads=False, known=("silu", "swish"))
    maybe(rng, config, "head_dim", [4, 6, 10, None], 0.4)
    maybe(rng, config, "sliding_window", [None, 1, 3, 100], 0.6)
    config["num_local_experts"] = rng.choice([1, 2, 4, 5])
    config["num_experts_per_tok"] = rng.choice([n for n in (1, 2, 3) if n <= config["num_local_experts"]])
    maybe(rng, config, "router_jitter_noise", [0.0, 0.1], 0.3)
    maybe(rng, config, "router_aux_loss_coef", [0.02], 0.3)
    plain_rotary(rng, config, unusual)


def qwen3_moe(rng, config, unusual):
    llama_like(rng, config, unusual, null_key_heads=False, known=("silu", "swish"))
    maybe(rng, config, "head_dim", [4, 6, 10], 0.6)
    maybe(rng, config, "attention_bias", [True, False])
    maybe(rng, config, "use_sliding_window", [True, False])
    maybe(rng, config, "sliding_window", [None, 1, 3])
    maybe(rng, config, "max_window_layers", [0, 1], 0.3)
    config[rng.choice(["num_experts", "num_experts", "num_local_experts"])] = experts = rng.choice([1, 2, 4, 5])
    config["num_experts_per_tok"] = rng.choice([n for n in (1, 2, 3) if n <= experts])
    config["moe_intermediate_size"] = rng.choice([5, 8])
    maybe(rng, config, "norm_topk_prob", [True, False])
    maybe(rng, config, "decoder_sparse_step", [1, 2, 3])
    maybe(rng, config, "mlp_only_layers", [[], [0], [1, 2], None], 0.4)
    plain_rotary(rng, config, unusual)
