"""A finished run: `run = factflow.open("runs/x")`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from .arrays import Group, ModelInfo, Store
from .cells import CellKind, Cells, cell_kinds, cells_dataset, cells_table, curves_table, prompt_sets, read_cells
from .errors import NotAnalysedError, UnknownNameError
from .heatmaps import Heatmap, maps_table, read_heatmap
from .hdf5 import ResultsFile, RunInfo
from .packages import needed
from .table import Table, joined, read_csv

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas
    import xarray

_ADDED_UNITS = {
    "change": ("percent", "100 (p - p_clean) / p_clean"),
    "log_change": ("1", "natural logarithm of the answer's probability, less that of the clean run"),
    "p_clean": ("1", "probability of the answer's token in the clean run"),
    "touched": ("1", "what the item touches in the prompt, in one layer; 0 = nothing, -1 = not computed, -2 = failed"),
    "start": ("layer", "first layer of the window, or its centre layer: attribute placement"),
    "depth": ("1", "start / layers"),
}


@dataclass(frozen=True)
class ModelVerdict:
    """What a claim's rule says of one model."""

    model: str
    verdict: str
    reason: str
    evidence: str


@dataclass(frozen=True)
class Claim:
    """A claim of a paper, put to the test of a run: "holds", "does not hold", "cannot be told", .. with the reason."""

    text: str
    verdict: str
    reason: str
    rule: str
    source: str
    models: tuple[ModelVerdict, ...]


class Arrays:
    """What a run and a sweep in memory have in common: labelled arrays of models, and what is made of them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def models(self) -> Mapping[str, ModelInfo]:
        """Models with results, by name, in the order of the configuration."""
        return self._store.models

    @cached_property
    def kinds(self) -> Mapping[str, CellKind]:
        """Kinds of cells that there are ("knockout", "intervention", "parts", ..), by name."""
        return cell_kinds(self._store)

    def groups(self, model: str) -> tuple[str, ...]:
        """Paths of all groups of arrays of a model ("evaluation", "knockout/window_5", ..), whatever the kind."""
        return self._store.groups(model)

    def group(self, model: str, path: str) -> Group:
        """One group of arrays: `run.group("mamba", "evaluation")["rank"]`. Values are read when they are asked for."""
        return self._store.group(model, path)

    def sets(self, kind: str | None = None) -> tuple[str, ...]:
        """Sets of prompts that a kind of cells was asked of, the main one first."""
        return prompt_sets(self._store, self._kind(kind))

    def cells(
        self,
        kind: str | None = None,
        *,
        models: Sequence[str] | None = None,
        windows: Iterable[int] | None = None,
        prompts: str | None = None,
    ) -> Table:
        """One row per cell that was computed: model, prompt, edge (or what the kind's items are), window, start, depth, touched,
        p, p_clean, rank, tied, change (percent), log_change.

        kind: by default the first of `kinds`; models: names, by default all; windows: sizes, by default all; prompts: a set,
        by default the main one, since means over several sets are means over no set. "No such edge" is no row. Kinds that
        compare with a run of their own (position, answers) have no p_clean; their changes are out of the stored log_change.
        """
        one = self._kind(kind)
        return cells_table(self._read(one, models, windows, prompts))

    def curves(
        self,
        kind: str | None = None,
        *,
        models: Sequence[str] | None = None,
        windows: Iterable[int] | None = None,
        prompts: str | None = None,
    ) -> Table:
        """One row per model, item, window and start: means over the prompts of a set, with 95 % intervals.

        Columns, as in tables/curves.csv of `factflow analyse`: n, facts, accuracy (percent; Wilson), change (percent; t,
        clustered by fact), median_change, log_probability_change, half_carried_by, mean_rank. Bootstraps and corrected p
        values are the analysis' alone: `run.table("curves")`.
        """
        return curves_table(self._read(self._kind(kind), models, windows, prompts))

    def frame(
        self,
        kind: str | None = None,
        *,
        models: Sequence[str] | None = None,
        windows: Iterable[int] | None = None,
        prompts: str | None = None,
    ) -> pandas.DataFrame:
        """`cells()` as a pandas frame."""
        needed("pandas", "frame()")
        return self.cells(kind, models=models, windows=windows, prompts=prompts).frame()

    def dataset(
        self,
        kind: str | None = None,
        *,
        models: Sequence[str] | None = None,
        windows: Iterable[int] | None = None,
        prompts: str | None = None,
    ) -> xarray.Dataset:
        """The cells of a kind as one xarray dataset with the axes model, window, item, prompt and start, units as attributes.

        NaN where a model has no such item, window size or start. `group(model, path).dataset()` is any group as it is stored.
        """
        needed("xarray", "dataset()")
        one = self._kind(kind)
        return cells_dataset(self._read(one, models, windows, prompts), self._units(one))

    def plot(
        self,
        kind: str | None = None,
        *,
        window: int | None = None,
        models: Sequence[str] | None = None,
        prompts: str | None = None,
    ) -> matplotlib.figure.Figure:
        """Mean relative change over relative depth: a panel per item, a line per model."""
        from .plots import plot_curves

        one = self._kind(kind)
        windows = None if window is None else [window]
        return plot_curves(self.curves(one.name, models=models, windows=windows, prompts=prompts), one.item, window)

    def maps(self) -> Table:
        """Which maps over single tokens there are: model, kind, window, prompt, row."""
        return maps_table(self._store)

    def heatmap(self, prompt: int, window: int | None = None, kind: str = "heatmap") -> Heatmap:
        """The map of a prompt in every model that has it.

        window: size, by default the largest; kind: "heatmap" (each token alone cut off from the last one), or another of `maps()`.
        """
        return read_heatmap(self._store, prompt, kind, window)

    def _kind(self, name: str | None) -> CellKind:
        if name is None and self.kinds:
            return next(iter(self.kinds.values()))
        if name is not None and name in self.kinds:
            return self.kinds[name]
        raise UnknownNameError("kind of cells", name or "knockout", self.kinds)

    def _read(
        self, kind: CellKind, models: Sequence[str] | None, windows: Iterable[int] | None, prompts: str | None
    ) -> list[Cells]:
        sizes = None if windows is None else list(windows)
        return list(read_cells(self._store, kind, models=models, windows=sizes, prompts=prompts))

    def _units(self, kind: CellKind) -> dict[str, tuple[str, str]]:
        units = dict(_ADDED_UNITS)
        for model in self._store.models:
            for path in self._store.groups(model):
                if path.startswith(f"{kind.name}/window_"):
                    arrays = self._store.group(model, path).arrays.values()
                    return units | {array.name: (array.units, array.description) for array in arrays}
        return units


class Run(Arrays):
    """The results of a run. Use it as a context manager, or `close()` it, to let go of the file.

    info: what ran and on what; path: of results.h5; digest: its check sum as `factflow analyse` says it.
    """

    def __init__(self, file: ResultsFile) -> None:
        super().__init__(file)
        self._file = file
        self.info: RunInfo = file.info
        self.path = file.path
        self.digest = file.digest

    @property
    def name(self) -> str:
        return self.info.name

    @cached_property
    def prompts(self) -> Table:
        """The dataset's prompts after its filters: prompt (id), text, subject, answer, relation."""
        return _table(self._file.table_group("prompts"))

    @cached_property
    def failures(self) -> Table:
        """What gave no numbers: model, stage, prompt, reason."""
        return _table(self._file.table_group("failures"))

    @cached_property
    def evaluations(self) -> Table:
        """One row per model and prompt: the clean run (probability, rank, answer_text, top_text of the likeliest token, ..)."""
        tables = []
        for model in self.models:
            if "evaluation" in self.groups(model):
                table = _table(self.group(model, "evaluation"), "prompt")
                tables.append(Table({"model": [model] * table.rows, **table}))
        return joined(tables)

    def table(self, name: str) -> Table:
        """A table of `factflow analyse`, "curves" or "effects" say (docs/analysis.md lists them). Raises NotAnalysedError."""
        folder = os.path.join(os.path.dirname(self.path), "tables")
        path = os.path.join(folder, f"{name}.csv")
        if os.path.exists(path):
            return read_csv(path)
        if os.path.isdir(folder):
            known = sorted(file.removesuffix(".csv") for file in os.listdir(folder) if file.endswith(".csv"))
            raise UnknownNameError("table of the analysis", name, known)
        run = os.path.dirname(self.path) or "."
        raise NotAnalysedError(run, "has no tables", f"run `factflow analyse {run}`")

    def claims(self) -> tuple[Claim, ...]:
        """The papers' claims with their verdicts, as `factflow analyse` wrote them. Raises NotAnalysedError."""
        claims: dict[tuple[str, str], Claim] = {}
        rows = self.table("claims")
        for i in range(rows.rows):
            row = {name: str(rows[name][i]) for name in rows}
            key = (row["claim"], row["source"])
            verdict = ModelVerdict(row["model"], row["model_verdict"], row["model_reason"], row["evidence"])
            known = claims[key].models if key in claims else ()
            models = (*known, verdict) if row["model"] else known
            claims[key] = Claim(row["claim"], row["verdict"], row["reason"], row["rule"], row["source"], models)
        return tuple(claims.values())

    def close(self) -> None:
        """Lets go of the file. Arrays that were read stay."""
        self._file.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        done = "" if self.info.complete else f", {self.info.units_done} of {self.info.units_planned} units"
        return f"<Run {self.name}: {', '.join(self.models)}; {', '.join(self.kinds) or 'evaluation only'}{done}>"


def _table(group: Group, axis: str | None = None) -> Table:
    """The arrays of one axis, of arrays with a second one its first element."""
    name = axis or next(iter(group.axes))
    columns = {name: group[name]}
    for array in group.arrays.values():
        if array.axes == (name,):
            columns[array.name] = array.values
        elif array.axes[:1] == (name,) and len(array.axes) == 2 and array.shape[1] > 0:
            columns[array.name] = np.take(array.values, 0, axis=1)
    return Table(columns)


def open_run(path: str | os.PathLike[str], *, unfinished: bool = False) -> Run:
    """Opens a run: its directory or its results.h5.

    unfinished: take a run that has units to do as far as it is; otherwise that is an UnfinishedRunError. Raises ResultsError
    (its subclasses say what is wrong) for everything that is no results file, is damaged, or of another schema version.
    The whole file is read once for its check sum, about 0.3 GB a second.
    """
    return Run(ResultsFile(path, unfinished))
