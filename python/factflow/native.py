"""Finds the compiled module, which only the engine needs."""

from __future__ import annotations

import functools
import importlib
from types import ModuleType

from .errors import EngineMissingError


@functools.cache
def engine() -> ModuleType:
    """factflow._engine, after torch, whose libraries it uses. Raises EngineMissingError with what is wrong."""
    try:
        importlib.import_module("torch")
    except ImportError as error:
        raise EngineMissingError(f"torch cannot be imported ({error}); models need it, reading runs does not") from None
    try:
        module = importlib.import_module("factflow._engine")
    except ImportError as error:
        raise _reason(error) from None
    return module


def _reason(error: ImportError) -> EngineMissingError:
    import torch

    built: str | None = None
    try:
        built = str(importlib.import_module("factflow._build").TORCH_VERSION)
    except ImportError:
        pass
    if built is None:
        return EngineMissingError("this installation of factflow has no engine; install it with `pip install .` beside torch")
    if built.split("+")[0].split(".")[:2] != torch.__version__.split("+")[0].split(".")[:2]:
        return EngineMissingError(
            f"the engine was built against torch {built}, and torch {torch.__version__} is installed; install factflow again"
        )
    return EngineMissingError(f"the engine cannot be loaded: {error}; install factflow again beside this torch {torch.__version__}")
