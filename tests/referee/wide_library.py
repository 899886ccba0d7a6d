"""transformers in float64 throughout (tests/oracle/float64.py): models made where its float32 means float64, so that what follows from
config.json (rotary frequencies of each kind of layer, embedding factors, multipliers) is float64 as well.
"""
import contextlib
import pathlib
import sys

import torch
import transformers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "oracle"))
from float64 import lifted  # noqa: E402

EAGER = {"dtype": torch.float64, "attn_implementation": "eager", "experts_implementation": "eager"}


@contextlib.contextmanager
def double_by_default():
    torch.set_default_dtype(torch.float64)
    try:
        with lifted():
            yield
    finally:
        torch.set_default_dtype(torch.float32)


class WideModel:
    """A model of `config`, with random weights until they are set."""

    def __init__(self, config):
        with double_by_default():
            self.model = transformers.AutoModelForCausalLM.from_config(config, **EAGER).eval()

    @classmethod
    def of(cls, folder):
        """A checkpoint's. Raises what the library raises, and ValueError for tensors that it makes up."""
        plain, info = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, **EAGER)
        missing = info["missing_keys"] or info["mismatched_keys"]
        if missing:
            raise ValueError(f"makes up {sorted(missing)}")
        wide = cls(transformers.AutoConfig.from_pretrained(folder))
        wide.model.load_state_dict(plain.state_dict(), strict=False)
        return wide

    @torch.no_grad()
    def logits(self, ids):
        """After the last token."""
        with double_by_default():
            return self.model(torch.tensor([ids]), use_cache=False).logits[0, -1]
