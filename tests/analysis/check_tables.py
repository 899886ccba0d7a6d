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
    import scipy  # noqa: F401  recompute.py needs it
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(77)

from recompute import (INTERVENTIONS, QUESTIONS, SHARED, TRACE_GROUPS, TRACE_GUARD, Edits, Run, Traces, bootstrap, draws,
                       half_carried_by, harmonic, holm, numbered, percentiles, standard_error, t_band, t_test, wilson_band)
from recompute_hybrids import HybridTables
from recompute_parts import PartTables, PathTables
from recompute_locate import Attributions, Relations

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
    """Mean curves [resample, start] over facts and over relations; complete prompts only, or those of `keep`."""
    change = swept.change(window, edge)
    complete = ~np.isnan(change).any(axis=1) if keep is None else np.array(keep)
    curves = []
    for cluster in (swept.facts, numbered(swept.relations)):
        clusters = cluster.max(initial=-1) + 1
        curves.append(bootstrap(change[complete], cluster[complete], clusters, RESAMPLES, SEED))
    return curves


def family_of(row):
    """Whose p values are corrected together in tables of curves and effects."""
    return row["prompts"], int(row["window"])


def close_p(row, p, adjusted, what):
    close(row["p_value"], p, what + " p")
    close(row["p_holm"], adjusted, what + " p_holm")


def close_estimate(row, column, value, replicates, what):
    close(row[column], value, f"{what} {column}")
    for ending, values in zip(("", "_by_relation"), replicates):
        close_band(row, column, percentiles(values), what, ("_low" + ending, "_high" + ending))


def check_curves(run, folder):
    groups, p_values, families = {}, {}, {}
    for row in rows_of(folder, run.kind.curves):
        groups.setdefault((row["model"], row["prompts"], int(row["window"]), row[run.kind.item]), []).append(row)
    for (model, prompts, window, edge), rows in groups.items():
        swept = run.swept(model, prompts)
        change, rank, logs = swept.change(window, edge), swept.rank(window, edge), swept.log(window, edge)
        starts, what = swept.starts(window), f"{model} {prompts} {window} {edge}"
        by_fact, by_relation = resampled(swept, window, edge)
        if len(rows) != len(starts):
            wrong.append(f"{what}: {len(rows)} rows, expected {len(starts)}")
            continue
        for s, row in enumerate(rows):
            check_point(row, s, swept.facts, change, rank, logs, f"{what} {starts[s]}")
            close(row["start"], starts[s], what + " start")
            close(row["relative_depth"], starts[s] / swept.layers, what + " depth")
            ok = ~np.isnan(change[:, s])
            check_counts(row, swept, window, edge, (ok, s), f"{what} {starts[s]}")
            families.setdefault(family_of(row), []).append((row, t_test(change[ok, s], swept.facts[ok])))
            close_band(row, "change", percentiles(by_fact[:, s]), what, ("_low_by_fact", "_high_by_fact"))
            close_band(row, "change", percentiles(by_relation[:, s]), what, ("_low_by_relation", "_high_by_relation"))
    for name, family in families.items():
        p_values = np.array([p for _, p in family])
        for (row, p), adjusted in zip(family, holm(p_values)):
            close_p(row, p, adjusted, f"{run.kind.curves} {name}")


def check_counts(row, swept, window, edge, cells, what):
    """Edges that were really blocked, and layers in which a knockout changed the routing: of knockouts alone."""
    for stored, total, some, counts in (("blocked_edges", "blocked_edges", "without_edges", lambda n: n == 0),
                                        ("rerouted", "rerouted_layers", "rerouted", lambda n: n > 0)):
        if total not in row:
            continue
        values = swept.counts(window, edge, stored)
        values = values[cells] if values is not None else np.array([])
        close(row[total], mean(values), f"{what} {total}")
        close(row[some], counts(values).sum(), f"{what} {some}")


def check_point(row, s, facts, change, rank, logs, what):
    ok = ~np.isnan(change[:, s])
    values, hit, cluster = change[ok, s], rank[ok, s] == 1, facts[ok]
    close(row["n"], ok.sum(), what + " n")
    close(row["facts"], len(set(cluster)), what + " facts")
    close(row["change"], mean(values), what + " change")
    close(row["median_change"], np.median(values) if len(values) else math.nan, what + " median")
    close(row["accuracy"], 100 * mean(hit), what + " accuracy")
    close(row["mean_rank"], mean(rank[ok, s]), what + " rank")
    close(row["log_probability_change"], mean(logs[ok, s]), what + " log")
    close(row["half_carried_by"], half_carried_by(values), what + " half")
    close_band(row, "change", t_band(values, cluster), what)
    close_band(row, "log_probability_change", t_band(logs[ok, s], cluster), what)
    close_band(row, "accuracy", wilson_band(mean(hit), len(set(cluster))), what)


def close_change(row, prefix, changes, logs, facts, what):
    """Median and log change of prompts."""
    close(row[prefix + "median_change"], np.median(changes) if len(changes) else math.nan, what + " median")
    close(row[prefix + "log_change"], mean(logs), what + " log")
    close_band(row, prefix + "log_change", t_band(logs, facts), what)


def check_touched(row, counts, what):
    """What a row of interventions touches in a layer, over the prompts where there is anything."""
    if "untouched" not in row:
        return
    some = counts[counts > 0]
    close(row["fewest_touched"], min(some, default=0), what + " fewest")
    close(row["most_touched"], max(some, default=0), what + " most")
    close(row["untouched"], (counts == 0).sum(), what + " untouched")


def check_effects(run, folder, name):
    families = {}
    for row in rows_of(folder, name):
        window, edge = int(row["window"]), row[run.kind.item]
        swept = run.swept(row["model"], row["prompts"])
        change, starts = swept.change(window, edge), swept.starts(window)
        what = f"{name} {row['model']} {row['prompts']} {window} {edge}"
        check_touched(row, swept.blocked[swept.labels.index(edge)], what)
        keep = ~np.isnan(change).any(axis=1)
        complete, logs, facts = change[keep], swept.log(window, edge)[keep], swept.facts[keep]
        replicates = resampled(swept, window, edge)
        close(row["n"], len(complete), what + " n")
        close(row["facts"], len(set(facts)), what + " facts")
        close(row["relations"], len({r for r, k in zip(swept.relations, keep) if k}), what + " relations")
        depth, late = starts / swept.layers, max(1, len(starts) // 10)
        curve = complete.mean(axis=0) if len(complete) else np.full(len(starts), math.nan)
        statistics = {
            "lowest_change": at_lowest,
            "start": lambda curves: at_lowest(curves, starts),
            "relative_depth": lambda curves: at_lowest(curves, depth),
            "area": lambda curves: trapezoid(curves, depth),
            "late_change": lambda curves: curves[:, -late:].mean(axis=1),
        }
        for column, statistic in statistics.items():
            close_estimate(row, column, statistic(curve[None, :])[0], [statistic(r) for r in replicates], what)
        reach = 0.5 if row["placement"] == "centred" else 0.5 * window
        close(row["middle_depth"], (statistics["start"](curve[None, :])[0] + reach) / swept.layers, what + " middle")
        lowest = curve.argmin()
        close_change(row, "", complete[:, lowest], logs[:, lowest], facts, what)
        close_change(row, "late_", complete[:, -late:].mean(axis=1), logs[:, -late:].mean(axis=1), facts, what + " late")
        strong = [column for column in complete.T if len(column) and np.abs(column).mean() >= 10]
        close(row["half_carried_by"], min(map(half_carried_by, strong), default=0), what + " half")
        p_values = [t_test(column, facts) for column in complete.T]
        key = "findings" if name == "findings" else family_of(row)
        families.setdefault(key, []).append((row, p_values, lowest if len(complete) else None))
    for key, family in families.items():
        adjusted = holm(np.concatenate([p_values for _, p_values, _ in family]))
        begin = 0
        for row, p_values, lowest in family:
            there = lowest is not None
            close_p(row, p_values[lowest] if there else math.nan, adjusted[begin + lowest] if there else math.nan,
                    f"{name} {key} {row['model']} {row[run.kind.item]}")
            close(row["tests"], (~np.isnan(adjusted)).sum(), f"{name} {key} tests")
            begin += len(p_values)


def check_channels(run, folder):
    for row in rows_of(folder, "channels"):
        window, what = int(row["window"]), f"channels {row['model']} {row['flow']} {row['numerator']}/{row['denominator']}"
        swept = run.swept(row["model"], row["prompts"])
        labels = [row["flow"] + ("" if row[side] == "all" else "/" + row[side]) for side in ("numerator", "denominator")]
        changes, logs = ([read(window, label) for label in labels] for read in (swept.change, swept.log))
        both = ~np.isnan(changes[0]).any(axis=1) & ~np.isnan(changes[1]).any(axis=1)
        depth = swept.starts(window) / swept.layers
        close(row["n"], both.sum(), what + " n")
        close(row["facts"], len(set(swept.facts[both])), what + " facts")
        if not both.any():
            continue

        def ratios(top, bottom):
            low = bottom.argmin(axis=1)
            rows = np.arange(len(low))
            return top[rows, low] / bottom[rows, low], trapezoid(top, depth) / trapezoid(bottom, depth)

        means = [change[both].mean(axis=0) for change in changes]
        low = means[1].argmin()
        draws = [resampled(swept, window, label, tuple(both)) for label in labels]
        medians, means_of_logs = ([f(values[both, low]) for values in all_values]
                                  for f, all_values in ((np.median, changes), (np.mean, logs)))
        close(row["median_ratio"], medians[0] / medians[1], what + " medians")
        close(row["log_ratio"], means_of_logs[0] / means_of_logs[1], what + " logs")
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
        close_band(row, "change", t_band(change[members, common], swept.facts[members]), what)
        close(row["facts"], len(set(swept.facts[members])), what + " facts")
        close(row["median_change"], np.median(change[members, common]), what + " median")
        close(row["log_change"], swept.log(window, edge)[members, common].mean(), what + " log")
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
    groups, family = {}, []
    for row in rows_of(folder, "paired"):
        groups.setdefault((row["first"], row["second"], int(row["window"]), row["edge"]), []).append(row)
    for (one, other, window, edge), rows in groups.items():
        swept = [run.swept(model, run.main_set) for model in (one, other)]
        changes = [s.change(window, edge) for s in swept]
        pairs = shared_rows(*swept, [~np.isnan(c).any(axis=1) for c in changes])
        logs = [s.log(window, edge)[pairs[:, side]] for side, s in enumerate(swept)]
        changes = [changes[side][pairs[:, side]] for side in (0, 1)]
        facts = swept[0].facts[pairs[:, 0]]
        depths = [s.starts(window) / s.layers for s in swept]
        coarse, fine = (0, 1) if len(depths[0]) <= len(depths[1]) else (1, 0)
        grid = [d for d in depths[coarse] if depths[fine][0] <= d <= depths[fine][-1]]
        what = f"paired {one} {other} {edge}"
        if len(grid) != len(rows):
            wrong.append(f"{what}: {len(rows)} depths, expected {len(grid)}")
            continue
        at, log = ([np.array([np.interp(grid, depths[side], curve) for curve in curves[side]]) for side in (0, 1)]
                   for curves in (changes, logs))
        difference = at[0] - at[1]
        for i, row in enumerate(rows):
            close(row["relative_depth"], grid[i], what + " depth")
            close(row["n"], len(pairs), what + " n")
            close(row["first_change"], at[0][:, i].mean(), what + " first")
            close(row["second_change"], at[1][:, i].mean(), what + " second")
            close(row["difference"], difference[:, i].mean(), what + " difference")
            close(row["facts"], len(set(facts)), what + " facts")
            close_band(row, "difference", t_band(difference[:, i], facts), what)
            close(row["median_difference"], np.median(difference[:, i]), what + " median")
            close(row["log_difference"], (log[0] - log[1])[:, i].mean(), what + " log")
            family.append((row, t_test(difference[:, i], facts), what))
    for (row, p, what), adjusted in zip(family, holm(np.array([p for _, p, _ in family]))):
        close_p(row, p, adjusted, what)


def check_sensitivity(run, folder):
    family = []
    for row in rows_of(folder, "sensitivity"):
        window = int(row["window"])
        swept = [run.swept(row[side], run.main_set) for side in ("smaller", "larger")]
        edges = [e for e in swept[0].edges(window) if e in swept[1].edges(window) and e.endswith("->last")]
        values = [np.mean([np.minimum(np.abs(s.change(window, e)), 100).mean(axis=1) for e in edges], axis=0) for s in swept]
        logs = [np.mean([np.abs(s.log(window, e)).mean(axis=1) for e in edges], axis=0) for s in swept]
        pairs = shared_rows(*swept, [~np.isnan(v) for v in values])
        small, large = values[0][pairs[:, 0]], values[1][pairs[:, 1]]
        what = f"sensitivity {row['smaller']} {row['larger']}"
        close(row["edges"], len(edges), what + " edges")
        close(row["n"], len(pairs), what + " n")
        close(row["smaller_sensitivity"], small.mean(), what)
        close(row["larger_sensitivity"], large.mean(), what)
        close(row["difference"], (small - large).mean(), what)
        facts = swept[0].facts[pairs[:, 0]]
        close(row["facts"], len(set(facts)), what + " facts")
        close_band(row, "difference", t_band(small - large, facts), what)
        close(row["median_difference"], np.median(small - large), what + " median")
        close(row["log_difference"], (logs[0][pairs[:, 0]] - logs[1][pairs[:, 1]]).mean(), what + " log")
        parameters = [run.file[row[side]].attrs["parameters"] for side in ("smaller", "larger")]
        close(row["parameters_ratio"], parameters[1] / parameters[0], what + " ratio")
        family.append((row, t_test(small - large, facts), what))
    for (row, p, what), adjusted in zip(family, holm(np.array([p for _, p, _ in family]))):
        close_p(row, p, adjusted, what)


def check_models(run, folder):
    table = run.file["prompts"]
    fact_of = dict(zip(table["prompt"][:], zip(table["subject"][:], table["relation"][:])))
    for row in rows_of(folder, "models"):
        group = run.file[row["model"]]
        p = group["evaluation/probability"][:].astype(float)
        ok, what = ~np.isnan(p), f"models {row['model']}"
        close(row["prompts"], len(p), what)
        close(row["failed"], (~ok).sum(), what)
        hit = group["evaluation/rank"][:][ok] == 1
        facts = len({fact_of[prompt] for prompt in group["evaluation/prompt"][:][ok]})
        close(row["facts"], facts, what + " facts")
        close(row["accuracy"], 100 * hit.mean(), what)
        close_band(row, "accuracy", wilson_band(hit.mean(), facts), what)
        close(row["tied"], (group["evaluation/tied"][:] > 0).sum(), what)
        close(row["mean_probability"], p[ok].mean(), what)
        for column in ("layers", "hidden_size", "vocabulary", "parameters"):
            close(row[column], group.attrs[column], what + " " + column)
        if (row["model"], run.main_set) in run.sets:
            close(row["selected_prompts"], len(run.swept(row["model"], run.main_set).prompts), what)


def check_traces(file, folder):
    """Mean indirect effects from the maps; and that the table has every map, group and centre."""
    models = {m: Traces(file, m) for m in file if m not in ("prompts", "failures") and "trace" in file[m]}
    listed, means = set(), {}
    for row in rows_of(folder, "traces"):
        key = (row["model"], row["direction"], row["site"], int(row["window"]))
        if key + (row["grouping"],) not in means:
            means[key + (row["grouping"],)] = models[key[0]].groups(*key[1:], row["grouping"])
        starts, groups = means[key + (row["grouping"],)]
        prompts, facts, effects, published = groups[TRACE_GROUPS[row["grouping"]].index(row["group"])]
        at, what = list(starts).index(int(row["centre"])), "traces " + " ".join(map(str, key)) + " " + row["group"]
        values = effects[:, at]
        listed.add(key + (row["grouping"], row["group"], int(row["centre"])))
        close(row["published_layer"], starts[at] - (key[2] == "h"), what + " layer")
        close(row["n"], len(values), what + " n")
        close(row["prompts"], len(set(prompts)), what + " prompts")
        close(row["facts"], len(set(facts)), what + " facts")
        close(row["effect"], mean(values), what)
        close_band(row, "effect", t_band(values, facts), what)
        close(row["published_variant"], mean(published[:, at]) if key[1] == "restore" else math.nan, what + " variant")
    asked = {(m, *which, grouping, group, centre) for m, traces in models.items() for *which, centre in traces.cells()
             for grouping, names in TRACE_GROUPS.items() for group in names}
    if asked != listed or len(rows_of(folder, "traces")) != len(listed):
        wrong.append(f"traces.csv: {len(asked - listed)} rows are missing, {len(listed - asked)} are too many")


def check_facts(file, folder, table, stored):
    """The facts of traces, or of severed paths, as group `stored` of each model has them."""
    rows = rows_of(folder, table)
    prompts = {int(p): i for i, p in enumerate(file["prompts/prompt"][:])}
    for row in rows:
        group, what = file[row["model"]][stored], f"{table} {row['model']} {row['prompt']}"
        i, p = list(group["prompt"][:]).index(int(row["prompt"])), prompts[int(row["prompt"])]
        high, low = float(group["high"][i]), float(group["low"][i])
        for column in ("subject", "relation"):
            if file["prompts"][column][p].decode() != row[column]:
                wrong.append(what + " " + column)
        if group["counterfactual"][i].decode() != row["counterfactual"]:
            wrong.append(what + " counterfactual")
        for column in ("high", "low", "subject_begin", "subject_end"):
            close(row[column], group[column][i], what + " " + column)
        close(row["difference"], high - low, what + " difference")
        close(row["tokens"], group["token_count"][i], what + " tokens")
        close(row["subject_tokens"], group["subject_end"][i] - group["subject_begin"][i], what + " subject")
        close(row["used"], high - low >= TRACE_GUARD, what + " used")
        if (row["left_out"] == "") != (row["used"] == "1"):
            wrong.append(what + " left_out")
    all_of_them = sum(len(file[m][stored + "/prompt"]) for m in file if m not in ("prompts", "failures") and stored in file[m])
    if len(rows) != all_of_them:
        wrong.append(f"{table}.csv: {len(rows)} rows, expected {all_of_them}")


def names_of(file):
    """Subject and relation by prompt."""
    return dict(zip(file["prompts/prompt"][:], zip(file["prompts/subject"][:], file["prompts/relation"][:])))


def clustered_error(values, facts):
    return standard_error(values, facts)[0] if len(set(facts)) > 1 else math.nan


def check_mean_knockouts(file, folder):
    """Mean changes of knockouts by means; and that the table has every item, window and centre with a value."""
    listed, names, stored = set(), names_of(file), {}
    for row in rows_of(folder, "mean_knockouts"):
        item, what = row["mode"] + " " + row["set"], " ".join(["mean_knockouts", row["model"], row["mode"], row["set"], row["centre"]])
        group = file[row["model"]]["mean_knockout"]
        if (row["model"], row["window"]) not in stored:
            window = group["window_" + row["window"]]
            stored[(row["model"], row["window"])] = ([text.decode() for text in group["knockout"][:]], list(window["start"][:]),
                                                     window["log_change"][:].astype(float), group["prompt"][:])
        items, starts, log_changes, ids = stored[(row["model"], row["window"])]
        listed.add((row["model"], item, row["window"], int(row["centre"])))
        logs = log_changes[items.index(item), :, starts.index(int(row["centre"]))]
        changes = np.expm1(logs[~np.isnan(logs)])
        facts = numbered([names[i] for i in ids[~np.isnan(logs)]])
        close(row["n"], len(changes), what + " n")
        close(row["facts"], len(set(facts)), what + " facts")
        close(row["change"], mean(changes), what)
        close_band(row, "change", t_band(changes, facts), what)
        close(row["standard_error"], clustered_error(changes, facts), what + " error")
        close(row["reference_prompts"], len(group["reference"]), what + " references")
        close(row["reference_tokens"], group.attrs["reference_tokens"], what + " tokens")
        close(row["reference_documents"], group.attrs.get("reference_documents", 0), what + " documents")
    expected = set()
    for m in file:
        if m in ("prompts", "failures") or "mean_knockout" not in file[m]:
            continue
        group = file[m]["mean_knockout"]
        for name in group:
            if name.startswith("window_"):
                for i, item in enumerate(group["knockout"][:]):
                    if (group[name]["rank"][i] > 0).any():
                        expected |= {(m, item.decode(), name[7:], int(c)) for c in group[name]["start"][:]}
    if listed != expected:
        wrong.append(f"mean_knockouts.csv: {len(expected - listed)} rows are missing, {len(listed - expected)} are too many")


def check_severings(file, folder):
    """Mean effects of severed paths; and that the table has every token, severing and layer."""
    listed, names, stored = 0, names_of(file), {}
    for row in rows_of(folder, "severings"):
        listed += 1
        group, what = file[row["model"]]["sever"], " ".join(["severings", row["model"], row["at"], row["severed"], row["layer"]])
        if row["model"] not in stored:
            stored[row["model"]] = [[text.decode() for text in group["paths"][axis][:]] for axis in ("at", "severed")] + [
                list(group["paths/layer"][:])] + [v.astype(float) for v in (group["paths/probability"][:], group["high"][:], group["low"][:])]
        at, severed, layers, probability, high, low = stored[row["model"]]
        p = probability[at.index(row["at"]), severed.index(row["severed"]), :, layers.index(int(row["layer"]))]
        use = (high - low >= TRACE_GUARD) & ~np.isnan(p)
        effects = (p[use] - low[use]) / (high - low)[use]
        facts = numbered([names[i] for i in group["paths/prompt"][:][use]])
        close(row["published_layer"], int(row["layer"]) - 1, what + " layer")
        close(row["n"], len(effects), what + " n")
        close(row["facts"], len(set(facts)), what + " facts")
        close(row["effect"], mean(effects), what)
        close_band(row, "effect", t_band(effects, facts), what)
        close(row["standard_error"], clustered_error(effects, facts), what + " error")
    expected = sum(len(file[m]["sever/paths/at"]) * len(file[m]["sever/paths/severed"]) * len(file[m]["sever/paths/layer"])
                   for m in file if m not in ("prompts", "failures") and "sever" in file[m])
    if listed != expected:
        wrong.append(f"severings.csv: {listed} rows, expected {expected}")


def models_with(file, group):
    return [m for m in file if m not in ("prompts", "failures") and group in file[m]]


def check_attributions(file, folder):
    """Agreement of gradient estimates; and that the table has every site, method and layer, and all layers together."""
    models, listed = {m: Attributions(file, m, names_of(file)) for m in models_with(file, "attribution")}, set()
    for row in rows_of(folder, "attributions"):
        of, site, method, layer = models[row["model"]], row["site"], row["method"], row["layer"]
        what = f"attributions {row['model']} {site} {method} {layer}"
        listed.add((row["model"], site, method, layer))
        layers = of.layers_of(site) if layer == "all" else [int(layer)]
        expected = of.row(site, method, layers, RESAMPLES, SEED)
        if layer != "all":
            close(row["published_layer"], int(layer) - (site == "h"), what + " layer")
        close(row["steps"], of.steps if method == "integrated" else 0, what + " steps")
        for column, band in expected.pop("bands").items():
            close_band(row, column, band, what)
        for column, value in {**expected.pop("worst"), **expected}.items():
            close(row[column], value, what + " " + column)
    asked = {(m, site, method, layer) for m, of in models.items() for site in of.sites for method in of.methods
             for layer in [*map(str, of.layers_of(site)), "all"]}
    if asked != listed or len(rows_of(folder, "attributions")) != len(listed):
        wrong.append(f"attributions.csv: {len(asked - listed)} rows are missing, {len(listed - asked)} are too many")


def best_of(layers, column):
    """The first of the highest; a layer without a number is none."""
    best = layers[0]
    for layer in layers[1:]:
        if layer[column] > best[column] or (math.isnan(best[column]) and not math.isnan(layer[column])):
            best = layer
    return best


def check_relations(file, folder):
    """Faithfulness and causality of linear relations, at the best layers and at every one."""
    models = {m: Relations(file, m) for m in models_with(file, "lre")}
    scores = {(m, *name): of.score(i) for m, of in models.items() for i, name in enumerate(of.names)}
    rows = {(r["model"], r["relation"], r["words"]): r for r in rows_of(folder, "linear_relations")}
    of_layers = {(r["model"], r["relation"], r["words"], int(r["layer"])): r for r in rows_of(folder, "linear_relation_layers")}
    expected = {(*key, layer["layer"]): layer for key, (_, layers) in scores.items() for layer in layers}
    if set(rows) != set(scores) or set(of_layers) != set(expected):
        wrong.append("linear_relations.csv, linear_relation_layers.csv: other rows than the results have")
        return
    for key, layer in expected.items():
        for column, value in layer.items():
            close(of_layers[key][column], value, f"linear_relation_layers {key} {column}")
    for key, (score, layers) in scores.items():
        row, what = rows[key], f"linear_relations {key}"
        for column, value in score.items():
            close(row[column], value, f"{what} {column}")
        if (row["left_out"] == "") != bool(layers):
            wrong.append(what + " left_out")
        if not layers:
            continue
        best, edited = best_of(layers, "faithfulness"), best_of(layers, "causality")
        for column in ("faithfulness", "standard_error", "among_2", "among_3", "layer", "beta"):
            close(row[column], best[column], f"{what} {column}")
        for column in ("causality", "causality_error", "rank"):
            close(row[column], edited[column], f"{what} {column}")
        close(row["causality_layer"], edited["layer"] if edited["rank"] >= 0 else -1, what + " causality_layer")


def edited_models(file):
    return {m: Edits(file, m) for m in file if m not in ("prompts", "failures") and "edit" in file[m]}


def check_score(row, edits, edit, used, what):
    """The harmonic mean of the three mean rates, and its bootstrap over facts with all their prompts."""
    rates, before = (np.array([edits.values(edit, m)[i][used] for m in ("es", "ps", "ns")]) for i in (0, 1))
    known = ~np.isnan(rates)
    means = np.array([mean(r[k]) for r, k in zip(rates, known)])
    close(row["s"], harmonic(means), what)
    close(row["s_unedited"], harmonic([mean(b[k]) for b, k in zip(before, known)]), what + " unedited")
    close(row["s_n"], known.sum(axis=1).min(), what + " n")
    close(row["s_std"], math.nan, what + " std")
    facts = np.array(numbered(list(np.sort(np.unique(edits.facts[used])))))
    if len(facts) < 10:
        close_band(row, "s", (math.nan, math.nan), what)
        return
    member = edits.facts[used][:, None] == np.unique(edits.facts[used])  # [prompt, fact]
    sums, counts = (values @ member for values in (np.where(known, rates, 0), known.astype(float)))
    times = draws(len(facts), RESAMPLES, SEED)  # [resample, fact]
    close_band(row, "s", percentiles(harmonic(((times @ sums.T) / (times @ counts.T)))), what)


def check_edit_scores(file, folder):
    models, listed = edited_models(file), set()
    for row in rows_of(folder, "edit_scores"):
        edits, name = models[row["model"]], f"{row['matrix']} {row['layer']}"
        group, edit = edits.sets.index(row["prompts"]), edits.edits.index(name)
        what = f"edit_scores {row['model']} {row['prompts']} {name}"
        listed.add((row["model"], group, edit))
        asked, used = edits.prompts(group, edit)
        close(row["asked"], asked.sum(), what + " asked")
        close(row["without_value"], (asked & ~used).sum(), what + " without")
        close(row["outside_limits"], 0, what + " outside")
        for measure in ("es", "ps", "ns", "em", "pm", "nm", "es_acc", "ps_acc", "ns_acc"):
            after, before = (values[used] for values in edits.values(edit, measure))
            known = ~np.isnan(after)
            values, facts = after[known], edits.facts[used][known]
            close(row[measure], mean(values), f"{what} {measure}")
            close(row[measure + "_std"], values.std() if len(values) else math.nan, f"{what} {measure} std")
            close(row[measure + "_n"], len(values), f"{what} {measure} n")
            close(row[measure + "_facts"], len(set(facts)), f"{what} {measure} facts")
            close(row[measure + "_unedited"], mean(before[known]), f"{what} {measure} unedited")
            if measure.endswith("m"):
                band = t_band(values, facts)
            else:
                band = wilson_band(mean(values) / 100, len(set(facts)))
            close_band(row, measure, band, what)
        check_score(row, edits, edit, used, what + " s")
    asked = {(m, g, e) for m, edits in models.items() for g, e in zip(*np.nonzero(edits.asked))}
    if asked != listed or len(rows_of(folder, "edit_scores")) != len(listed):
        wrong.append(f"edit_scores.csv: {len(asked - listed)} rows are missing, {len(listed - asked)} are too many")


def check_edit_moved(file, folder):
    models = edited_models(file)
    for row in rows_of(folder, "edit_moved"):
        edits, name = models[row["model"]], f"{row['matrix']} {row['layer']}"
        group, edit = edits.sets.index(row["prompts"]), edits.edits.index(name)
        what = f"edit_moved {row['model']} {row['prompts']} {name} {row['others']}"
        used = edits.prompts(group, edit)[1]
        cells = used[:, None] & (edits.others == row["others"]) & np.isfinite(edits.log_change[edit])
        facts = np.broadcast_to(edits.facts[:, None], cells.shape)[cells]
        change, top = edits.log_change[edit][cells], 100.0 * (edits.top_changed[edit][cells] == 1)
        close(row["n"], cells.sum(), what + " n")
        close(row["facts"], len(set(facts)), what + " facts")
        close(row["log_change"], change.mean(), what)
        close_band(row, "log_change", t_band(change, facts), what)
        close(row["log_change_size"], np.abs(change).mean(), what + " size")
        close(row["top_changed"], top.mean(), what + " top")
        close_band(row, "top_changed", wilson_band(top.mean() / 100, len(set(facts))), what)
        close(row["kl"], edits.kl[edit][cells].mean(), what + " kl")


def check_edits(file, folder):
    """NLLs and what the searches came to, of every edit of every prompt."""
    models, count = edited_models(file), 0
    for row in rows_of(folder, "edits"):
        edits = models[row["model"]]
        edit, i = edits.edits.index(f"{row['matrix']} {row['layer']}"), edits.ids[int(row["prompt"])]
        what = f"edits {row['model']} {row['prompt']} {edit}"
        count += 1
        for kind in QUESTIONS.values():
            columns = edits.kinds == kind
            for answer, after, before in (("new", edits.new, edits.old_new), ("true", edits.true, edits.old_true)):
                for ending, values in (("after", after[edit][i, columns]), ("before", before[i, columns])):
                    values = values[np.isfinite(values)]
                    close(row[f"{kind}_{answer}_nll_{ending}"], mean(values), f"{what} {kind} {answer} {ending}")
        for measure, column in (("es", "rewrite_success"), ("ps", "paraphrase_success"), ("ns", "neighbour_success"),
                                ("es_acc", "rewrite_accuracy"), ("ns_acc", "neighbour_accuracy")):
            after, before = edits.values(edit, measure)
            close(row[column + "_after"], after[i], f"{what} {column}")
            close(row[column + "_before"], before[i], f"{what} {column} before")
        for column, numbers in edits.search.items():
            none = column in ("steps", "clamped") and numbers[edit, i] < 0
            close(row[column], math.nan if none else numbers[edit, i], f"{what} {column}")
    asked = sum(int((edits.asked[:, :, None] & edits.members[:, None, :]).any(axis=0).sum()) for edits in models.values())
    if count != asked:
        wrong.append(f"edits.csv: {count} rows, expected {asked}")


def check_axes(file):
    """Every axis of every dataset has a named scale, and every dataset says its unit and what it is."""
    address = lambda item: h5py.h5o.get_info(item.id).addr  # HDF5 searches the whole file for the name of what is referred to
    scales = {}
    file.visititems(lambda name, item: scales.update({address(item): name}) if isinstance(item, h5py.Dataset) else None)

    def visit(name, item):
        global checked
        if not isinstance(item, h5py.Dataset):
            return
        checked += 1
        if "units" not in item.attrs or "description" not in item.attrs:
            wrong.append(f"{name}: no units or description")
        if not h5py.h5ds.is_scale(item.id):
            for axis in item.dims:
                if len(axis) != 1 or axis.label != scales[address(axis[0])].split("/")[-1]:
                    wrong.append(f"{name}: an axis without a scale or label")

    file.visititems(visit)


def check_complete(run, folder):
    """Every item that was asked for of a model, set of prompts and window is in the tables, and no other."""
    name = run.kind.curves
    listed = {(r["model"], r["prompts"], int(r["window"]), r[run.kind.item]) for r in rows_of(folder, name)}
    asked = {(model, prompts, window, edge) for (model, prompts), swept in run.sets.items()
             for window in swept.windows for edge in swept.edges(window)}
    listed = {row for row in listed if row[1] != SHARED}
    wrong.extend(f"{name}.csv lacks {row}" for row in sorted(asked - listed))
    wrong.extend(f"{name}.csv has {row}, which nothing asked for" for row in sorted(listed - asked))


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
        intervened = Run(file, INTERVENTIONS)
        check_complete(intervened, folder)
        check_curves(intervened, folder)
        check_effects(intervened, folder, INTERVENTIONS.effects)
        check_traces(file, folder)
        check_facts(file, folder, "trace_facts", "trace")
        check_facts(file, folder, "severing_facts", "sever")
        check_severings(file, folder)
        check_facts(file, folder, "attribution_facts", "attribution")
        check_attributions(file, folder)
        check_relations(file, folder)
        check_mean_knockouts(file, folder)
        check_edit_scores(file, folder)
        check_edit_moved(file, folder)
        check_edits(file, folder)
        PartTables(file, functools.partial(rows_of, folder), close, wrong).check()
        HybridTables(run, functools.partial(rows_of, folder), close, wrong).check()
        PathTables(intervened, functools.partial(rows_of, folder), close).check()
    print(f"{checked} numbers checked, {len(wrong)} wrong")
    for line in wrong[:20]:
        print(line)
    sys.exit(1 if wrong or checked == 0 else 0)


if __name__ == "__main__":
    main()
