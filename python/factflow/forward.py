"""One run of one prompt: `Model.run`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import InputError, UnknownNameError
from .interventions import Fact, Intervention, OfRuns, Read

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class SiteValues:
    """What was read of a site.

    layers, tokens: which, as numbers; value, clean: [layers, tokens, width] on the model's device, float32 (float64 in fp64), of the
    run with all interventions and of the clean one; the same values where nothing acts.
    """

    site: str
    layers: tuple[int, ...]
    tokens: tuple[int, ...]
    value: torch.Tensor
    clean: torch.Tensor

    def __repr__(self) -> str:
        return f"<{self.site} [{len(self.layers)} layers, {len(self.tokens)} tokens, {self.value.shape[-1]}]>"


@dataclass(frozen=True)
class Forward:
    """A run, and the clean run of the same prompt.

    log_p, log_p_clean: natural logarithms of the answer's probability; rank: 1 + how many other tokens are at least as likely, tied:
    how many of these are exactly as likely; touched: (target, source) pairs and tokens written; tokens: texts of the prompt's.
    """

    fact: Fact
    log_p: float
    log_p_clean: float
    rank: int
    rank_clean: int
    tied: int
    tied_clean: int
    touched: int
    tokens: tuple[str, ...]
    reads: tuple[SiteValues, ...]

    @property
    def p(self) -> float:
        """Probability of the answer."""
        return math.exp(self.log_p)

    @property
    def p_clean(self) -> float:
        """The same in the clean run."""
        return math.exp(self.log_p_clean)

    @property
    def change(self) -> float:
        """100 (p - p_clean) / p_clean, in percent."""
        return 100 * math.expm1(self.log_p - self.log_p_clean)

    def __getitem__(self, site: str) -> SiteValues:
        """What was read of a site that was asked for once."""
        found = [one for one in self.reads if one.site == site]
        if not found:
            raise UnknownNameError("site that was read", site, [one.site for one in self.reads])
        if len(found) > 1:
            raise InputError(site, f"was read {len(found)} times", "take them from `reads`, in the order asked")
        return found[0]

    def __iter__(self) -> Iterator[SiteValues]:
        return iter(self.reads)

    def __repr__(self) -> str:
        return f"<Forward of {self.fact!r}: p {self.p:.3g}, clean {self.p_clean:.3g}, {self.change:+.1f} %>"


def forward_of(native: Any, fact: Fact, interventions: Sequence[Intervention], reads: Sequence[Read]) -> Forward:
    """Asks the engine. Raises InputError."""
    if isinstance(interventions, Mapping) or isinstance(reads, Read):
        raise InputError("run", "expected lists of interventions and reads", "write [ff.set(...)] and reads=[ff.read(...)]")
    answer, clean, touched, tokens, values = native.run_one(
        fact, [_action(one) for one in interventions], [(one.site, one.tokens, list(one.layers)) for one in reads]
    )
    return Forward(
        fact, answer[0], clean[0], answer[1], clean[1], answer[2], clean[2], touched, tuple(tokens),
        tuple(_values(asked, *found) for asked, found in zip(reads, values, strict=True)),
    )  # fmt: skip


def _values(asked: Read, tokens: Sequence[int], value: Any, clean: Any) -> SiteValues:
    from torch.utils.dlpack import from_dlpack

    return SiteValues(asked.site, asked.layers, tuple(tokens), from_dlpack(value), from_dlpack(clean))


def _action(intervention: Intervention) -> tuple[str, list[int], list[Fact]]:
    """(a row as text, layers, facts whose runs lend values)."""
    row: dict[str, Any] = {}
    others: list[Fact] = []
    for key, given in intervention.items():
        if key == "layers":
            continue
        if isinstance(given, Mapping) and isinstance(given.get("value"), OfRuns):
            others.extend(given["value"].facts)
            given = {**given, "value": given["value"].kind}
        row[key] = given
    if "layers" not in intervention:
        raise InputError("run", f"{json.dumps(row, default=str)[:80]} names no layers", "give layers=6 or layers=range(6, 12)")
    return json.dumps(row, ensure_ascii=False, default=str), list(intervention["layers"]), others
