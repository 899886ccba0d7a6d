"""Optional packages, imported where they are asked for."""

from __future__ import annotations

import importlib
from types import ModuleType

from .errors import MissingPackageError


def needed(package: str, purpose: str, module: str | None = None) -> ModuleType:
    """The module `module` (by default the package itself) of a package; MissingPackageError names both where it is not there."""
    wanted = module or package
    try:
        return importlib.import_module(wanted)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != wanted.split(".")[0]:
            raise
        raise MissingPackageError(package, purpose) from None
