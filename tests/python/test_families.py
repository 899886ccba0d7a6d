"""A random model of transformers of every family: taken from memory it has the bits of the checkpoint that transformers writes of it."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest

import factflow as ff

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
try:
    from factflow.native import engine

    engine()
except ff.EngineMissingError as error:
    pytest.skip(str(error), allow_module_level=True)

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "referee"))
from full_configs import FULL  # type: ignore[import-not-found]  # noqa: E402
from random_weights import as_saved, scaled  # type: ignore[import-not-found]  # noqa: E402

TOKENIZER = ROOT / "demo" / "models" / "mamba" / "tokenizer.json"
VOCABULARY = 1024  # of the tokenizer
# What transformers 5.24 writes of it is no checkpoint where keys and values have other widths (tests/referee/random_weights.py).
OF_ONE_WIDTH = {"olmo_hybrid": {"linear_key_head_dim": 4, "linear_value_head_dim": 4, "linear_num_key_heads": 4, "linear_num_value_heads": 4}}

# Beside the referees' families: layers that share a block.
ZAMBA2 = {
    "hidden_size": 16, "num_hidden_layers": 5, "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid", "hybrid"], "num_mem_blocks": 2,
    "num_attention_heads": 4, "num_key_value_heads": 4, "intermediate_size": 12, "mamba_d_state": 5, "mamba_d_conv": 3, "mamba_expand": 3,
    "n_mamba_heads": 4, "mamba_ngroups": 2, "adapter_rank": 3, "use_mem_rope": True, "chunk_size": 4, "max_position_embeddings": 64,
}  # fmt: skip
CONFIGS = {**{family: configs[0] for family, configs in FULL.items()}, "zamba2": ZAMBA2}


def random_model(family: str, dtype: str) -> Any:
    torch.manual_seed(7)
    words = {**CONFIGS[family], **OF_ONE_WIDTH.get(family, {}), "vocab_size": VOCABULARY, "pad_token_id": 0, "model_type": family}
    model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**words))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(scaled(name, parameter))
    return model.to(getattr(torch, dtype)).eval()


def tokenizer_of(family: str) -> Any:
    """With a token before each text where the engine insists on one."""
    made = transformers.PreTrainedTokenizerFast(tokenizer_file=str(TOKENIZER))
    if family in ("gemma2", "gemma3_text", "opt", "recurrent_gemma"):
        from tokenizers.processors import TemplateProcessing

        begin = made.convert_ids_to_tokens(0)
        made.backend_tokenizer.post_processor = TemplateProcessing(single=f"{begin} $A", special_tokens=[(begin, 0)])
    return made


@pytest.fixture(scope="module")
def facts() -> ff.Facts:
    return ff.facts(ROOT / "demo" / "facts.jsonl")[:2]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", sorted(CONFIGS))
def test_memory_and_file_have_the_same_bits(family: str, dtype: str, facts: ff.Facts, tmp_path: Path) -> None:
    """float32 is stored as float64: a file's tensors lie at other distances from cache lines than a model's, and the last bits of
    MKL's products depend on that where sizes are as odd as here. What is converted lies as a model's does."""
    model, tokenizer = random_model(family, dtype), tokenizer_of(family)
    (copy.deepcopy(model).double() if dtype == "float32" else model).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    sweep = {"interventions": [ff.block("subject", "last")], "windows": 1}
    taken = ff.Model.from_transformers(model, tokenizer, name="model", threads=1)
    stored = ff.Model(tmp_path, name="model", threads=1)
    found, expected = taken.sweep(facts, **sweep), stored.sweep(facts, **sweep)  # type: ignore[arg-type]
    assert found.cells().rows > 0 and found.groups("model") == expected.groups("model")
    for path in expected.groups("model"):
        one, two = found.group("model", path), expected.group("model", path)
        for array in two.arrays:
            if two[array].dtype != object:
                assert one[array].tobytes() == two[array].tobytes(), (path, array)
    assert taken.facts["parameters"] == stored.facts["parameters"]
    names = set(as_saved(model))
    assert set(taken.copied) <= names
    if dtype == "float32":
        assert len(taken.copied) < len(names), "nothing is shared"
    else:
        assert all("bfloat16" in why for why in taken.copied.values())
