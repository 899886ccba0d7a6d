#!/usr/bin/env python3
"""Recomputes the tables of the questions beyond the paper (docs/beyond.md) from results.h5 with h5py and numpy: nothing of ours is used.

Usage: check_questions.py RUN_DIRECTORY. Exit 0: equal to 1e-9; 1: different; 77: a Python package is missing.
"""
import csv
import math
import sys

try:
    import h5py
    import numpy as np
    import scipy  # noqa: F401  recompute.py needs it
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(77)

from recompute import FEWEST_CLUSTERS, draws, numbered, percentiles

RESAMPLES, SEED = 1000, 1
checked, wrong = 0, []


def close(found, expected, what):
    global checked
    checked += 1
    found, expected = float(found), float(expected)
    if not (math.isnan(found) and math.isnan(expected)) and not abs(found - expected) <= 1e-9 * max(1.0, abs(expected)):
        wrong.append(f"{what}: table {found!r}, recomputed {expected!r}")


def rows_of(folder, name):
    with open(f"{folder}/tables/{name}.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def texts(values):
    return [value.decode() for value in values[:]]


class Facts:
    """Prompts of a group by the facts that they say."""

    def __init__(self, file, ids):
        names = dict(zip(file["prompts/prompt"][:], zip(file["prompts/subject"][:], file["prompts/relation"][:])))
        self.keys = [names[i] for i in ids]

    def ratio(self, above, below, used):
        """mean(above) / mean(below) of the used prompts, with its bootstrap interval; `below` None: the mean."""
        cluster = numbered([key for key, use in zip(self.keys, used) if use])
        above = np.asarray(above, float)[used]
        below = np.ones(len(above)) if below is None else np.asarray(below, float)[used]
        value = above.mean() / below.mean()
        clusters = len(set(cluster))
        if clusters < FEWEST_CLUSTERS:
            return value, math.nan, math.nan
        counts = draws(clusters, RESAMPLES, SEED)
        sums = [np.bincount(cluster, weights=column, minlength=clusters) for column in (above, below)]
        return (value, *percentiles((counts @ sums[0]) / (counts @ sums[1])))


def check(row, column, measured, what, low="_low", high="_high"):
    close(row[column], measured[0], f"{what} {column}")
    close(row[column + low], measured[1], f"{what} {column}{low}")
    close(row[column + high], measured[2], f"{what} {column}{high}")


class Cells:
    """Log changes of a kind's items [item, prompt, start] at one window size."""

    def __init__(self, file, model, kind, item, window):
        group = file[model][kind][f"window_{window}"]
        self.items, self.starts = texts(group[item]), list(group["start"][:])
        self.log, self.facts = group["log_change"][:].astype(float), Facts(file, group["prompt"][:])

    def of(self, item):
        return self.log[self.items.index(item)]

    def used(self, items):
        return ~np.isnan(np.stack([self.of(item) for item in items])).any(axis=(0, 2))


def check_combined(file, folder):
    for row in rows_of(folder, "combined"):
        cells = Cells(file, row["model"], "intervention", "row", row["window"])
        parts, start = row["combination"].split(" & "), cells.starts.index(int(row["start"]))
        used = cells.used([*parts, row["combination"]])
        alone, together = sum(cells.of(part)[:, start] for part in parts), cells.of(row["combination"])[:, start]
        what = f"combined {row['model']} {row['combination']} {row['start']}"
        check(row, "sum", cells.facts.ratio(alone, None, used), what)
        check(row, "together", cells.facts.ratio(together, None, used), what)
        check(row, "interaction", cells.facts.ratio(together - alone, None, used), what)
        close(row["n"], used.sum(), what + " n")


def check_baselines(file, folder):
    rows = rows_of(folder, "baselines")
    for row in rows:
        cells = Cells(file, row["model"], "intervention", "row", row["window"])
        names = {r["baseline"] for r in rows if (r["model"], r["window"], r["ablation"]) == (row["model"], row["window"], row["ablation"])}
        used = cells.used([f"{row['ablation']} = {name}" for name in names])
        measured = cells.facts.ratio(cells.of(f"{row['ablation']} = {row['baseline']}")[:, cells.starts.index(int(row["start"]))], None, used)
        check(row, "log_change", measured, f"baselines {row['model']} {row['ablation']} {row['baseline']} {row['start']}")
        reading = ("lowers" if measured[2] < -0.1 else "raises" if measured[1] > 0.1
                   else "little" if measured[1] > -0.1 and measured[2] < 0.1 else "open")
        close(row["reading"] == reading, True, f"reading {row}")


def check_surges(file, folder):
    for row in rows_of(folder, "surges"):
        group = file[row["model"]]["surge"][f"layers_{row['window']}"]
        facts, used = Facts(file, group["prompt"][:]), group["status"][:] == 1
        log_p, names = group["log_probability"][:], texts(group["part"])
        change, what = log_p[:, 1] - log_p[:, 0], f"surges {row['model']} {row['what']}"
        value = {"change of ln p": change, "ln of the scale's ratio": np.log(group["scale"][:, 1] / group["scale"][:, 0])}
        value.update((name, group["part_value"][:, i]) for i, name in enumerate(names))
        if row["what"] not in value:
            continue
        measured = facts.ratio(value[row["what"]], None, used)
        for column, number in zip(("value", "low", "high"), measured):
            close(row[column], number, f"{what} {column}")
        if row["what"] in names:
            for column, number in zip(("share", "share_low", "share_high"), facts.ratio(value[row["what"]], change, used)):
                close(row[column], number, f"{what} {column}")


def check_positions(file, folder):
    rows = rows_of(folder, "positions")
    for row in rows:
        cells = Cells(file, row["model"], "position", "item", row["window"])
        key = ("model", "window", "edge", "place")
        lengths = sorted({int(r["length"]) for r in rows if all(r[k] == row[k] for k in key)})
        item = {length: f"{row['edge']} | {row['place']} {length}" for length in lengths}
        used, start = cells.used(item.values()), cells.starts.index(int(row["start"]))
        here, none = cells.of(item[int(row["length"])])[:, start], cells.of(item[0])
        what = f"positions {[row[k] for k in key]} {row['length']} {row['start']}"
        check(row, "log_change", cells.facts.ratio(here, None, used), what)
        lowest = none[used].mean(axis=0).argmin() == start
        close(row["compared"], lowest, what + " compared")
        check(row, "ratio", cells.facts.ratio(here, none[:, start], used) if lowest else [math.nan] * 3, what)


def check_whole_answers(file, folder):
    for row in rows_of(folder, "whole_answers"):
        cells = Cells(file, row["model"], "answers", "item", row["window"])
        first, whole = f"{row['edge']} | first token", f"{row['edge']} | whole answer"
        used = cells.used([first, whole]) & (file[row["model"]]["answers"]["tokens"][:] > 1)
        start, what = cells.starts.index(int(row["start"])), f"answers {row['model']} {row['edge']} {row['start']}"
        check(row, "first", cells.facts.ratio(cells.of(first)[:, start], None, used), what)
        check(row, "whole", cells.facts.ratio(cells.of(whole)[:, start], None, used), what)
        check(row, "later", cells.facts.ratio((cells.of(whole) - cells.of(first))[:, start], None, used), what)


# The number of each answer in questions.csv, in the table that it is taken from: columns, factor, and which of the model's rows.
ANSWERS = {
    "carrier": [("carriers", ("attention_share", "attention_share_low", "attention_share_high"), 1, {"edge": "subject->last", "widest": "1"})],
    "path": [("missed_paths", ("missed", "missed_low", "missed_high"), 1, {"tokens": "subject", "target": "last"}),
             ("paths", ("lowest", "lowest_low", "lowest_high"), 1, {"tokens": "subject", "target": "last", "path": "state"})],
    "slow": [("part_contrasts", ("random_minus_slow", "random_minus_slow_low", "random_minus_slow_high"), 1, {"edge": "subject->last"})],
    "surge": [("surges", ("value", "low", "high"), 1, {"what": "change of ln p"})],
    "sum": [("combined", None, 100, {"strongest": "1"})],
}


def first_answers(row, folder):
    """Candidates: what the tables say of the model, as (value, low, high)."""
    for table, columns, factor, wanted in ANSWERS.get(row["question"], []):
        for one in rows_of(folder, table):
            if one["model"] != row["model"] or any(one.get(key, value) != value for key, value in wanted.items()):
                continue
            if columns is None:  # its interval is a ratio's, which no table has
                yield (factor * float(one["interaction"]) / abs(float(one["sum"])), None, None)
            elif all(column in one for column in columns):
                yield tuple(factor * float(one[column]) for column in columns)


def check_first_questions(_file, folder):
    """Every answer's number is one of the tables', which are recomputed above or by check_tables.py; that it is the right one a test of the analysis says."""
    global checked
    for row in rows_of(folder, "questions"):
        if row["question"] not in ANSWERS:
            continue
        checked += 1
        found = (float(row["value"]), float(row["low"]), float(row["high"]))
        same = lambda a, b: b is None or (math.isnan(a) and math.isnan(b)) or abs(a - b) <= 1e-9 * max(1.0, abs(b))
        if not any(all(map(same, found, candidate)) for candidate in first_answers(row, folder)):
            wrong.append(f"questions.csv: {row['question']} of {row['model']} is {found}, which no table has")


def main():
    folder = sys.argv[1]
    with h5py.File(folder + "/results.h5", "r") as file:
        for one in (check_combined, check_baselines, check_surges, check_positions, check_whole_answers, check_first_questions):
            one(file, folder)
    print(f"{checked} numbers checked, {len(wrong)} wrong")
    for line in wrong[:20]:
        print(line)
    sys.exit(1 if wrong or checked == 0 else 0)


if __name__ == "__main__":
    main()
