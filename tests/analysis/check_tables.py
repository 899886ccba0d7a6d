#!/usr/bin/env python3
"""Recomputes curves.csv and effects.csv from results.h5 with h5py, numpy and scipy, and compares every number.

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

checked = 0
wrong = []


def close(found, expected, what):
    global checked
    checked += 1
    both_nan = math.isnan(found) and math.isnan(expected)
    if not both_nan and not abs(found - expected) <= 1e-12 * max(1.0, abs(expected)):
        wrong.append(f"{what}: table {found!r}, recomputed {expected!r}")


@functools.lru_cache(maxsize=None)
def t_quantile(p, freedom):
    """scipy's inverse is good to 1e-11 only; its distribution function is exact, so Newton's steps mend it."""
    q = stats.t.ppf(p, freedom)
    for _ in range(3):
        q -= (stats.t.cdf(q, freedom) - p) / stats.t.pdf(q, freedom)
    return q


def t_band(values, level=0.95):
    n = len(values)
    if n == 0:
        return math.nan, math.nan
    s = values.std(ddof=1) if n > 1 else 0.0
    half = t_quantile(0.5 + level / 2, n - 1) * s / math.sqrt(n) if n > 1 and s > 0 else 0.0
    return values.mean() - half, values.mean() + half


@functools.lru_cache(maxsize=None)
def stored(file, model, window):
    group = file[f"{model}/knockout/window_{window}"]
    return group["probability"][:].astype(float), group["rank"][:], group["start"][:]


def cells(file, model, window, edge):
    """Relative change in percent, [prompt, start], NaN where undefined; ranks; log changes; starts."""
    clean_group = file[f"{model}/evaluation"]
    knockout = file[f"{model}/knockout"]
    probability, rank, starts = stored(file, model, window)
    edges = [label.decode() for label in knockout["edge"][:]]
    index = edges.index(edge)
    clean_of = dict(zip(clean_group["prompt"][:], clean_group["probability"][:].astype(float)))
    clean = np.array([clean_of.get(i, np.nan) for i in knockout["prompt"][:]])[:, None]
    p = probability[index]
    blocked = knockout["edges"][index][:, None] > 0
    usable = blocked & (clean > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        change = np.where(usable, 100 * (p - clean) / clean, np.nan)
        logs = np.log(np.maximum(p, np.finfo(np.float32).tiny) / clean)
    return change, rank[index], logs, starts


def check_curves(file, path):
    groups = {}
    for row in csv.DictReader(open(path, newline="", encoding="utf-8")):
        groups.setdefault((row["model"], int(row["window"]), row["edge"]), []).append(row)
    for (model, window, edge), rows in groups.items():
        change, rank, logs, starts = cells(file, model, window, edge)
        assert len(rows) == len(starts), (model, window, edge)
        for s, row in enumerate(rows):
            what = f"{model} {window} {edge} {starts[s]}"
            ok = ~np.isnan(change[:, s])
            values = change[ok, s]
            hit = 100.0 * (rank[ok, s] == 1)
            close(float(row["start"]), float(starts[s]), what + " start")
            close(float(row["relative_depth"]), starts[s] / file[model].attrs["layers"], what + " depth")
            close(float(row["n"]), float(ok.sum()), what + " n")
            mean = values.mean() if len(values) else math.nan
            close(float(row["change"]), mean, what + " change")
            close(float(row["median_change"]), np.median(values) if len(values) else math.nan, what + " median")
            close(float(row["accuracy"]), hit.mean() if len(hit) else math.nan, what + " accuracy")
            close(float(row["mean_rank"]), rank[ok, s].mean() if ok.any() else math.nan, what + " rank")
            close(float(row["log_probability_change"]), logs[ok, s].mean() if ok.any() else math.nan, what + " log")
            for name, sample in (("change", values), ("accuracy", hit)):
                low, high = t_band(sample)
                close(float(row[name + "_low"]), low, what + " " + name + "_low")
                close(float(row[name + "_high"]), high, what + " " + name + "_high")


def check_effects(file, path):
    for row in csv.DictReader(open(path, newline="", encoding="utf-8")):
        change, _, _, starts = cells(file, row["model"], int(row["window"]), row["edge"])
        what = f"{row['model']} {row['window']} {row['edge']}"
        complete = change[~np.isnan(change).any(axis=1)]
        close(float(row["n"]), float(len(complete)), what + " n")
        if len(complete) == 0:
            continue
        mean = complete.mean(axis=0)
        depth = starts / file[row["model"]].attrs["layers"]
        lowest = int(mean.argmin())
        close(float(row["drop"]), mean[lowest], what + " drop")
        close(float(row["start"]), float(starts[lowest]), what + " start")
        close(float(row["relative_depth"]), depth[lowest], what + " depth")
        close(float(row["area"]), np.trapz(mean, depth) if len(mean) > 1 else math.nan, what + " area")
        close(float(row["late_change"]), mean[-max(1, len(mean) // 10):].mean(), what + " late")
        if row["drop_low"] != "NaN" and not float(row["drop_low"]) <= float(row["drop"]) + 5 and len(complete) > 50:
            wrong.append(what + ": the bootstrap interval is far from the drop")


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


def check_xarray(path):
    try:
        import h5netcdf  # noqa: F401
        import xarray
    except ImportError as missing:
        print("not checked with xarray:", missing)
        return
    with h5py.File(path, "r") as file:
        model = next(name for name in file if name not in ("prompts", "failures"))
        window = next(name for name in file[model]["knockout"] if name.startswith("window_"))
    data = xarray.open_dataset(path, group=f"{model}/knockout/{window}", engine="h5netcdf")
    if data.probability.dims != ("edge", "prompt", "start") or "subject->last" not in data.edge:
        wrong.append(f"xarray sees {data.probability.dims}")


def main():
    folder = sys.argv[1]
    check_xarray(folder + "/results.h5")
    with h5py.File(folder + "/results.h5", "r") as file:
        check_axes(file)
        check_curves(file, folder + "/tables/curves.csv")
        check_effects(file, folder + "/tables/effects.csv")
    print(f"{checked} numbers checked, {len(wrong)} wrong")
    for line in wrong[:20]:
        print(line)
    sys.exit(1 if wrong or checked == 0 else 0)


if __name__ == "__main__":
    main()
