"""What the package computes of a run equals what `factflow analyse` wrote."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import factflow as ff

TABLES = {"knockout": ("curves", "edge"), "intervention": ("interventions", "row")}
TEXTS = {"model", "family", "edge", "row", "prompts", "placement"}


def rows_of(folder: Path, name: str) -> list[dict[str, str]]:
    with open(folder / "tables" / f"{name}.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("kind", TABLES)
def test_curves_equal_the_table(folder: Path, run: ff.Run, kind: str) -> None:
    table, item = TABLES[kind]
    checked = 0
    for prompts in run.sets(kind):
        curves = run.curves(kind, prompts=prompts)
        expected = [row for row in rows_of(folder, table) if row["prompts"] == prompts]
        assert curves.rows == len(expected) > 0
        place = {
            (curves["model"][i], curves[item][i], int(curves["window"][i]), int(curves["start"][i])): i
            for i in range(curves.rows)
        }
        for row in expected:
            i = place[row["model"], row[item], int(row["window"]), int(row["start"])]
            for column in curves:
                if column in TEXTS:
                    assert curves[column][i] == row[column]
                else:
                    checked += 1
                    found, wanted = float(curves[column][i]), float(row[column])
                    assert found == pytest.approx(wanted, rel=1e-12, abs=1e-12, nan_ok=True), (column, row)
    assert checked > 500


def test_means_over_traces_equal_the_table(folder: Path, run: ff.Run) -> None:
    """By the way of the groups alone: the effect of h restored at single tokens, of a kind that the package does not name."""
    group = run.group("mamba", "trace")
    prompts, high, low = group["prompt"], group["high"].astype(float), group["low"].astype(float)
    effects = []
    for i, prompt in enumerate(prompts):
        if high[i] - low[i] >= 0.05:
            map_ = run.heatmap(int(prompt), kind="trace_restore_h")["mamba"]
            effects.append((map_.p[-1] - low[i]) / (high[i] - low[i]))
    expected = [
        float(row["effect"])
        for row in rows_of(folder, "traces")
        if (row["model"], row["direction"], row["site"], row["grouping"], row["group"])
        == ("mamba", "restore", "h", "sharma", "last")
    ]
    assert len(expected) > 5
    np.testing.assert_allclose(np.mean(effects, axis=0), expected, rtol=1e-12)


def test_accuracy_and_counts_equal_the_table_of_models(folder: Path, run: ff.Run) -> None:
    for row in rows_of(folder, "models"):
        model = run.models[row["model"]]
        evaluation = run.evaluations.where(model=model.name)
        assert (model.layers, model.parameters, model.family) == (int(row["layers"]), int(row["parameters"]), row["family"])
        assert (model.path, model.checkpoint_digest) == (row["path"], row["checkpoint_digest"])
        assert evaluation.rows == int(row["prompts"])
        assert 100 * np.mean(evaluation["rank"] == 1) == pytest.approx(float(row["accuracy"]), rel=1e-12)


def test_tables_and_claims_are_those_of_the_analysis(folder: Path, run: ff.Run) -> None:
    effects, rows = run.table("effects"), rows_of(folder, "effects")
    assert effects["lowest_change"].tolist() == [float(row["lowest_change"]) for row in rows]
    assert effects["window"].dtype == np.int64
    claims, rows = run.claims(), rows_of(folder, "claims")
    assert len(claims) == len({(row["claim"], row["source"]) for row in rows}) > 3
    assert sum(max(1, len(claim.models)) for claim in claims) == len(rows)
    first = claims[0]
    assert (first.text, first.verdict, first.rule) == (rows[0]["claim"], rows[0]["verdict"], rows[0]["rule"])
    assert first.models[0].evidence == rows[0]["evidence"]
    with pytest.raises(ff.UnknownNameError, match="no table of the analysis 'effect'; there are: .*effects"):
        run.table("effect")
