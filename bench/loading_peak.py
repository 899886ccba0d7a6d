#!/usr/bin/env python3
"""Writes random checkpoints in the shapes of mamba-130m, gpt2 and a Llama of 0.4 B parameters, as one safetensors file, as shards, and as
pytorch_model.bin, in float32 and float16, and runs bench/loading_peak on each.

Usage: loading_peak.py BUILD_DIRECTORY. Takes 7 GB of disk while it runs.
"""
import collections
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import zipfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path += [str(ROOT / "tests/system/real_files"), str(ROOT / "tests/checkpoint")]
import checkpoints  # noqa: E402
import make_pickles  # noqa: E402

LLAMA = {"architectures": ["LlamaForCausalLM"], "hidden_size": 2048, "intermediate_size": 8192, "model_type": "llama",
         "num_attention_heads": 32, "num_hidden_layers": 4, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
         "tie_word_embeddings": False, "vocab_size": 32000}


def llama_shapes(config):
    width, inner = config["hidden_size"], config["intermediate_size"]
    keys = width // config["num_attention_heads"] * config["num_key_value_heads"]
    shapes = {"model.embed_tokens.weight": (config["vocab_size"], width), "model.norm.weight": (width,),
              "lm_head.weight": (config["vocab_size"], width)}
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        for name, shape in (("input_layernorm", (width,)), ("post_attention_layernorm", (width,)), ("self_attn.q_proj", (width, width)),
                            ("self_attn.k_proj", (keys, width)), ("self_attn.v_proj", (keys, width)), ("self_attn.o_proj", (width, width)),
                            ("mlp.gate_proj", (inner, width)), ("mlp.up_proj", (inner, width)), ("mlp.down_proj", (width, inner))):
            shapes[layer + name + ".weight"] = shape
    return shapes


class Storage(make_pickles.Storage):
    """A torch storage that takes its bytes from an array."""

    def __init__(self, array, key):
        self.cls = make_pickles.STORAGES["HalfStorage" if array.dtype == np.float16 else "FloatStorage"]
        self.key, self.bytes, self.count = key, array.tobytes(), array.size


def write_bin(directory, tensors):
    storages = {name: Storage(array, str(i)) for i, (name, array) in enumerate(tensors.items())}
    state = collections.OrderedDict((name, make_pickles.tensor(storages[name], array.shape)) for name, array in tensors.items())
    with zipfile.ZipFile(directory / "pytorch_model.bin", "w", zipfile.ZIP_STORED) as file:
        for name, data in make_pickles.archive(state).items():
            entry = zipfile.ZipInfo("pytorch_model/" + name)
            # torch pads with an extra field so that every storage starts at a multiple of 64 bytes.
            padding = -(file.fp.tell() + 30 + len(entry.filename) + 4) % 64
            entry.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
            file.writestr(entry, data)


def write(directory, config, tensors, container):
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config))
    if container == "single":
        checkpoints.write_safetensors(directory / "model.safetensors", tensors)
    elif container == "sharded":
        checkpoints.write_sharded(directory, tensors, 200 << 20)
    else:
        write_bin(directory, tensors)


def main():
    tool = pathlib.Path(sys.argv[1]).resolve() / "bench/loading_peak"
    models = {"mamba-130m": (checkpoints.MAMBA_130M, checkpoints.mamba_shapes), "gpt2": (checkpoints.GPT2, checkpoints.gpt2_shapes),
              "llama-0.4b": (LLAMA, llama_shapes)}
    for name, (config, shapes) in models.items():
        random = np.random.default_rng(0)
        tensors = {key: checkpoints.values(key, shape, random) for key, shape in shapes(config).items()}
        for dtype in (np.float32, np.float16):
            tensors = {key: array.astype(dtype) for key, array in tensors.items()}
            with tempfile.TemporaryDirectory(prefix="factflow-loading-") as scratch:
                made = [f"{name}-{np.dtype(dtype).name}-{container}" for container in ("single", "sharded", "bin")]
                for directory in made:
                    write(pathlib.Path(scratch) / directory, config, tensors, directory.rpartition("-")[2])
                subprocess.run([tool, "--models", *made], cwd=scratch, check=True)


if __name__ == "__main__":
    main()
