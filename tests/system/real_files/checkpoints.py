"""Random checkpoints that look like published ones: their config.json, tensor names, shapes and types, in shards with an index, and
the real tokenizer beside them. The same bytes for the same seed."""
import json
import pathlib
import shutil
import struct

import numpy as np

# What state-spaces/mamba-130m-hf and openai-community/gpt2 publish, key for key.
MAMBA_130M = {
    "architectures": ["MambaForCausalLM"], "bos_token_id": 0, "conv_kernel": 4, "d_inner": 1536, "d_model": 768, "eos_token_id": 0,
    "expand": 2, "fused_add_norm": True, "hidden_act": "silu", "hidden_size": 768, "initializer_range": 0.1,
    "intermediate_size": 1536, "layer_norm_epsilon": 1e-05, "model_type": "mamba", "n_layer": 24, "num_hidden_layers": 24,
    "pad_token_id": 0, "pad_vocab_size_multiple": 8, "rescale_prenorm_residual": False, "residual_in_fp32": True, "rms_norm": True,
    "ssm_cfg": {}, "state_size": 16, "time_step_floor": 0.0001, "time_step_init_scheme": "random", "time_step_max": 0.1,
    "time_step_min": 0.001, "time_step_rank": 48, "time_step_scale": 1.0, "torch_dtype": "float32",
    "transformers_version": "4.39.0.dev0", "use_bias": False, "use_cache": True, "use_conv_bias": True, "vocab_size": 50280}
GPT2 = {
    "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1, "bos_token_id": 50256,
    "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02, "layer_norm_epsilon": 1e-05, "model_type": "gpt2",
    "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024, "resid_pdrop": 0.1,
    "summary_activation": None, "summary_first_dropout": 0.1, "summary_proj_to_labels": True, "summary_type": "cls_index",
    "summary_use_proj": True, "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
    "vocab_size": 50257}


def configs(small):
    """name -> (config, tokenizer's name, bytes of a shard). Small: few narrow layers, but the whole vocabulary."""
    mamba, gpt2 = dict(MAMBA_130M), dict(GPT2)
    if small:
        mamba.update(hidden_size=48, d_model=48, intermediate_size=96, d_inner=96, num_hidden_layers=4, n_layer=4, time_step_rank=3)
        gpt2.update(n_embd=48, n_head=4, n_layer=4)
    shard = 4 << 20 if small else 200 << 20
    return {"mamba-130m": (mamba, "gpt-neox-20b", shard), "gpt2": (gpt2, "gpt2", shard)}


def mamba_shapes(config):
    hidden, inner, rank, states = (config[k] for k in ("hidden_size", "intermediate_size", "time_step_rank", "state_size"))
    shapes = {"backbone.embeddings.weight": (config["vocab_size"], hidden), "backbone.norm_f.weight": (hidden,)}
    for i in range(config["num_hidden_layers"]):
        layer = f"backbone.layers.{i}."
        shapes[layer + "norm.weight"] = (hidden,)
        shapes |= {layer + "mixer." + name: shape for name, shape in {
            "A_log": (inner, states), "D": (inner,), "conv1d.weight": (inner, 1, config["conv_kernel"]), "conv1d.bias": (inner,),
            "dt_proj.weight": (inner, rank), "dt_proj.bias": (inner,), "in_proj.weight": (2 * inner, hidden),
            "out_proj.weight": (hidden, inner), "x_proj.weight": (rank + 2 * states, inner)}.items()}
    return shapes


def gpt2_shapes(config):
    """Without the prefix "transformer.", as the published file has them."""
    width = config["n_embd"]
    shapes = {"wte.weight": (config["vocab_size"], width), "wpe.weight": (config["n_positions"], width),
              "ln_f.weight": (width,), "ln_f.bias": (width,)}
    for i in range(config["n_layer"]):
        layer = f"h.{i}."
        shapes |= {layer + norm + "." + part: (width,) for norm in ("ln_1", "ln_2") for part in ("weight", "bias")}
        shapes[layer + "attn.bias"] = (1, 1, config["n_ctx"], config["n_ctx"])  # the causal mask, which the published file carries
        for name, rows, columns in (("attn.c_attn", width, 3 * width), ("attn.c_proj", width, width),
                                    ("mlp.c_fc", width, 4 * width), ("mlp.c_proj", 4 * width, width)):
            shapes[layer + name + ".weight"] = (rows, columns)
            shapes[layer + name + ".bias"] = (columns,)
    return shapes


def values(name, shape, random):
    """Scales at which layers change the residual stream, and probabilities are neither 0 nor 1."""
    if name.endswith(".attn.bias"):
        return np.tril(np.ones(shape[2:], np.float32)).reshape(shape)
    normal = random.standard_normal(shape, dtype=np.float32)
    if name.endswith("A_log"):
        return np.log(np.arange(1, shape[1] + 1, dtype=np.float32)) + 0.3 * normal
    if name.endswith("dt_proj.bias"):
        return -3 + normal
    if name.endswith(".D") or (("norm" in name or "ln_" in name) and name.endswith("weight")):
        return 1 + 0.1 * normal
    if len(shape) == 1:
        return 0.1 * normal
    if name.split(".")[-2] in ("embeddings", "wte", "wpe"):
        return 0.08 * normal
    fan_in = shape[0] if ".c_" in name else shape[-1]  # GPT-2 stores [in, out]
    return normal / np.float32(np.sqrt(fan_in))


def write_safetensors(path, tensors):
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, array in tensors.items():
        header[name] = {"dtype": {4: "F32", 2: "F16"}[array.itemsize], "shape": list(array.shape), "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in tensors.values():
            file.write(np.ascontiguousarray(array).tobytes())
    return end


def write_sharded(directory, tensors, shard_bytes):
    shards, used = [{}], 0
    for name, array in tensors.items():
        if used and used + array.nbytes > shard_bytes:
            shards.append({})
            used = 0
        shards[-1][name] = array
        used += array.nbytes
    total, weight_map = 0, {}
    for i, shard in enumerate(shards):
        file = f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors"
        total += write_safetensors(directory / file, shard)
        weight_map |= {name: file for name in shard}
    (directory / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}))
    return len(shards), total


def write_checkpoint(directory, config, tokenizer, shard_bytes, seed):
    """Returns the tensors, the number of shards and their bytes."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(config, indent=2))
    for file in pathlib.Path(tokenizer).iterdir():
        shutil.copyfile(file, directory / file.name)
    random = np.random.default_rng(seed)
    shapes = gpt2_shapes(config) if config["model_type"] == "gpt2" else mamba_shapes(config)
    tensors = {name: values(name, shape, random) for name, shape in shapes.items()}
    shards, total = write_sharded(directory, tensors, shard_bytes)
    return tensors, shards, total
