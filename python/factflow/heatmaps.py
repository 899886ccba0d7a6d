"""Maps over a prompt's tokens: heat maps of knockouts, of interventions, causal traces of single prompts.

Found by their labels: a group `NAME/window_W` with arrays called by a prompt's id, [token_ID, start].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .arrays import Group, ModelInfo, Store, Values
from .errors import UnknownNameError
from .packages import needed
from .table import Table, joined

if TYPE_CHECKING:
    import matplotlib.figure
    import xarray


@dataclass(frozen=True)
class TokenMap:
    """One map of one model.

    tokens [token]: texts, U+FFFD for parts of a character; token_ids [token]: vocabulary ids; starts [start]: layers, of which
    `placement` says whether they are the window's first or its centre; p [token, start]: probability of the answer with the
    token's turn, NaN = not computed; p_clean: in the clean run; row: what is done to each token in turn, "" = cut off from
    the last one; subject: range of tokens, end exclusive.
    """

    model: ModelInfo
    kind: str
    prompt: int
    window: int
    placement: str
    row: str
    tokens: tuple[str, ...]
    token_ids: NDArray[np.int32]
    starts: NDArray[np.int32]
    p: NDArray[np.float64]
    p_clean: float
    subject: tuple[int, int]

    @property
    def difference(self) -> NDArray[np.float64]:
        """[token, start] p - p_clean."""
        return self.p - self.p_clean

    def dataset(self) -> xarray.Dataset:
        """Axes token (place in the prompt) and start; coordinates text, token_id and depth."""
        xr = needed("xarray", "dataset()")
        made: xarray.Dataset = xr.Dataset(
            {
                "p": (("token", "start"), self.p, {"units": "1", "description": "probability of the answer"}),
                "difference": (("token", "start"), self.difference, {"units": "1", "description": "p - p_clean"}),
            },
            coords={
                "token": np.arange(len(self.tokens)),
                "text": ("token", list(self.tokens)),
                "token_id": ("token", self.token_ids),
                "start": ("start", self.starts, {"units": "layer"}),
                "depth": ("start", self.starts / float(self.model.layers)),
            },
            attrs={
                "model": self.model.name,
                "prompt": self.prompt,
                "window": self.window,
                "placement": self.placement,
                "p_clean": self.p_clean,
            },
        )
        return made

    def table(self) -> Table:
        """One row per token and start."""
        token, start = (index.ravel() for index in np.indices(self.p.shape))
        texts = np.array(self.tokens, dtype=object)
        rows = len(token)
        return Table(
            {
                "model": [self.model.name] * rows,
                "prompt": np.full(rows, self.prompt),
                "window": np.full(rows, self.window),
                "token": token,
                "text": texts[token],
                "token_id": self.token_ids[token],
                "start": self.starts[start].astype(np.int64),
                "depth": self.starts[start] / float(self.model.layers),
                "p": self.p.ravel(),
                "p_clean": np.full(rows, self.p_clean),
                "difference": self.difference.ravel(),
            }
        )


class Heatmap(Mapping[str, TokenMap]):
    """A prompt's map in every model that has one: `heatmap["mamba"].p`, `heatmap.plot()`."""

    def __init__(self, panels: Mapping[str, TokenMap]) -> None:
        self._panels = dict(panels)

    def __getitem__(self, model: str) -> TokenMap:
        try:
            return self._panels[model]
        except KeyError:
            raise UnknownNameError("model with this map", model, self._panels) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._panels)

    def __len__(self) -> int:
        return len(self._panels)

    def table(self) -> Table:
        """One row per model, token and start."""
        return joined([panel.table() for panel in self._panels.values()])

    def plot(self) -> matplotlib.figure.Figure:
        """A panel per model: p - p_clean over the prompt's tokens, the subject's in bold."""
        from .plots import plot_heatmap

        return plot_heatmap(self)


def _maps(store: Store, model: str) -> Iterator[tuple[str, int, Group]]:
    """Kind, window size and group of the model's maps."""
    for path in store.groups(model):
        kind, _, last = path.rpartition("/")
        number = last.removeprefix("window_")
        if not kind or number == last or not number.isdecimal():
            continue
        group = store.group(model, path)
        if any(axis.startswith("token_") for axis in group.axes):
            yield kind, int(number), group


def _prompts_of(group: Group) -> list[int]:
    return [int(axis.removeprefix("token_")) for axis in group.axes if axis.startswith("token_")]


def maps_table(store: Store) -> Table:
    """What maps there are: one row per model, kind, window size and prompt."""
    rows = [
        (model, kind, window, prompt, str(group.attributes.get("row", "")))
        for model in store.models
        for kind, window, group in _maps(store, model)
        for prompt in _prompts_of(group)
    ]
    names = ("model", "kind", "window", "prompt", "row")
    return Table({name: [row[i] for row in rows] for i, name in enumerate(names)})


def _clean(store: Store, model: str, prompt: int) -> tuple[float, tuple[int, int]]:
    evaluation = store.group(model, "evaluation")
    place = np.flatnonzero(evaluation["prompt"] == prompt)
    if len(place) == 0:
        return float("nan"), (0, 0)
    i = int(place[0])
    return float(evaluation["probability"][i]), (int(evaluation["subject_begin"][i]), int(evaluation["subject_end"][i]))


def read_heatmap(store: Store, prompt: int, kind: str, window: int | None) -> Heatmap:
    """window: by default the largest at which any model has the prompt's map."""
    found: dict[int, dict[str, Group]] = {}
    known: dict[str, set[int]] = {}
    for model in store.models:
        for name, size, group in _maps(store, model):
            prompts = _prompts_of(group)
            known.setdefault(name, set()).update(prompts)
            if name == kind and prompt in prompts:
                found.setdefault(size, {})[model] = group
    if kind not in known:
        raise UnknownNameError("kind of map", kind, known)
    if not found:
        raise UnknownNameError(f"prompt with a map of kind {kind}", prompt, sorted(known[kind]))
    size = max(found) if window is None else window
    if size not in found:
        raise UnknownNameError("window size of this map", size, sorted(found))
    return Heatmap({model: _read_map(store, model, kind, prompt, size, group) for model, group in found[size].items()})


def _read_map(store: Store, model: str, kind: str, prompt: int, window: int, group: Group) -> TokenMap:
    p_clean, subject = _clean(store, model, prompt)
    p: Values = group[str(prompt)].astype(np.float64)
    ids = f"token_ids_{prompt}"
    return TokenMap(
        store.models[model],
        kind,
        prompt,
        window,
        str(group.attributes["placement"]),
        str(group.attributes.get("row", "")),
        tuple(map(str, group[f"token_{prompt}"])),
        group[ids] if ids in group.arrays else np.full(p.shape[0], -1, dtype=np.int32),
        group["start"],
        p,
        p_clean,
        subject,
    )
