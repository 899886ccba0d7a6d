"""Quantiles against scipy (whose inverse is good to 1e-10), and corners."""

from __future__ import annotations

import numpy as np
import pytest

from factflow import statistics


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.706204736432095), (2, 4.302652729911275), (3, 3.182446305284263), (10, 2.2281388519649385), (5000, 1.9604385517065075)],
)
def test_quantiles_of_t(freedom: int, quantile: float) -> None:
    assert statistics.t_quantile(0.95, freedom) == pytest.approx(quantile, rel=1e-10)


def test_nothing_has_no_mean() -> None:
    nothing = np.full((3, 2), np.nan)
    facts = np.array([0, 1, 1])
    assert np.isnan(statistics.means(nothing)).all() and np.isnan(statistics.medians(nothing)).all()
    assert statistics.half_carried_by(nothing).tolist() == [0, 0]
    assert all(np.isnan(end).all() for end in statistics.t_intervals(nothing, facts))
    empty = np.empty((0, 2))
    assert np.isnan(statistics.means(empty)).all() and statistics.half_carried_by(empty).tolist() == [0, 0]
    assert statistics.clusters_in(empty, np.empty(0, dtype=np.int64)).tolist() == [0, 0]


def test_two_facts_have_no_interval_and_equal_values_have_none_wide() -> None:
    values = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 5.0]])
    low, high = statistics.t_intervals(values, np.array([0, 0, 1]))
    assert np.isnan(low).all() and np.isnan(high).all()
    low, high = statistics.t_intervals(values, np.array([0, 1, 2]))
    assert low[0] == high[0] == 1.0 and low[1] < 3.0 < high[1]


def test_how_few_hold_half() -> None:
    assert statistics.half_carried_by(np.array([[9.0], [-1.0], [1.0], [np.nan]])).tolist() == [1]
    assert statistics.half_carried_by(np.array([[1.0], [1.0], [1.0], [1.0]])).tolist() == [2]
