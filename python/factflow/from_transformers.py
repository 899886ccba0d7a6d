"""A model of transformers, as the engine takes it: tensors where they lie, config.json and the tokenizer in a temporary folder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import CheckpointError, InputError
from .native import engine

_TYPES = {
    "torch.float64": "F64", "torch.float32": "F32", "torch.float16": "F16", "torch.bfloat16": "BF16", "torch.int64": "I64",
    "torch.int32": "I32", "torch.int16": "I16", "torch.int8": "I8", "torch.uint8": "U8", "torch.bool": "BOOL",
}  # fmt: skip
_MERGE = "merge the adapter (merge_and_unload) and give the merged model"


@dataclass
class Exported:
    """folder: with config.json and the tokenizer; tensors: by name; copied: names of those that are not shared, and why."""

    folder: tempfile.TemporaryDirectory[str]
    model: Any
    tensors: Mapping[str, Any]
    copied: dict[str, str]

    def load(self, configuration: str) -> Any:
        places = [
            (name, _TYPES[str(tensor.dtype)], list(tensor.shape), tensor.data_ptr(), tensor.numel() * tensor.element_size())
            for name, tensor in self.tensors.items()
        ]
        try:
            return engine().load_from_memory(configuration, self.folder.name, places, dict(self.tensors))
        except InputError as error:
            # transformers keeps the weights of some families in another form in memory than in files.
            if "tensor" not in error.problem:
                raise
            self.model.save_pretrained(self.folder.name)
            self.copied = dict.fromkeys(self.tensors, "transformers stores them in another form in memory")
            return engine().load(configuration)


def exported(model: Any, tokenizer: Any) -> Exported:
    """Raises CheckpointError for what the engine would leave out: hooks, adapters, quantised layers."""
    _refuse(model)
    folder = tempfile.TemporaryDirectory(prefix="factflow-")
    config = type(model.config).from_dict(model.config.to_dict())
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder.name)
    tokenizer.save_pretrained(folder.name)
    if not os.path.exists(os.path.join(folder.name, "tokenizer.json")) and not os.path.exists(os.path.join(folder.name, "vocab.json")):
        raise InputError(
            type(tokenizer).__name__,
            "saves no tokenizer.json, as fast tokenizers do",
            "load it with AutoTokenizer.from_pretrained(..., use_fast=True)",
        )
    tensors: dict[str, Any] = {}
    copied: dict[str, str] = {}
    tied = _tied(model)
    for name, tensor in model.state_dict().items():
        if name in tied:
            continue
        value = tensor.detach()
        if value.device.type != "cpu":
            copied[name] = f"it is on {value.device}"
            value = value.cpu()
        if not value.is_contiguous():
            copied[name] = "it is not contiguous"
            value = value.contiguous()
        if str(value.dtype) not in _TYPES:
            raise CheckpointError(
                type(model).__name__, f"the tensor {name} has the type {value.dtype}", "convert the model to float32", tensor=name
            )
        if value.is_floating_point() and str(value.dtype) != "torch.float32":
            copied[name] = f"it is {value.dtype}"
        tensors[name] = value
    return Exported(folder, model, tensors, copied)


def _tied(model: Any) -> set[str]:
    """Names under which another tensor's weights appear again, as a file of the model leaves them out."""
    if not getattr(model.config, "tie_word_embeddings", False):
        return set()
    keys = getattr(model, "_tied_weights_keys", None) or ()
    return set(keys)


def _refuse(model: Any) -> None:
    kind = type(model).__name__
    if type(model).__module__.startswith("peft.") or getattr(model, "_hf_peft_config_loaded", False):
        raise CheckpointError(kind, "carries an adapter (peft)", _MERGE)
    if getattr(model, "is_quantized", False) or getattr(model.config, "quantization_config", None) is not None:
        raise CheckpointError(kind, "has quantised layers", "load it without quantization_config")
    for name, module in model.named_modules():
        where = name or kind
        origin = type(module).__module__
        if origin.startswith("peft."):
            raise CheckpointError(where, f"is a layer of an adapter ({type(module).__name__})", _MERGE)
        if origin.startswith(("bitsandbytes.", "auto_gptq.", "gptqmodel.", "awq.", "torchao.", "quanto.", "hqq.")):
            raise CheckpointError(where, f"is a quantised layer ({type(module).__name__})", "load it without quantisation")
        if module._forward_hooks or module._forward_pre_hooks:
            raise CheckpointError(where, "has a forward hook, which the engine would leave out", "remove it")
        if hasattr(module, "parametrizations"):
            raise CheckpointError(where, "has parametrised weights", "remove the parametrisation (torch.nn.utils.parametrize)")
