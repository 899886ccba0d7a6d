"""Means with intervals, as docs/analysis.md defines them. Prompts of one fact are one cluster.

Everything is done for all starts at once: values [prompt, start], NaN where a cell does not count.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LEVEL = 0.95  # of intervals
FEWEST_FOR_T = 3  # facts


def _t_between(t: float, freedom: int) -> float:
    """P(|T| <= t) for t >= 0: the finite series for whole degrees of freedom (Abramowitz & Stegun 26.7.3, 26.7.4)."""
    angle = math.atan2(t, math.sqrt(freedom))
    cosine, sine = math.cos(angle), math.sin(angle)
    if freedom % 2 == 0:
        term = total = 1.0
        for k in range(1, freedom // 2):
            term *= cosine * cosine * (2 * k - 1) / (2 * k)
            total += term
        return sine * total
    total, term = 0.0, cosine
    for k in range(1, (freedom - 1) // 2 + 1):
        total += term
        term *= cosine * cosine * (2 * k) / (2 * k + 1)
    return 2 / math.pi * (angle + sine * total)


def _t_density(t: float, freedom: int) -> float:
    scale = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(freedom * math.pi)
    return math.exp(scale - (freedom + 1) / 2 * math.log1p(t * t / freedom))


@functools.lru_cache(maxsize=4096)
def t_quantile(level: float, freedom: int) -> float:
    """t with P(|T| <= t) = level."""
    low, high = 0.0, 1.0
    while _t_between(high, freedom) < level:
        low, high = high, 2 * high
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _t_between(middle, freedom) < level else (low, middle)
    t = 0.5 * (low + high)
    for _ in range(3):
        t -= (_t_between(t, freedom) - level) / (2 * _t_density(t, freedom))
    return t


def numbered(keys: list[tuple[str, str]]) -> Integers:
    """Numbers of keys, as they appear."""
    known: dict[tuple[str, str], int] = {}
    return np.array([known.setdefault(key, len(known)) for key in keys], dtype=np.int64)


def counted(values: Floats) -> Integers:
    """[start] cells that count."""
    n: Integers = (~np.isnan(values)).sum(axis=0)
    return n


def clusters_in(values: Floats, cluster: Integers) -> Integers:
    """[start] clusters of which a cell counts."""
    there = np.zeros((int(cluster.max(initial=-1)) + 1, values.shape[1]), dtype=np.int64)
    np.add.at(there, cluster, (~np.isnan(values)).astype(np.int64))
    n: Integers = (there > 0).sum(axis=0)
    return n


def means(values: Floats) -> Floats:
    """[start]; NaN of none."""
    n = counted(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        made: Floats = np.where(np.isnan(values), 0.0, values).sum(axis=0) / n
    return made


def medians(values: Floats) -> Floats:
    """[start]; NaN of none."""
    made = np.full(values.shape[1], np.nan)
    some = counted(values) > 0
    if some.any():
        made[some] = np.nanmedian(values[:, some], axis=0)
    return made


def t_intervals(values: Floats, cluster: Integers) -> tuple[Floats, Floats]:
    """Low and high ends [start] of the mean's t interval by the cluster-robust standard error; NaN for few clusters."""
    n, centre = counted(values), means(values)
    deviations = np.where(np.isnan(values), 0.0, values - centre)
    sums = np.zeros((int(cluster.max(initial=-1)) + 1, values.shape[1]))
    np.add.at(sums, cluster, deviations)
    groups = clusters_in(values, cluster)
    low, high = np.full(len(n), np.nan), np.full(len(n), np.nan)
    for i in np.flatnonzero(groups >= FEWEST_FOR_T):
        g = int(groups[i])
        error = math.sqrt(float((sums[:, i] ** 2).sum()) * g / (g - 1)) / int(n[i])
        half = t_quantile(LEVEL, g - 1) * error if error > 0 else 0.0
        low[i], high[i] = centre[i] - half, centre[i] + half
    return low, high


def wilson_intervals(share: Floats, trials: Integers) -> tuple[Floats, Floats]:
    """Low and high ends [start] of Wilson's score interval of shares in 0 .. 1; NaN of no trials."""
    z = NormalDist().inv_cdf(0.5 + LEVEL / 2)
    n = np.where(trials > 0, trials, np.nan)
    scale, centre = 1 + z * z / n, share + 0.5 * z * z / n
    half = z * np.sqrt(share * (1 - share) / n + 0.25 * z * z / (n * n))
    low, high = (centre - half) / scale, (centre + half) / scale
    # The exact ends are lost to rounding where no or all trials succeed.
    return np.where(share == 0, n * 0, low), np.where(share == 1, n * 0 + 1, high)


def half_carried_by(values: Floats) -> Integers:
    """[start] how few cells hold half of the sum of |value|; 0 of nothing."""
    sizes = -np.sort(-np.where(np.isnan(values), 0.0, np.abs(values)), axis=0)
    sums = np.cumsum(sizes, axis=0)
    if len(sums) == 0:
        return np.zeros(values.shape[1], dtype=np.int64)
    few: Integers = (sums < 0.5 * sums[-1]).sum(axis=0) + (sums[-1] > 0)
    return few
