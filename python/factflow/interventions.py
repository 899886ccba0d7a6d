"""What is done to a run, in the words of a configuration: these functions make what its sections hold.

Sites, roles and values are the engine's: it reads what is written here by its own fields, so its messages are the program's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import InputError

# A fact as the engine has it: id, text, subject, subject_begin (bytes), answer (with its space), relation.
Fact = Any
Intervention = Mapping[str, Any]
Layers = int | Iterable[int]


@dataclass(frozen=True)
class OfRuns:
    """Values that clean runs of other facts have at the same site and layer. kind: "resample" of one run, or "mean"."""

    kind: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class Read:
    """What is read of a run."""

    site: str
    layers: tuple[int, ...]
    tokens: str


def block(source: str | Sequence[str], target: str | Sequence[str], *, layers: Layers | None = None, **keys: Any) -> Intervention:
    """Tokens of the role `target` no longer read those of the role `source`.

    keys: `channels` ("all", "slow", "fast", "not-slow", "not-fast", "quantile k/K"), `parts`, `path`; and as the section
    `intervene` knows them `through` ("state", "convolution", "mixer"), `heads`. Roles: docs/configuration.md.
    layers: of `Model.run` alone; a sweep has windows.
    """
    return _in_layers({"block": {"from": source, "to": target, **keys}}, layers)


def set(
    site: str | Sequence[str], tokens: str | Sequence[str], value: Any = "zero", *, layers: Layers | None = None, **keys: Any
) -> Intervention:
    """The value of a site at tokens of a role is set.

    site: "h", "o", "mlp", .. (docs/interventions.md); value: "zero", {"noise": deviation}, numbers (a list, array or tensor [width]);
    in a sweep also "mean" and "resample"; in `Model.run` `ff.run(fact)` and `ff.mean(facts)`. layers: of `Model.run` alone.
    """
    return _in_layers({"set": {"site": site, "tokens": tokens, "value": _value(value), **keys}}, layers)


def add(
    site: str | Sequence[str], tokens: str | Sequence[str], value: Any, *, layers: Layers | None = None, **keys: Any
) -> Intervention:
    """As `set`, but added to what is there, `scale` times."""
    return _in_layers({"add": {"site": site, "tokens": tokens, "value": _value(value), **keys}}, layers)


def together(*interventions: Intervention, name: str | None = None) -> Intervention:
    """Several interventions in one run of a sweep."""
    for one in interventions:
        _refuse_of_one_run(one)
    row: dict[str, Any] = {"together": list(interventions)}
    return row if name is None else {"name": name, **row}


def run(fact: Fact) -> OfRuns:
    """What the clean run of another fact has, for `ff.set` and `ff.add` in `Model.run`. Tokens are paired from the end of their role."""
    return OfRuns("resample", (fact,))


def mean(facts: Iterable[Fact]) -> OfRuns:
    """The mean over all tokens of clean runs of these facts, likewise."""
    return OfRuns("mean", tuple(facts))


def read(site: str, *, layers: Layers, tokens: str) -> Read:
    """The values of a site at tokens of a role, in these layers, for `Model.run`."""
    return Read(site, layer_numbers(layers), tokens)


def layer_numbers(layers: Layers) -> tuple[int, ...]:
    """In the order given, each once. Raises InputError for what are no layers."""
    try:
        numbers = tuple(layers) if isinstance(layers, Iterable) else (layers,)
        whole = tuple(number.__index__() for number in numbers)
    except (AttributeError, TypeError):
        raise InputError("layers", f"expected a whole number or several, found {layers!r}", "write layers=6 or range(6, 12)") from None
    if not whole or len(frozenset(whole)) < len(whole):
        raise InputError("layers", f"expected layers, each once, found {layers!r}", "write layers=6 or range(6, 12)")
    return whole


def _in_layers(intervention: dict[str, Any], layers: Layers | None) -> Intervention:
    return intervention if layers is None else {**intervention, "layers": layer_numbers(layers)}


def _value(value: Any) -> Any:
    if isinstance(value, (str, Mapping, OfRuns)):
        return value
    numbers = value.tolist() if hasattr(value, "tolist") else list(value)
    if not isinstance(numbers, list) or not all(isinstance(number, (int, float)) for number in numbers):
        raise InputError("value", f"expected one number per channel, found {value!r:.80}", "give a vector [width]")
    return {"vector": [float(number) for number in numbers]}


# What a row of `intervene` may say of a block and a knockout of `sweep` may not.
_ONLY_ROWS = frozenset({"through", "heads"})


def sections_of(interventions: Sequence[Intervention], windows: Mapping[str, Any]) -> dict[str, Any]:
    """Of a sweep: knockouts where all are such, else rows."""
    for one in interventions:
        _refuse_of_one_run(one)
    knockouts = [one["block"] for one in interventions if tuple(one) == ("block",)]
    if len(knockouts) == len(interventions) and not any(_ONLY_ROWS & knockout.keys() for knockout in knockouts):
        return {"sweep": {"windows": windows, "knockouts": knockouts}}
    return {"intervene": {"windows": windows, "rows": list(interventions)}}


def _refuse_of_one_run(intervention: Intervention) -> None:
    if "layers" in intervention:
        raise InputError("layers", "are of Model.run alone: a sweep has windows", "leave layers out and give windows")
    if any(isinstance(action.get("value"), OfRuns) for action in intervention.values() if isinstance(action, Mapping)):
        raise InputError("value", "of given runs is of Model.run alone", 'a sweep draws them: write value="resample" or "mean"')
