#!/usr/bin/env python3
"""Recomputes every number of every table from results.h5 with h5py, numpy and scipy: nothing of ours is used.

Usage: check_tables.py RUN_DIRECTORY. Exit 0: equal to 1e-12; 1: different; 77: a Python package is missing.
"""
import csv
import functools
import math
import sys

try:
    import h5py
    import numpy as np
    from scipy import stats
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(77)

from recompute import SHARED, Run, bootstrap, percentiles, holm, t_band, t_test, wilson_band

RESAMPLES, SEED = 1000, 1
checked = 0
wrong = []


def close(found, expected, what):
    global checked
    checked += 1
    found, expected = float(found), float(expected)
    both_nan = math.isnan(found) and math.isnan(expected)
    if not both_nan and not abs(found - expected) <= 1e-12 * max(1.0, abs(expected)):
        wrong.append(f"{what}: table {found!r}, recomputed {expected!r}")


def close_band(row, column, band, what, endings=("_low", "_high")):
    for ending, value in zip(endings, band):
        close(row[column + ending], value, f"{what} {column}{ending}")


def rows_of(folder, name):
    with open(f"{folder}/tables/{name}.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def mean(values):
    return values.mean() if len(values) else math.nan


def trapezoid(curves, x):
    """Areas of curves [..., start]."""
    if len(x) < 2:
        return np.full(curves.shape[:-1], math.nan)
    return (0.5 * np.diff(x) * (curves[..., 1:] + curves[..., :-1])).sum(axis=-1)


def at_lowest(curves, values=None):
    """Of curves [resample, start]: `values` [start], or the curve itself, where it is lowest; NaN if it is undefined."""
    defined = ~np.isnan(curves).all(axis=1)
    low = np.where(np.isnan(curves), np.inf, curves).argmin(axis=1)
    found = np.take_along_axis(curves, low[:, None], axis=1)[:, 0] if values is None else values[low].astype(float)
    return np.where(defined, found, math.nan)


@functools.lru_cache(maxsize=None)
def resampled(swept, window, edge, keep=None):
    """Mean curves [resample, start] over prompts and over relations; complete prompts only, or those of `keep`."""
    change = swept.change(window, edge)
    complete = ~np.isnan(change).any(axis=1) if keep is None else np.array(keep)
    relations, cluster = [], []
    for relation in swept.relations:
        if relation not in relations:
            relations.append(relation)
        cluster.append(relations.index(relation))
    by_prompt = bootstrap(change[complete], np.flatnonzero(complete), len(change), RESAMPLES, SEED)
    if len(relations) < 2:
        return by_prompt, np.empty((0, change.shape[1])), len(relations)
    by_relation = bootstrap(change[complete], np.array(cluster)[complete], len(relations), RESAMPLES, SEED)
    return by_prompt, by_relation, len(relations)


def close_estimate(row, column, value, replicates, what):
    close(row[column], value, f"{what} {column}")
    for ending, values in zip(("", "_by_relation"), replicates):
        close_band(row, column, percentiles(values), what, ("_low" + ending, "_high" + ending))


def check_curves(run, folder):
    groups = {}
    for row in rows_of(folder, "curves"):
        groups.setdefault((row["model"], row["prompts"], int(row["window"]), row["edge"]), []).append(row)
    for (model, prompts, window, edge), rows in groups.items():
        swept = run.swept(model, prompts)
        change, rank, logs = swept.change(window, edge), swept.rank(window, edge), swept.log(window, edge)
        starts, what = swept.starts(window), f"{model} {prompts} {window} {edge}"
        by_prompt, by_relation, _ = resampled(swept, window, edge)
        p_values = np.array([t_test(column[~np.isnan(column)]) for column in change.T])
        adjusted = holm(p_values)
        if len(rows) != len(starts):
            wrong.append(f"{what}: {len(rows)} rows, expected {len(starts)}")
            continue
        for s, row in enumerate(rows):
            check_point(row, s, change, rank, logs, f"{what} {starts[s]}")
            close(row["start"], starts[s], what + " start")
            close(row["relative_depth"], starts[s] / swept.layers, what + " depth")
            close(row["p_value"], p_values[s], what + " p")
            close(row["p_holm"], adjusted[s], what + " p_holm")
            close_band(row, "change", percentiles(by_prompt[:, s]), what, ("_low_by_prompt", "_high_by_prompt"))
            close_band(row, "change", percentiles(by_relation[:, s]), what, ("_low_by_relation", "_high_by_relation"))


def check_point(row, s, change, rank, logs, what):
    ok = ~np.isnan(change[:, s])
    values, hit = change[ok, s], rank[ok, s] == 1
    close(row["n"], ok.sum(), what + " n")
    close(row["change"], mean(values), what + " change")
    close(row["median_change"], np.median(values) if len(values) else math.nan, what + " median")
    close(row["accuracy"], 100 * mean(hit), what + " accuracy")
    close(row["mean_rank"], mean(rank[ok, s]), what + " rank")
    close(row["log_probability_change"], mean(logs[ok, s]), what + " log")
    close_band(row, "change", t_band(values), what)
    close_band(row, "accuracy", wilson_band(hit), what)


def check_effects(run, folder, name):
    for row in rows_of(folder, name):
        window, edge = int(row["window"]), row["edge"]
        swept = run.swept(row["model"], row["prompts"])
        change, starts = swept.change(window, edge), swept.starts(window)
        what = f"{name} {row['model']} {row['prompts']} {window} {edge}"
        complete = change[~np.isnan(change).any(axis=1)]
        by_prompt, by_relation, relations = resampled(swept, window, edge)
        close(row["n"], len(complete), what + " n")
        close(row["relations"], relations, what + " relations")
        depth, late = starts / swept.layers, max(1, len(starts) // 10)
        curve = complete.mean(axis=0) if len(complete) else np.full(len(starts), math.nan)
        statistics = {
            "drop": at_lowest,
            "start": lambda curves: at_lowest(curves, starts),
            "relative_depth": lambda curves: at_lowest(curves, depth),
            "area": lambda curves: trapezoid(curves, depth),
            "late_change": lambda curves: curves[:, -late:].mean(axis=1),
        }
        for column, statistic in statistics.items():
            close_estimate(row, column, statistic(curve[None, :])[0], (statistic(by_prompt), statistic(by_relation)), what)
        reach = 0.5 if row["placement"] == "centred" else 0.5 * window
        close(row["middle_depth"], (statistics["start"](curve[None, :])[0] + reach) / swept.layers, what + " middle")
        adjusted = holm(np.array([t_test(column) for column in complete.T] if len(complete) else [math.nan] * len(starts)))
        close(row["p_holm"], adjusted[curve.argmin()] if len(complete) else math.nan, what + " p_holm")


def check_channels(run, folder):
    for row in rows_of(folder, "channels"):
        window, what = int(row["window"]), f"channels {row['model']} {row['flow']} {row['numerator']}/{row['denominator']}"
        swept = run.swept(row["model"], row["prompts"])
        labels = [row["flow"] + ("" if row[side] == "all" else "/" + row[side]) for side in ("numerator", "denominator")]
        changes = [swept.change(window, label) for label in labels]
        both = ~np.isnan(changes[0]).any(axis=1) & ~np.isnan(changes[1]).any(axis=1)
        depth = swept.starts(window) / swept.layers
        close(row["n"], both.sum(), what + " n")
        if not both.any():
            continue

        def ratios(top, bottom):
            low = bottom.argmin(axis=1)
            rows = np.arange(len(low))
            return top[rows, low] / bottom[rows, low], trapezoid(top, depth) / trapezoid(bottom, depth)

        means = [change[both].mean(axis=0) for change in changes]
        low = means[1].argmin()
        draws = [resampled(swept, window, label, tuple(both))[:2] for label in labels]
        close(row["start"], swept.starts(window)[low], what + " start")
        close(row["numerator_change"], means[0][low], what)
        close(row["denominator_change"], means[1][low], what)
        replicates = [ratios(top, bottom) for top, bottom in zip(*draws)]
        value = ratios(means[0][None, :], means[1][None, :])
        for i, column in enumerate(("ratio", "area_ratio")):
            close_estimate(row, column, value[i][0], [r[i] for r in replicates], what)


def check_groups(run, folder, name, column, key_of):
    rows = rows_of(folder, name)
    seen = set()
    for row in rows:
        window, edge = int(row["window"]), row["edge"]
        swept = run.swept(row["model"], run.main_set)
        change, starts = swept.change(window, edge), swept.starts(window)
        complete = ~np.isnan(change).any(axis=1)
        members = complete & (np.array([str(key) for key in key_of(swept)]) == row[column])
        what = f"{name} {row['model']} {edge} {row[column]}"
        seen.add((row["model"], edge, row[column]))
        common = change[complete].mean(axis=0).argmin()
        curve = change[members].mean(axis=0)
        close(row["n"], members.sum(), what + " n")
        close(row["start"], starts[common], what + " start")
        close(row["change"], curve[common], what + " change")
        close_band(row, "change", t_band(change[members, common]), what)
        close(row["own_start"], starts[curve.argmin()], what + " own start")
        close(row["own_relative_depth"], starts[curve.argmin()] / swept.layers, what + " own depth")
        close(row["own_change"], curve.min(), what + " own change")
    if len(seen) != len(rows):
        wrong.append(f"{name}: groups are listed twice")


def shared_rows(first, second, complete):
    """Rows of the prompts that both have and that are complete in both."""
    place = {prompt: i for i, prompt in enumerate(second.prompts)}
    return np.array([(i, place[p]) for i, p in enumerate(first.prompts)
                     if complete[0][i] and p in place and complete[1][place[p]]]).reshape(-1, 2)


def check_paired(run, folder):
    groups = {}
    for row in rows_of(folder, "paired"):
        groups.setdefault((row["first"], row["second"], int(row["window"]), row["edge"]), []).append(row)
    for (one, other, window, edge), rows in groups.items():
        swept = [run.swept(model, run.main_set) for model in (one, other)]
        changes = [s.change(window, edge) for s in swept]
        pairs = shared_rows(*swept, [~np.isnan(c).any(axis=1) for c in changes])
        changes = [changes[side][pairs[:, side]] for side in (0, 1)]
        depths = [s.starts(window) / s.layers for s in swept]
        coarse, fine = (0, 1) if len(depths[0]) <= len(depths[1]) else (1, 0)
        grid = [d for d in depths[coarse] if depths[fine][0] <= d <= depths[fine][-1]]
        what = f"paired {one} {other} {edge}"
        if len(grid) != len(rows):
            wrong.append(f"{what}: {len(rows)} depths, expected {len(grid)}")
            continue
        at = [np.array([np.interp(grid, depths[side], curve) for curve in changes[side]]) for side in (0, 1)]
        difference = at[0] - at[1]
        p_values = np.array([t_test(column) for column in difference.T])
        adjusted = holm(p_values)
        for i, row in enumerate(rows):
            close(row["relative_depth"], grid[i], what + " depth")
            close(row["n"], len(pairs), what + " n")
            close(row["first_change"], at[0][:, i].mean(), what + " first")
            close(row["second_change"], at[1][:, i].mean(), what + " second")
            close(row["difference"], difference[:, i].mean(), what + " difference")
            close_band(row, "difference", t_band(difference[:, i]), what)
            close(row["p_value"], p_values[i], what + " p")
            close(row["p_holm"], adjusted[i], what + " p_holm")


def check_sensitivity(run, folder):
    for row in rows_of(folder, "sensitivity"):
        window = int(row["window"])
        swept = [run.swept(row[side], run.main_set) for side in ("smaller", "larger")]
        edges = [e for e in swept[0].edges(window) if e in swept[1].edges(window) and e.endswith("->last")]
        values = [np.mean([np.minimum(np.abs(s.change(window, e)), 100).mean(axis=1) for e in edges], axis=0) for s in swept]
        pairs = shared_rows(*swept, [~np.isnan(v) for v in values])
        small, large = values[0][pairs[:, 0]], values[1][pairs[:, 1]]
        what = f"sensitivity {row['smaller']} {row['larger']}"
        close(row["edges"], len(edges), what + " edges")
        close(row["n"], len(pairs), what + " n")
        close(row["smaller_sensitivity"], small.mean(), what)
        close(row["larger_sensitivity"], large.mean(), what)
        close(row["difference"], (small - large).mean(), what)
        close_band(row, "difference", t_band(small - large), what)
        close(row["p_value"], t_test(small - large), what + " p")


def check_models(run, folder):
    for row in rows_of(folder, "models"):
        group = run.file[row["model"]]
        p = group["evaluation/probability"][:].astype(float)
        ok, what = ~np.isnan(p), f"models {row['model']}"
        close(row["prompts"], len(p), what)
        close(row["failed"], (~ok).sum(), what)
        close(row["accuracy"], 100 * (group["evaluation/rank"][:][ok] == 1).mean(), what)
        close(row["mean_probability"], p[ok].mean(), what)
        for column in ("layers", "hidden_size", "vocabulary", "parameters"):
            close(row[column], group.attrs[column], what + " " + column)
        if (row["model"], run.main_set) in run.sets:
            close(row["selected_prompts"], len(run.swept(row["model"], run.main_set).prompts), what)


def check_axes(file):
    """Every axis of every dataset has a named scale, and every dataset says its unit and what it is."""

    def visit(name, item):
        global checked
        if not isinstance(item, h5py.Dataset):
            return
        checked += 1
        if "units" not in item.attrs or "description" not in item.attrs:
            wrong.append(f"{name}: no units or description")
        if not h5py.h5ds.is_scale(item.id):
            for axis in item.dims:
                if len(axis) != 1 or axis.label != axis[0].name.split("/")[-1]:
                    wrong.append(f"{name}: an axis without a scale or label")

    file.visititems(visit)


def check_complete(run, folder):
    """Every edge that was asked for of a model, set of prompts and window is in the tables, and no other."""
    listed = {(r["model"], r["prompts"], int(r["window"]), r["edge"]) for r in rows_of(folder, "curves")}
    asked = {(model, name, window, edge) for (model, name), swept in run.sets.items()
             for window in swept.windows for edge in swept.edges(window)}
    listed = {row for row in listed if row[1] != SHARED}
    wrong.extend(f"curves.csv lacks {row}" for row in sorted(asked - listed))
    wrong.extend(f"curves.csv has {row}, which no sweep asked for" for row in sorted(listed - asked))


def main():
    folder = sys.argv[1]
    with h5py.File(folder + "/results.h5", "r") as file:
        run = Run(file)
        check_axes(file)
        check_complete(run, folder)
        check_models(run, folder)
        check_curves(run, folder)
        check_effects(run, folder, "effects")
        check_effects(run, folder, "findings")
        check_channels(run, folder)
        check_groups(run, folder, "by_relation", "relation", lambda s: s.relations)
        check_groups(run, folder, "by_subject_length", "subject_tokens", lambda s: s.subject_tokens)
        check_groups(run, folder, "by_distance", "tokens_after_subject", lambda s: s.distance)
        check_paired(run, folder)
        check_sensitivity(run, folder)
    print(f"{checked} numbers checked, {len(wrong)} wrong")
    for line in wrong[:20]:
        print(line)
    sys.exit(1 if wrong or checked == 0 else 0)


if __name__ == "__main__":
    main()
