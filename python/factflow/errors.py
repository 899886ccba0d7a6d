"""What the package raises. Every error says what was found, where, and what to do, and has these as fields."""

from __future__ import annotations

import os
from collections.abc import Iterable


class FactflowError(Exception):
    """Base of all errors of this package."""


class ResultsError(FactflowError):
    """A results file cannot be used.

    path: the file or directory; problem: what is wrong with it; remedy: what to do.
    """

    def __init__(self, path: str | os.PathLike[str], problem: str, remedy: str) -> None:
        super().__init__(f"{os.fspath(path)}: {problem}; {remedy}")
        self.path = os.fspath(path)
        self.problem = problem
        self.remedy = remedy


class MissingResultsError(ResultsError):
    """There is no results file at the path (yet)."""


class ForeignFileError(ResultsError):
    """The file was not written by factflow."""


class DamagedFileError(ResultsError):
    """The file is truncated, or was changed after it was written: its check sum does not fit."""


class SchemaError(ResultsError):
    """The file has a schema that this package does not know.

    found, expected: schema versions.
    """

    def __init__(self, path: str | os.PathLike[str], found: int, expected: int) -> None:
        remedy = (
            "install a newer factflow" if found > expected else "read it with the factflow that wrote it, or run again"
        )
        super().__init__(path, f"has schema version {found}, expected {expected}", remedy)
        self.found = found
        self.expected = expected


class UnfinishedRunError(ResultsError):
    """The run has units that are not in the file yet.

    done, planned: numbers of units.
    """

    def __init__(self, path: str | os.PathLike[str], done: int, planned: int) -> None:
        super().__init__(
            path,
            f"the run is not finished: {done} of {planned} units",
            "continue it with the same `factflow run`, or read what there is with open(path, unfinished=True)",
        )
        self.done = done
        self.planned = planned


class NotAnalysedError(ResultsError):
    """What was asked for is made by `factflow analyse`, which has not been run."""


class UnknownNameError(FactflowError, KeyError):
    """The results have nothing of this name.

    what: the kind of name ("model"); name: the one asked for; known: those that there are.
    """

    def __init__(self, what: str, name: object, known: Iterable[object]) -> None:
        self.what = what
        self.name = name
        self.known = tuple(known)
        super().__init__(what, name, self.known)

    def __str__(self) -> str:
        known = ", ".join(map(str, self.known)) or "none"
        return f"there is no {self.what} {self.name!r}; there are: {known}"


class MissingPackageError(FactflowError, ImportError):
    """An optional package is needed for this call and not installed.

    package: its name on PyPI; purpose: what needs it.
    """

    def __init__(self, package: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {package}: pip install {package}")
        self.package = package
        self.purpose = purpose


class InputError(FactflowError, ValueError):
    """The engine cannot use what it was given: a configuration, a data set, a checkpoint, a tokenizer.

    where: the file or the key; problem: what was expected and what was found; remedy: what to do, "" = nothing is known.
    """

    def __init__(self, where: str, problem: str, remedy: str = "") -> None:
        super().__init__(f"{where}: {problem}" + (f"; {remedy}" if remedy else ""))
        self.where = where
        self.problem = problem
        self.remedy = remedy


class CheckpointError(InputError):
    """A model cannot be loaded, or cannot be taken over from memory.

    tensor: the name of the tensor that is wrong; None where it is something else.
    """

    def __init__(self, where: str, problem: str, remedy: str = "", *, tensor: str | None = None) -> None:
        super().__init__(where, problem, remedy)
        self.tensor = tensor


class EngineError(FactflowError, RuntimeError):
    """The engine failed though its input was good: a device that failed, or numbers that do not agree with whole forwards."""


class OutOfMemoryError(EngineError, MemoryError):
    """The device, or the memory that passes may take, is too small."""


class EngineMissingError(FactflowError, ImportError):
    """The compiled engine is not installed, or belongs to another torch."""
