"""Finds the compiled module, which only the engine needs."""

from __future__ import annotations

import functools
import importlib
import os
from types import ModuleType

from .errors import EngineMissingError, InputError
from .packages import needed


@functools.cache
def engine() -> ModuleType:
    """factflow._engine, after torch, whose libraries it uses. Raises EngineMissingError with what is wrong."""
    try:
        importlib.import_module("torch")
    except ImportError as error:
        raise EngineMissingError(f"torch cannot be imported ({error}); models need it, reading runs does not") from None
    _check_torch()
    try:
        return importlib.import_module("factflow._engine")
    except ImportError as error:
        raise EngineMissingError(f"the engine cannot be loaded: {error}; {_AGAIN}") from None


_AGAIN = "install factflow again beside this torch (`pip install .`)"


def _check_torch() -> None:
    """Another minor version or ABI need not fail when the module is loaded, and then computes with what it was not compiled for."""
    import torch

    try:
        built = importlib.import_module("factflow._build")
    except ImportError:
        raise EngineMissingError("this installation of factflow has no engine; install it with `pip install .` beside torch") from None
    if _minor(built.TORCH_VERSION) != _minor(torch.__version__):
        raise EngineMissingError(f"the engine was built against torch {built.TORCH_VERSION}, and torch {torch.__version__} is installed; {_AGAIN}")
    if built.CXX11_ABI != torch.compiled_with_cxx11_abi():
        raise EngineMissingError(f"the engine was built for another C++ ABI than that of the installed torch {torch.__version__}; {_AGAIN}")


def _minor(version: str) -> list[str]:
    return version.split("+")[0].split(".")[:2]


# By the name of a BLAS: the package that brings it, and what its functions' names begin with.
_BLAS = {"openblas": ("scipy-openblas32", "scipy_openblas32", "scipy_")}


def blas_place(name: str) -> tuple[str, str]:
    """(path, prefix) of the library that multiplies: "torch", libtorch's own, or "openblas" of the package scipy-openblas32."""
    if name == "torch":
        return "", ""
    if name not in _BLAS:
        raise InputError("blas", f"there is no {name!r}", f"there are: torch, {', '.join(_BLAS)}")
    package, module, prefix = _BLAS[name]
    found = needed(package, f"blas={name!r}", module)
    return os.path.join(found.get_lib_dir(), found.get_library(fullname=True)), prefix
