"""transformers' newer decoders in float64 throughout: made anew where float32 means float64, so that what follows from config.json (rotary
frequencies of each kind of layer, embedding factors) is float64 as well. tests/oracle/float64.py does the same for the older families, in place.
"""
import contextlib
import importlib

import torch
import transformers
from transformers import modeling_rope_utils


class Wide:
    """torch as the library's modules see it."""
    float = float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


@contextlib.contextmanager
def double_instead_of_float(module):
    plain = torch.Tensor.float
    torch.Tensor.float = torch.Tensor.double
    module.torch = modeling_rope_utils.torch = Wide()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.Tensor.float = plain
        module.torch = modeling_rope_utils.torch = torch
        torch.set_default_dtype(torch.float32)


class WideModel:
    """Of a checkpoint's directory. Raises what the library raises, and ValueError for tensors that it makes up."""

    def __init__(self, folder):
        plain, info = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float64, attn_implementation="eager", output_loading_info=True)
        missing = info["missing_keys"] or info["mismatched_keys"]
        if missing:
            raise ValueError(f"makes up {sorted(missing)}")
        self.module = importlib.import_module(type(plain).__module__)
        with double_instead_of_float(self.module):
            config = transformers.AutoConfig.from_pretrained(folder)
            config._attn_implementation = "eager"
            self.model = type(plain)(config)
            self.model.load_state_dict(plain.state_dict(), strict=False)
        self.model.eval()

    @torch.no_grad()
    def logits(self, ids):
        with double_instead_of_float(self.module):
            return self.model(torch.tensor([ids]), use_cache=False).logits[0, -1]
