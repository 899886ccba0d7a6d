"""What is wrong or contradictory in a checkpoint on purpose, and the names of which one must stand in the refusal."""
import torch

from checkpoint_configs import NEWER, NULLABLE
from decoder_configs import NESTED

PREFIXES = {"gpt2": "transformer.", "gptj": "transformer.", "gpt_neox": "gpt_neox.", "llama": "model.", "mistral": "model.", "qwen2": "model.",
            **{family: "model." for family in NEWER if family not in ("gptj", "nemotron_h")}}
EMBEDDINGS = {"gpt2": "transformer.wte.weight", "gptj": "transformer.wte.weight", "gpt_neox": "gpt_neox.embed_in.weight",
              "opt": "model.decoder.embed_tokens.weight"}
PARTLY = ("gpt_neox", "phi3", "bamba", "qwen3_next", "qwen3_5_text", "qwen3_5_moe_text", "recurrent_gemma")  # rotate a share of each head
TIED_BY_DEFAULT = ("gpt2", "mamba", "falcon_mamba", "gemma2", "gemma3_text", "smollm3", "opt", "lfm2", "recurrent_gemma")


# Keys that contradict the one that has become null.
CONSEQUENCES = {"hidden_size": "n_embd", "mamba_d_ssm": "mamba_d_head mamba_n_heads", "mamba_expand": "mamba_d_head",
                "linear_num_value_heads": "linear_num_key_heads"}


class Checkpoint:
    def __init__(self, family, config, tensors, unusual):
        self.family, self.config, self.tensors = family, config, tensors
        self.unusual = set(unusual)  # keys that may be refused
        self.must_refuse = set()     # keys or tensors, one of which must be
        self.reshaped = False        # by a key that the tensors were not made for
        self.story = ""
        self.head = "embed_out.weight" if "embed_out.weight" in tensors else "lm_head.weight"
        self.prefix = PREFIXES.get(family, "backbone.")
        self.embedding = EMBEDDINGS.get(family, "model.embed_tokens.weight" if family in PREFIXES else "backbone.embeddings.weight")

    def is_tied(self):
        if self.family == "nemotron_h":  # which has a head whatever the file says
            return False
        tied = self.config.get("tie_word_embeddings", self.config["model_type"] in TIED_BY_DEFAULT)
        return self.config.get("tie_embedding", tied)  # LFM2's

    def forbid(self, story, *names):
        self.story, self.must_refuse = story, set(names)


def null(checkpoint, rng):
    keys = NULLABLE.get(checkpoint.family)
    if keys:
        key = rng.choice(keys.split())
        checkpoint.config[key] = None
        checkpoint.unusual.update({key, "layer_types"} if key == "sliding_window" and "layer_types" in checkpoint.config else {key})
        checkpoint.unusual.update(CONSEQUENCES.get(key, "").split())
        checkpoint.reshaped = True
        checkpoint.story = f"with {key}: null"


def other_head(checkpoint, rng):
    if checkpoint.is_tied() and checkpoint.embedding in checkpoint.tensors:
        value = checkpoint.tensors[checkpoint.embedding].clone()
        value.view(-1)[rng.randrange(value.numel())] += rng.choice([0.5, float("nan")])
        checkpoint.tensors[checkpoint.head] = value if rng.random() < 0.7 else value[:1].clone()
        checkpoint.forbid("with a head that is not the tied embedding", checkpoint.head)


def no_head(checkpoint, rng):
    if not checkpoint.is_tied():
        checkpoint.tensors.pop(checkpoint.head, None)
        checkpoint.forbid("without its own head", "lm_head.weight", "embed_out.weight")


def two_names(checkpoint, rng):
    names = [name for name in checkpoint.tensors if name.startswith(checkpoint.prefix)]
    if names:
        name = rng.choice(sorted(names))
        value = checkpoint.tensors[name].clone()
        if value.is_floating_point():
            value += rng.choice([0.0, 1.0, float("nan")])
        checkpoint.tensors[name.removeprefix(checkpoint.prefix)] = value
        checkpoint.forbid("with one tensor under two names", name)


def extra_tensor(checkpoint, rng):
    name = checkpoint.prefix + "layers.0.adapter.weight"
    checkpoint.tensors[name] = torch.ones(3)
    checkpoint.forbid("with a tensor of no use", name)


def not_a_number(checkpoint, rng):
    names = sorted(name for name, value in checkpoint.tensors.items() if value.numel() > 0 and "masked" not in name and value.is_floating_point())
    name = rng.choice(names)
    value = checkpoint.tensors[name] = checkpoint.tensors[name].clone()
    value.view(-1)[rng.randrange(value.numel())] = rng.choice([float("nan"), float("inf")])
    checkpoint.forbid("with NaN or infinity in a tensor", name, checkpoint.head)


def unknown_key(checkpoint, rng):
    key, value = rng.choice([("logit_scale", 2.0), ("attn_logit_softcapping", 30.0), ("num_local_experts", 4), ("text_config", {"hidden_size": 8}),
                             ("per_layer_config", {"0": {"hidden_act": "relu"}}), ("embedding_multiplier", 2.0)])
    own = {"gemma2": "attn_logit_softcapping", "granite": "embedding_multiplier", "granitemoehybrid": "embedding_multiplier",
           "falcon_h1": "embedding_multiplier", "qwen3_moe": "num_local_experts", "mixtral": "num_local_experts", "jamba": "num_local_experts"}
    if not checkpoint.family.endswith("_ssm") and own.get(checkpoint.family) != key:
        checkpoint.config[key] = value
        checkpoint.forbid(f"with {key}", key)


def rotates(checkpoint):
    """Does the class read the keys of rotary embeddings, all of them flat?"""
    config = checkpoint.config
    if checkpoint.family == "granitemoehybrid":
        return config.get("position_embedding_type") == "rope"
    if checkpoint.family == "olmo_hybrid":
        return (config.get("rope_parameters") or {}).get("rope_theta", 1) is not None
    return checkpoint.family in PREFIXES and checkpoint.family not in ("gpt2", "gptj", "opt", "jamba", "nemotron_h", *NESTED)


def key_inside(checkpoint, rng):
    place = rng.choice(["rope_parameters", "rope_scaling"])
    if rotates(checkpoint):
        keys = {"factor_of_mine": 2.0, "attention_factor": 0.5, "beta_fast": 16, "mscale": 1.0, "full_attention": {"rope_theta": 50.0}}
        if checkpoint.family not in PARTLY:
            keys["partial_rotary_factor"] = 0.5
        key = rng.choice(sorted(keys))
        rope = dict(checkpoint.config.get(place) or {"rope_type": "default"})
        if rope.get("rope_type", rope.get("type")) in ("yarn", "longrope"):  # which have these
            key = "factor_of_mine"
        checkpoint.config[place] = {**rope, key: keys[key]}
        checkpoint.forbid(f"with {place}.{key}", f"{place}.{key}", key, place, "rope_scaling", *checkpoint.unusual)


def two_spellings(checkpoint, rng):
    config = checkpoint.config
    if checkpoint.family == "gpt2":
        key, other = rng.choice([("n_embd", "hidden_size"), ("n_layer", "num_hidden_layers"), ("n_head", "num_attention_heads")])
        config[key] = config.get(key, config.get(other))
        config[other] = 2 * config[key]
        checkpoint.forbid(f"with {key} and another {other}", key, other)
    elif checkpoint.family != "gpt_neox" and rotates(checkpoint):
        config["rope_theta"] = 123.0
        place = rng.choice(["rope_parameters", "rope_scaling"])
        config[place] = {**(config.get(place) or {"rope_type": "default"}), "rope_theta": 77.0}
        checkpoint.forbid(f"with rope_theta at two places ({place})", f"{place}.rope_theta", "rope_parameters.rope_theta", "rope_scaling",
                          *checkpoint.unusual)
    elif checkpoint.family == "gpt_neox":
        config.update(rope_theta=77.0, rotary_emb_base=123.0)
        checkpoint.forbid("with rope_theta and rotary_emb_base", "rope_theta", "rope_parameters.rope_theta", "rope_scaling.rope_theta",
                          *checkpoint.unusual)


def wrong_buffer(checkpoint, rng):
    """An old buffer that belongs to another model."""
    layers = {"gpt2": "transformer.h.0.attn.bias", "gpt_neox": "gpt_neox.layers.0.attention.bias"}
    if checkpoint.family in layers:
        name = layers[checkpoint.family]
        checkpoint.tensors[name] = torch.ones(1, 1, 8, 8)
        checkpoint.forbid("with a mask that is not causal", name)
    elif checkpoint.family in ("llama", "mistral", "qwen2"):
        name = "model.layers.0.self_attn.rotary_emb.inv_freq"
        checkpoint.tensors[name] = torch.tensor([0.9, 0.3])
        checkpoint.forbid("with other rotary frequencies", name)


TWISTS = (null, null, null, other_head, no_head, two_names, extra_tensor, not_a_number, unknown_key, key_inside, two_spellings, wrong_buffer)
