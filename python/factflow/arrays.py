"""Labelled arrays: named axes, units, a sentence. What a results file and the engine say of experiments, whatever the kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import UnknownNameError
from .packages import needed

if TYPE_CHECKING:
    import xarray

Values = NDArray[Any]
Attribute = int | float | str


class Array:
    """One array, read when its values are first asked for.

    name; axes: names of its axes, outermost first; shape; units ("1" for plain numbers, "layer", "token", ..);
    description: one sentence, which says what missing values look like; values: numbers as stored, texts as objects.
    """

    def __init__(
        self,
        name: str,
        axes: tuple[str, ...],
        shape: tuple[int, ...],
        units: str,
        description: str,
        load: Callable[[], Values],
        dtype: np.dtype[Any],
    ) -> None:
        self.name = name
        self.axes = axes
        self.shape = shape
        self.units = units
        self.description = description
        self.dtype = dtype
        self._load = load

    @cached_property
    def values(self) -> Values:
        return self._load()

    def __repr__(self) -> str:
        sizes = ", ".join(f"{axis}: {length}" for axis, length in zip(self.axes, self.shape, strict=True))
        return f"<Array {self.name} ({sizes}) {self.dtype} [{self.units}]: {self.description}>"


@dataclass(frozen=True)
class Group:
    """Arrays that share axes.

    path: below the model, "knockout/window_5"; attributes: of the group; axes: names of axes with their values [length];
    arrays: all others.
    """

    path: str
    attributes: Mapping[str, Attribute]
    axes: Mapping[str, Array]
    arrays: Mapping[str, Array]

    def __getitem__(self, name: str) -> Values:
        """Values of an array or an axis."""
        if name in self.arrays:
            return self.arrays[name].values
        if name in self.axes:
            return self.axes[name].values
        raise UnknownNameError(f"array of {self.path}", name, [*self.axes, *self.arrays])

    def __contains__(self, name: object) -> bool:
        return name in self.arrays or name in self.axes

    def dataset(self) -> xarray.Dataset:
        """The group as it is stored, with named axes; units and descriptions are attributes of the variables."""
        xr = needed("xarray", "dataset()")

        def variable(array: Array) -> tuple[tuple[str, ...], Values, dict[str, str]]:
            return array.axes, array.values, {"units": array.units, "description": array.description}

        made: xarray.Dataset = xr.Dataset(
            {name: variable(array) for name, array in self.arrays.items()},
            coords={name: variable(array) for name, array in self.axes.items()},
            attrs=dict(self.attributes),
        )
        return made


@dataclass(frozen=True)
class ModelInfo:
    """A model of a run.

    family: the checkpoint's model_type; path; layers, hidden_size, vocabulary, parameters: numbers; digests of checkpoint
    and tokenizer; layer_blocks [layers]: what each layer is, "mamba" or "attention, mlp" or in parallel "attention + mlp".
    """

    name: str
    family: str
    path: str
    layers: int
    hidden_size: int
    vocabulary: int
    parameters: int
    checkpoint_digest: str
    tokenizer_digest: str
    layer_blocks: tuple[str, ...]


class Store(Protocol):
    """Where labelled arrays are: a results file, or the memory of this process."""

    @property
    def models(self) -> Mapping[str, ModelInfo]:
        """In the order of the configuration."""

    def groups(self, model: str) -> tuple[str, ...]:
        """Paths of the model's groups, in the order in which they were written."""

    def group(self, model: str, path: str) -> Group: ...

    def facts(self) -> Mapping[int, tuple[str, str]]:
        """Of each prompt its subject and relation. Prompts that have both in common say one fact."""
