"""A model of transformers, as the engine takes it: tensors where they lie, config.json and the tokenizer in a temporary folder."""

from __future__ import annotations

import importlib
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


# Classes of layers that hold quantised weights.
_QUANTISED = ("bitsandbytes.", "auto_gptq.", "gptqmodel.", "awq.", "torchao.", "quanto.", "optimum.", "hqq.", "compressed_tensors.")


@dataclass
class Exported:
    """folder: with config.json and the tokenizer; tensors: by the names of a file; copied: names that are not shared, and why."""

    folder: tempfile.TemporaryDirectory[str]
    tensors: Mapping[str, Any]
    copied: dict[str, str]

    def load(self, configuration: str, blas: tuple[str, str]) -> Any:
        """The engine's model; it keeps the tensors."""
        places = [
            (name, _TYPES[str(tensor.dtype)], list(tensor.shape), tensor.data_ptr(), tensor.numel() * tensor.element_size())
            for name, tensor in self.tensors.items()
        ]
        return engine().load_from_memory(configuration, blas, self.folder.name, places, dict(self.tensors))

    def copied_by(self, native: Any) -> dict[str, str]:
        """What is not shared, after loading: what was copied here, and what the engine has another layout of."""
        shared = set(native.in_place())
        laid_anew = {name: "the engine keeps it stacked with others, turned or converted" for name in self.tensors if name not in shared}
        return {**laid_anew, **self.copied}


def exported(model: Any, tokenizer: Any) -> Exported:
    """Raises CheckpointError for what the engine would leave out: hooks, adapters, quantised layers, layers of other classes."""
    _refuse(model)
    folder = tempfile.TemporaryDirectory(prefix="factflow-")
    config = type(model.config).from_dict(model.config.to_dict())
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder.name)
    _save_tokenizer(tokenizer, folder.name)
    tensors: dict[str, Any] = {}
    copied: dict[str, str] = {}
    for name, tensor in _as_in_files(model).items():
        value = tensor.detach()
        if value.device.type == "meta":
            raise CheckpointError(
                type(model).__name__, f"the tensor {name} is not in memory (offloaded)", "load it without device_map", tensor=name
            )
        if str(value.dtype) not in _TYPES:
            raise CheckpointError(
                type(model).__name__, f"the tensor {name} has the type {value.dtype}", "convert the model to float32", tensor=name
            )
        if value.device.type != "cpu":
            copied[name] = f"it is on {value.device}"
        elif value.is_floating_point() and str(value.dtype) != "torch.float32":
            copied[name] = f"it is {value.dtype}"
        elif not value.is_contiguous():
            copied[name] = "it is not contiguous"
        tensors[name] = value.cpu().contiguous()
    return Exported(folder, tensors, copied)


def _save_tokenizer(tokenizer: Any, folder: str) -> None:
    tokenizer.save_pretrained(folder)
    if not any(os.path.exists(os.path.join(folder, file)) for file in ("tokenizer.json", "vocab.json")):
        raise InputError(
            type(tokenizer).__name__,
            "saves no tokenizer.json, as fast tokenizers do",
            "load it with AutoTokenizer.from_pretrained(..., use_fast=True)",
        )


def _as_in_files(model: Any) -> Mapping[str, Any]:
    """Tensors under the names and in the shapes of files: transformers from 5 on has some families' in another form in memory."""
    state: dict[str, Any] = model.state_dict()
    for name in _tied(model, state):
        del state[name]
    try:
        conversion = importlib.import_module("transformers.core_model_loading")
    except ImportError:
        return state
    found: Mapping[str, Any] = conversion.revert_weight_conversion(model, state)
    return found


def _tied(model: Any, state: Mapping[str, Any]) -> set[str]:
    """Names under which an earlier tensor appears again, as a file of the model leaves them out: a head that is the embedding, the
    block that layers share. A head that is another tensor though the configuration ties it is not among them, and the engine refuses it."""
    keys = set(getattr(model, "_tied_weights_keys", None) or ())
    seen: set[Any] = set()
    again: set[str] = set()
    for name, tensor in sorted(state.items(), key=lambda item: item[0] in keys):
        place = (tensor.device, tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
        if tensor.numel() > 0 and place in seen:
            again.add(name)
        seen.add(place)
    return again


def _refuse(model: Any) -> None:
    kind = type(model).__name__
    if _is_of(model, "peft.") or getattr(model, "_hf_peft_config_loaded", False):
        raise CheckpointError(kind, "carries an adapter (peft)", _MERGE)
    if getattr(model, "is_quantized", False) or getattr(model.config, "quantization_config", None) is not None:
        raise CheckpointError(kind, "has quantised layers", "load it without quantization_config")
    for name, module in model.named_modules():
        _refuse_module(name or kind, module)


def _refuse_module(where: str, module: Any) -> None:
    kind = type(module).__name__
    if _is_of(module, "peft."):
        raise CheckpointError(where, f"is a layer of an adapter ({kind})", _MERGE)
    if _is_of(module, _QUANTISED):
        raise CheckpointError(where, f"is a quantised layer ({kind})", "load it without quantisation")
    if not _is_of(module, ("torch.nn.", "transformers.")):
        raise CheckpointError(where, f"is a {type(module).__module__}.{kind}, which is not transformers' own", "give the model as it was loaded")
    if module._forward_hooks or module._forward_pre_hooks:
        raise CheckpointError(where, "has a forward hook, which the engine would leave out", "remove it")
    if "forward" in vars(module):
        raise CheckpointError(where, "has another forward than its class, which the engine would leave out", "give the model as it was loaded")
    if hasattr(module, "parametrizations"):
        raise CheckpointError(where, "has parametrised weights", "remove the parametrisation (torch.nn.utils.parametrize)")


def _is_of(module: Any, packages: str | tuple[str, ...]) -> bool:
    return type(module).__module__.startswith(packages)
