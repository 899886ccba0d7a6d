"""results.h5 as labelled arrays (docs/results.md). The only file that knows h5py."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import h5py
import numpy as np

from .arrays import Array, Attribute, Group, ModelInfo, Values
from .errors import ForeignFileError, MissingResultsError, SchemaError, UnfinishedRunError, UnknownNameError
from .seal import check_seal

SCHEMA_VERSION = 2
FILE_NAME = "results.h5"
RESERVED = ("prompts", "failures")  # groups at the root that are no models
_DAMAGED = "the file was not written by factflow"


@dataclass(frozen=True)
class RunInfo:
    """What ran, on what, and how far it came: the attributes of the root. docs/results.md says what each means.

    elapsed_seconds: computing time over all starts of the run, 0 = unknown; config: the resolved YAML; models: names of
    all that the configuration has, also of those without results yet.
    """

    name: str
    created: str
    factflow_version: str
    config: str
    selection: str
    answer: str
    models: tuple[str, ...]
    dataset_path: str
    dataset_digest: str
    dataset_format: str
    libtorch: str
    host: str
    device: str
    precision: str
    elapsed_seconds: float
    complete: bool
    units_done: int
    units_planned: int


def locate(path: str | os.PathLike[str]) -> str:
    """The results file of a run directory, or the file itself. Raises MissingResultsError."""
    place = os.path.expanduser(os.fspath(path))
    if not os.path.isdir(place):
        if not os.path.exists(place):
            raise MissingResultsError(
                place, "there is no such file or directory", "give a run directory or its results.h5"
            )
        return place
    file = os.path.join(place, FILE_NAME)
    if not os.path.exists(file):
        raise MissingResultsError(
            place,
            f"holds no {FILE_NAME}",
            "give the directory of a run; one that was started a moment ago has none yet (`factflow status` says how far it is)",
        )
    return file


class ResultsFile:
    """An open results file. It stays as it was when it was opened, whatever a run that goes on writes in its place."""

    def __init__(self, path: str | os.PathLike[str], unfinished: bool = False) -> None:
        self.path = locate(path)
        self.digest = check_seal(self.path)
        self._file = h5py.File(self.path, "r")
        try:
            self._check_schema()
            self.info = self._read_info()
            if not self.info.complete and not unfinished:
                raise UnfinishedRunError(self.path, self.info.units_done, self.info.units_planned)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        self._file.close()

    def _check_schema(self) -> None:
        if "schema_version" not in self._file.attrs:
            raise ForeignFileError(self.path, "has no attribute 'schema_version'", "this is no results file of factflow")
        found = int(self._file.attrs["schema_version"])
        if found != SCHEMA_VERSION:
            raise SchemaError(self.path, found, SCHEMA_VERSION)

    def _read_info(self) -> RunInfo:
        stored = _attributes(self._file)
        try:
            return RunInfo(
                models=tuple(str(stored["models"]).split()),
                complete=bool(stored["complete"]),
                elapsed_seconds=float(stored["elapsed_seconds"]),
                units_done=int(stored["units_done"]),
                units_planned=int(stored["units_planned"]),
                **{
                    name: str(stored[name])
                    for name, kind in RunInfo.__annotations__.items()
                    if kind == "str"
                },
            )
        except KeyError as error:
            raise ForeignFileError(self.path, f"has no attribute {error}", _DAMAGED) from None

    @cached_property
    def models(self) -> Mapping[str, ModelInfo]:
        """Models that have results, in the order of the configuration."""
        return {name: self._read_model(name) for name in _members(self._file) if name not in RESERVED}

    def _read_model(self, name: str) -> ModelInfo:
        stored = _attributes(self._file[name])
        blocks = str(stored.get("layer_blocks", ""))
        return ModelInfo(
            name=name,
            family=str(stored["family"]),
            path=str(stored["path"]),
            layers=int(stored["layers"]),
            hidden_size=int(stored["hidden_size"]),
            vocabulary=int(stored["vocabulary"]),
            parameters=int(stored["parameters"]),
            checkpoint_digest=str(stored["checkpoint_digest"]),
            tokenizer_digest=str(stored["tokenizer_digest"]),
            layer_blocks=tuple(blocks.split("\n")) if blocks else (),
        )

    def groups(self, model: str) -> tuple[str, ...]:
        if model not in self.models:
            raise UnknownNameError("model with results", model, self.models)
        found: list[str] = []

        def visit(group: h5py.Group, path: str) -> None:
            children = [(name, group[name]) for name in _members(group)]
            if any(isinstance(child, h5py.Dataset) for _, child in children):
                found.append(path)
            for name, child in children:
                if isinstance(child, h5py.Group):
                    visit(child, f"{path}/{name}" if path else name)

        visit(self._file[model], "")
        return tuple(found)

    def group(self, model: str, path: str) -> Group:
        known = self.groups(model)
        if path not in known:
            raise UnknownNameError(f"group of {model}", path, known)
        return self._read_group(self._file[model][path], path)

    def table_group(self, name: str) -> Group:
        """One of RESERVED."""
        return self._read_group(self._file[name], name)

    def _read_group(self, group: h5py.Group, path: str) -> Group:
        axes: dict[str, Array] = {}
        arrays: dict[str, Array] = {}
        for name in _members(group):
            dataset = group[name]
            if not isinstance(dataset, h5py.Dataset):
                continue
            (axes if h5py.h5ds.is_scale(dataset.id) else arrays)[name] = _array(name, dataset)
        return Group(path, _attributes(group), axes, arrays)

    @cached_property
    def _facts(self) -> Mapping[int, tuple[str, str]]:
        prompts = self.table_group("prompts")
        pairs = zip(prompts["subject"], prompts["relation"], strict=True)
        return {int(prompt): (str(subject), str(relation)) for prompt, (subject, relation) in zip(prompts["prompt"], pairs, strict=True)}

    def facts(self) -> Mapping[int, tuple[str, str]]:
        return self._facts


def _members(group: h5py.Group) -> list[str]:
    """Names in the order in which they were written; links that leave the file are none of ours."""
    names: list[bytes] = []
    group.id.links.iterate(names.append, idx_type=h5py.h5.INDEX_CRT_ORDER)
    return [name.decode() for name in names if group.id.links.get_info(name).type == h5py.h5l.TYPE_HARD]


def _attributes(group: h5py.Group) -> dict[str, Attribute]:
    own = {}
    for name, value in group.attrs.items():
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, (int, float, str)):
            own[name] = value
    return own


def _array(name: str, dataset: h5py.Dataset) -> Array:
    axes = (name,) if h5py.h5ds.is_scale(dataset.id) else tuple(dimension.label for dimension in dataset.dims)
    text = h5py.check_string_dtype(dataset.dtype) is not None
    return Array(
        name,
        axes,
        tuple(dataset.shape),
        str(dataset.attrs.get("units", "1")),
        str(dataset.attrs.get("description", "")),
        partial(_load, dataset, text),
        np.dtype(object) if text else dataset.dtype,
    )


def _load(dataset: h5py.Dataset, text: bool) -> Values:
    if not text:
        values: Values = dataset[()]
        return values
    made = np.empty(dataset.shape, dtype=object)
    made[...] = dataset.asstr("utf-8", "replace")[()]
    return made
