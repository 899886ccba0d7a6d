"""Cells of item x prompt x start, of every kind of experiment that has such: knockouts, interventions, parts, and whatever comes.

A kind is found by its labels, not by its name: a group `NAME/window_W` with an array `probability` [ITEM, prompt, start], and
in its parent an int64 array [ITEM, prompt], which says what an item touches in each prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from . import statistics
from .arrays import Group, ModelInfo, Store, Values
from .errors import UnknownNameError
from .packages import needed
from .table import Table, joined

if TYPE_CHECKING:
    import xarray

UNNAMED_SET = "selected"  # of a run that names no set of prompts
_TINY = float(np.finfo(np.float32).tiny)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CellKind:
    """name: of the group, "knockout"; item: the axis of its items, "edge"; size: the array of what an item touches, "edges"."""

    name: str
    item: str
    size: str


def _window_of(path: str) -> tuple[str, int] | None:
    parent, _, last = path.rpartition("/")
    number = last.removeprefix("window_")
    return (parent, int(number)) if parent and last != number and number.isdecimal() else None


def cell_kinds(store: Store) -> dict[str, CellKind]:
    """By name, in the order in which the models have them."""
    kinds: dict[str, CellKind] = {}
    for model in store.models:
        paths = store.groups(model)
        for path in paths:
            place = _window_of(path)
            if place is None or place[0] in kinds or place[0] not in paths:
                continue
            kind = _kind_of(place[0], store.group(model, place[0]), store.group(model, path))
            if kind is not None:
                kinds[kind.name] = kind
    return kinds


def _kind_of(name: str, parent: Group, window: Group) -> CellKind | None:
    probability = window.arrays.get("probability")
    if probability is None or len(probability.axes) != 3 or probability.axes[1:] != ("prompt", "start"):
        return None
    item = probability.axes[0]
    for array in parent.arrays.values():
        if array.axes == (item, "prompt") and array.dtype == np.int64:
            return CellKind(name, item, array.name)
    return None


@dataclass(frozen=True)
class Cells:
    """One window size of one model and one set of prompts.

    items [item]; prompts [prompt]: ids; starts [start]: layers; values of other names as they are stored [item, prompt, start].
    p_clean [prompt]: the answer's probability in the clean run, NaN where it is not what p is compared with.
    """

    model: ModelInfo
    kind: CellKind
    prompt_set: str
    window: int
    placement: str
    items: tuple[str, ...]
    prompts: NDArray[np.int64]
    starts: NDArray[np.int32]
    touched: NDArray[np.int64]  # [item, prompt]
    stored: Mapping[str, Values]
    p_clean: Floats
    facts: statistics.Integers  # [prompt] numbers of facts

    @property
    def p(self) -> Floats:
        """[item, prompt, start] probability of the answer; NaN = not computed, failed, or the prompt has no such item."""
        p = self.stored["probability"].astype(np.float64)
        made: Floats = np.where(self.touched[:, :, None] > 0, p, np.nan)
        return made

    @property
    def has_clean(self) -> bool:
        return not bool(np.isnan(self.p_clean).all())

    @property
    def change(self) -> Floats:
        """[item, prompt, start] 100 (p - p_clean) / p_clean, percent; NaN where it is undefined."""
        p = self.p
        if not self.has_clean:
            log: Floats = np.where(np.isnan(p), np.nan, self.stored["log_change"].astype(np.float64))
            return 100 * np.expm1(log)
        clean = np.where(self.p_clean > 0, self.p_clean, np.nan)[None, :, None]
        made: Floats = 100 * (p - clean) / clean
        return made

    @property
    def log_change(self) -> Floats:
        """[item, prompt, start] ln(p / p_clean), as it is stored, else with p at least 1.2e-38; NaN likewise."""
        change = self.change
        p = np.maximum(self.p, _TINY)
        with np.errstate(invalid="ignore", divide="ignore"):
            made: Floats = np.log(p / self.p_clean[None, :, None])
        if "log_change" in self.stored:
            stored = self.stored["log_change"].astype(np.float64)
            made = np.where(np.isnan(stored), made, stored)
        return np.where(np.isnan(change), np.nan, made)

    @property
    def depth(self) -> Floats:
        """[start] start / layers."""
        made: Floats = self.starts / float(self.model.layers)
        return made


def sets_of(parent: Group) -> tuple[str, ...]:
    """Names of the sets of prompts that were asked about, the main one first."""
    return tuple(map(str, parent["set"])) if "set" in parent.axes else (UNNAMED_SET,)


def _asked(parent: Group, window: Group, kind: CellKind, number: int) -> NDArray[np.bool_]:
    count = len(parent[kind.item])
    if "asked" not in window.arrays:
        return np.ones(count, dtype=bool)
    made: NDArray[np.bool_] = window["asked"][number] == 1
    return made


def prompt_sets(store: Store, kind: CellKind) -> tuple[str, ...]:
    """Sets of which anything of this kind was asked, in the order of the configuration."""
    found: dict[str, int] = {}
    for model, parent, windows in _models_with(store, kind, None):
        for number, name in enumerate(sets_of(parent)):
            if any(_asked(parent, window, kind, number).any() for window in windows.values()):
                found.setdefault(name, number)
    return tuple(sorted(found, key=lambda name: found[name]))


def _models_with(
    store: Store, kind: CellKind, models: Sequence[str] | None
) -> Iterator[tuple[ModelInfo, Group, dict[int, Group]]]:
    """Models that have cells of the kind, the group of the kind, and its windows by size, ascending."""
    for name in models or ():
        if name not in store.models:
            raise UnknownNameError("model with results", name, store.models)
    for name, model in store.models.items():
        paths = store.groups(name)
        if (models is not None and name not in models) or kind.name not in paths:
            continue
        places = [(path, _window_of(path)) for path in paths]
        sizes = {place[1]: path for path, place in places if place is not None and place[0] == kind.name}
        yield model, store.group(name, kind.name), {size: store.group(name, sizes[size]) for size in sorted(sizes)}


def _clean(store: Store, model: str, parent: Group, prompts: Values) -> Floats:
    """[prompt] NaN where the kind has clean values of its own, or the model was not evaluated."""
    own = any(name.startswith("clean_") for name in parent.arrays)
    if own or "evaluation" not in store.groups(model):
        return np.full(len(prompts), np.nan)
    evaluation = store.group(model, "evaluation")
    known = dict(zip(evaluation["prompt"].tolist(), evaluation["probability"].astype(np.float64).tolist(), strict=True))
    return np.array([known.get(int(prompt), np.nan) for prompt in prompts], dtype=np.float64)


def read_cells(
    store: Store,
    kind: CellKind,
    *,
    models: Sequence[str] | None = None,
    windows: Sequence[int] | None = None,
    prompts: str | None = None,
) -> Iterator[Cells]:
    """By model, then window size, ascending. prompts: name of a set, by default the main one."""
    sets = prompt_sets(store, kind)
    if prompts is not None and prompts not in sets:
        raise UnknownNameError("set of prompts", prompts, sets)
    wanted = prompts or (sets[0] if sets else UNNAMED_SET)
    facts = store.facts()
    for model, parent, of_size in _models_with(store, kind, models):
        names = sets_of(parent)
        if wanted not in names:
            continue
        number = names.index(wanted)
        keep = parent["members"][number] == 1 if "members" in parent.arrays else np.ones(len(parent["prompt"]), dtype=bool)
        ids = parent["prompt"][keep]
        clean = _clean(store, model.name, parent, ids)
        fact = statistics.numbered([facts[int(prompt)] for prompt in ids])
        for size, window in of_size.items():
            asked = _asked(parent, window, kind, number)
            if (windows is not None and size not in windows) or not asked.any():
                continue
            stored = {
                array.name: array.values[asked][:, keep]
                for array in window.arrays.values()
                if array.axes == (kind.item, "prompt", "start")
            }
            yield Cells(
                model,
                kind,
                wanted,
                size,
                str(window.attributes["placement"]),
                tuple(map(str, parent[kind.item][asked])),
                ids,
                window["start"],
                parent[kind.size][asked][:, keep],
                stored,
                clean,
                fact,
            )


def cells_table(all_cells: Iterable[Cells]) -> Table:
    """One row per cell that was computed."""
    return joined([_cell_rows(cells) for cells in all_cells])


def _cell_rows(cells: Cells) -> Table:
    p = cells.p
    item, prompt, start = np.nonzero(~np.isnan(p))
    rows = len(item)

    def same(value: object) -> Values:
        column = np.empty(rows, dtype=object if isinstance(value, str) else np.int64)
        column[:] = value
        return column

    names = np.array(cells.items, dtype=object)
    columns: dict[str, Values] = {
        "model": same(cells.model.name),
        "prompts": same(cells.prompt_set),
        "prompt": cells.prompts[prompt],
        cells.kind.item: names[item],
        "window": same(cells.window),
        "placement": same(cells.placement),
        "start": cells.starts[start].astype(np.int64),
        "depth": cells.depth[start],
        "touched": cells.touched[item, prompt],
        "p": p[item, prompt, start],
    }
    if cells.has_clean:
        columns["p_clean"] = cells.p_clean[prompt]
    for name in ("rank", "tied"):
        if name in cells.stored:
            columns[name] = cells.stored[name][item, prompt, start]
    columns["change"] = cells.change[item, prompt, start]
    columns["log_change"] = cells.log_change[item, prompt, start]
    return Table(columns)


def curves_table(all_cells: Iterable[Cells]) -> Table:
    """One row per model, item, window size and start: means over prompts with intervals (docs/analysis.md, "Definitions")."""
    return joined([_curve_rows(cells, i) for cells in all_cells for i in range(len(cells.items))])


def _curve_rows(cells: Cells, item: int) -> Table:
    change, log_change = cells.change[item], cells.log_change[item]
    rank = np.where(np.isnan(change), np.nan, cells.stored["rank"][item].astype(np.float64))
    hit = np.where(np.isnan(change), np.nan, (rank == 1).astype(np.float64))
    facts = statistics.clusters_in(change, cells.facts)
    share = statistics.means(hit)
    low, high = statistics.wilson_intervals(share, facts)
    change_low, change_high = statistics.t_intervals(change, cells.facts)
    log_low, log_high = statistics.t_intervals(log_change, cells.facts)
    starts = len(cells.starts)
    return Table(
        {
            "model": [cells.model.name] * starts,
            "family": [cells.model.family] * starts,
            "layers": np.full(starts, cells.model.layers),
            cells.kind.item: [cells.items[item]] * starts,
            "prompts": [cells.prompt_set] * starts,
            "window": np.full(starts, cells.window),
            "placement": [cells.placement] * starts,
            "start": cells.starts.astype(np.int64),
            "relative_depth": cells.depth,
            "n": statistics.counted(change),
            "facts": facts,
            "accuracy": 100 * share,
            "accuracy_low": 100 * low,
            "accuracy_high": 100 * high,
            "change": statistics.means(change),
            "change_low": change_low,
            "change_high": change_high,
            "median_change": statistics.medians(change),
            "log_probability_change": statistics.means(log_change),
            "log_probability_change_low": log_low,
            "log_probability_change_high": log_high,
            "half_carried_by": statistics.half_carried_by(change),
            "mean_rank": statistics.means(rank),
        }
    )


def cells_dataset(all_cells: Iterable[Cells], units: Mapping[str, tuple[str, str]]) -> xarray.Dataset:
    """All models and window sizes in one dataset; NaN where a model or a size has no such cell."""
    xr = needed("xarray", "dataset()")
    of_model: dict[str, list[xarray.Dataset]] = {}
    about: dict[str, ModelInfo] = {}
    for cells in all_cells:
        item = cells.kind.item
        axes = (item, "prompt", "start")
        values = {name: np.where(np.isnan(cells.p), np.nan, stored) for name, stored in cells.stored.items()}
        values |= {"change": cells.change, "log_change": cells.log_change}
        variables: dict[str, tuple[tuple[str, ...], Values]] = {name: (axes, array) for name, array in values.items()}
        variables["touched"] = ((item, "prompt"), cells.touched.astype(np.float64))
        variables["p_clean"] = (("prompt",), cells.p_clean)
        coordinates = {item: list(cells.items), "prompt": cells.prompts, "start": cells.starts}
        one = xr.Dataset(variables, coords=coordinates).expand_dims(window=[cells.window])
        of_model.setdefault(cells.model.name, []).append(one)
        about[cells.model.name] = cells.model
        placement, kind, prompt_set = cells.placement, cells.kind, cells.prompt_set
    if not of_model:
        nothing: xarray.Dataset = xr.Dataset()
        return nothing
    merged = []
    for name, parts in of_model.items():
        whole = xr.concat(parts, dim="window", join="outer")
        # These do not depend on the size of the window, which may lack an item.
        for variable in ("touched", "p_clean"):
            whole[variable] = whole[variable].max("window")
        merged.append(whole.expand_dims(model=[name]))
    made: xarray.Dataset = xr.concat(merged, dim="model", join="outer")
    layers = [about[name].layers for name in of_model]
    made = made.assign_coords(
        layers=("model", layers), depth=(("model", "start"), made["start"].values[None, :] / np.array(layers)[:, None])
    )
    for variable, (unit, description) in units.items():
        if variable in made.variables:
            made[variable].attrs.update(units=unit, description=description)
    made.attrs.update(kind=kind.name, prompts=prompt_set, placement=placement)
    return made
