"""The tables of parts of edges and of paths, recomputed from results.h5; part of check_tables.py."""
import functools
import math
import re

import numpy as np
from scipy.stats import spearmanr

from recompute import FEWEST_CLUSTERS, draws, numbered, percentiles

RESAMPLES, SEED, MOST = 1000, 1, 0.9


@functools.lru_cache(maxsize=None)
def drawn(facts):
    """How often each fact is drawn, [resample, fact]."""
    return draws(facts, RESAMPLES, SEED)


def samples(values, facts):
    """Means [sample, item] of values [item, prompt]: of the data, then of each resample of facts."""
    first = values.mean(axis=1)[None, :]
    facts = numbered(list(facts))
    if len(set(facts)) < FEWEST_CLUSTERS:
        return first
    sums, members = np.zeros((facts.max() + 1, len(values))), np.bincount(facts).astype(float)
    np.add.at(sums, facts, values.T)
    counts = drawn(len(members))
    return np.vstack([first, (counts @ sums) / (counts @ members)[:, None]])


def measured(of_samples):
    """Value, low, high."""
    return (of_samples[0], *percentiles(np.asarray(of_samples[1:], float)))


def texts(values):
    return [value.decode() for value in values[:]]


def division_of(part):
    if part.startswith("head "):
        return "each head"
    kind, rest = part.split(" ", 1)
    return f"each {kind} of {rest.split('/', 1)[1]}"


def rank_correlation(x, y):
    return spearmanr(x, y).statistic if len(set(x)) > 1 and len(set(y)) > 1 else math.nan


def trends(changes):
    """Of each row of [sample, part]: Spearman's correlation with the places of the parts."""
    one, other = changes[:, :, None], changes[:, None, :]
    ranks = (one > other).sum(axis=2) + 0.5 * (one == other).sum(axis=2)  # ties share theirs
    ranks = ranks - ranks.mean(axis=1, keepdims=True)
    places = np.arange(changes.shape[1]) - (changes.shape[1] - 1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return ranks @ places / np.sqrt((ranks ** 2).sum(axis=1) * (places ** 2).sum())


def best_split(values):
    squares = [((values[:m] - values[:m].mean()) ** 2).sum() + ((values[m:] - values[m:].mean()) ** 2).sum()
               for m in range(1, len(values))]
    return (1 + int(np.argmin(squares))) / len(values)


class Parts:
    """The parts of one model at one window size."""

    def __init__(self, file, model, window):
        group = file[model]["parts"]
        self.items, self.ids = texts(group["part"]), group["prompt"][:]
        self.logs = group[f"window_{window}/log_change"][:].astype(float)
        self.starts = list(group[f"window_{window}/start"][:])
        names = dict(zip(file["prompts/prompt"][:], zip(file["prompts/subject"][:], file["prompts/relation"][:])))
        self.facts = numbered([names[i] for i in self.ids])
        self.relations = np.array([names[i][1].decode() for i in self.ids])
        self.kept, self.known = {}, {}

    def members(self, edge, division):
        return [edge] + [item for item in self.items if "/" in item and item.split("/", 1)[0] == edge
                         and division_of(item.split("/", 1)[1]) == division]

    def complete(self, items):
        if tuple(items) not in self.kept:
            self.kept[tuple(items)] = np.isfinite(self.logs[[self.items.index(item) for item in items]]).all(axis=(0, 2))
        return self.kept[tuple(items)]

    def changes(self, items, start, keep):
        return 100 * np.expm1(self.logs[[self.items.index(item) for item in items]][:, keep, start])

    def means(self, items, start):
        """Of the complete prompts: [sample, item]."""
        if (tuple(items), start) not in self.known:
            keep = self.complete(items)
            self.known[tuple(items), start] = samples(self.changes(items, start, keep), self.facts[keep])
        return self.known[tuple(items), start]

    def strongest(self, edge, keep):
        return int(np.argmin([self.changes([edge], s, keep).mean() for s in range(len(self.starts))]))


class PartTables:
    def __init__(self, file, rows_of, close, wrong):
        self.file, self.rows_of, self.close, self.wrong, self.known = file, rows_of, close, wrong, {}

    def parts(self, row):
        key = row["model"], row["window"]
        if key not in self.known:
            self.known[key] = Parts(self.file, *key)
        return self.known[key]

    def close_measured(self, row, column, value, what):
        for ending, expected in zip(("", "_low", "_high"), value):
            self.close(row[column + ending], expected, f"{what} {column}{ending}")

    def check(self):
        self.check_parts()
        self.check_sums()
        self.check_contrasts()
        self.check_steps()
        self.check_overlaps()

    def check_parts(self):
        count = set()
        for row in self.rows_of("parts"):
            of, what = self.parts(row), " ".join(["parts", row["model"], row["edge"], row["part"], row["start"]])
            items = of.members(row["edge"], row["division"])
            keep = of.complete(items)
            start, item = of.starts.index(int(row["start"])), f"{row['edge']}/{row['part']}"
            self.close(row["n"], keep.sum(), what + " n")
            self.close(row["facts"], len(set(of.facts[keep])), what + " facts")
            self.close_measured(row, "change", measured(of.means(items, start)[:, items.index(item)]), what)
            self.close(row["log_probability_change"], of.logs[of.items.index(item), keep, start].mean(), what + " log")
            count.add((row["model"], row["window"], item, row["start"]))
        expected = {(m, name[7:], item, str(s)) for m in self.file if m not in ("prompts", "failures") and "parts" in self.file[m]
                    for name in self.file[m]["parts"] if name.startswith("window_")
                    for item in texts(self.file[m]["parts/part"]) if "/" in item
                    for s in self.file[m]["parts"][name]["start"][:]}
        if count != expected:
            self.wrong.append(f"parts.csv: {len(expected - count)} rows are missing, {len(count - expected)} are too many")

    def check_sums(self):
        for row in self.rows_of("part_sums"):
            of, what = self.parts(row), " ".join(["part_sums", row["model"], row["edge"], row["division"], row["start"]])
            items = of.members(row["edge"], row["division"])
            keep, start = of.complete(items), of.starts.index(int(row["start"]))
            means = of.means(items, start)
            whole, parts = means[:, 0], means[:, 1:]
            self.close(row["parts"], parts.shape[1], what)
            self.close(row["strongest"], int(start == of.strongest(row["edge"], keep)), what + " strongest")
            self.close_measured(row, "whole", measured(whole), what)
            self.close_measured(row, "sum", measured(parts.sum(axis=1)), what)
            self.close_measured(row, "excess", measured(parts.sum(axis=1) - whole), what)
            ordered = re.match("each (quantile|random) ", row["division"]) and parts.shape[1] > 2
            self.close_measured(row, "trend", measured(trends(parts)) if ordered else (math.nan,) * 3, what)
            decay = row["division"].startswith("each quantile ") and parts.shape[1] > 2 and row["strongest"] == "1"
            third = parts.shape[1] // 3
            self.close_measured(row, "bend", measured([best_split(one) for one in parts]) if decay else (math.nan,) * 3, what)
            self.close_measured(row, "slow_share", measured(parts[:, :third].sum(axis=1) / parts.sum(axis=1))
                                if decay else (math.nan,) * 3, what)

    def check_contrasts(self):
        for row in self.rows_of("part_contrasts"):
            of, what = self.parts(row), " ".join(["part_contrasts", row["model"], row["edge"], row["slices"]])
            slices, control = (of.members(row["edge"], row[name]) for name in ("slices", "control"))
            keep = of.complete(slices + control[1:])
            start, third = of.strongest(row["edge"], keep), (len(slices) - 1) // 3
            self.close(row["start"], of.starts[start], what + " start")
            each = np.stack([of.changes(items, start, keep).mean(axis=0)
                             for items in (slices[1:1 + third], slices[-third:], control[1:])])
            means = samples(each, of.facts[keep])
            for column, name in enumerate(("slow", "fast", "random")):
                self.close_measured(row, name, measured(means[:, column]), what)
            self.close_measured(row, "random_minus_slow", measured(means[:, 2] - means[:, 0]), what)

    def check_steps(self):
        for row in self.rows_of("part_steps"):
            what = " ".join(["part_steps", row["model"], row["division"], row["order"], row["step"]])
            groups = [group for name, group in self.file[row["model"]]["parts"].items() if name.startswith("cumulated_")
                      and (group.attrs["edge"], group.attrs["division"], str(group.attrs["window"])) ==
                      (row["edge"], row["division"], row["window"])]
            if len(groups) != 1:
                self.wrong.append(f"{what}: {len(groups)} groups")
                continue
            logs, of = groups[0]["log_change"][:].astype(float), self.parts(row)
            keep = np.isfinite(logs).all(axis=(0, 1))
            order, step = texts(groups[0]["order"]).index(row["order"]), int(row["step"]) - 1
            self.close(row["n"], keep.sum(), what + " n")
            self.close(row["start"], groups[0].attrs["start"], what + " start")
            self.close(row["ordered_by"], groups[0].attrs["ordered_by"], what + " ordered by")
            part = groups[0]["part"][order, step].decode()
            if part != f"{row['edge']}/{row['part']}":
                self.wrong.append(f"{what}: {row['part']}, stored {part}")
            means = samples(100 * np.expm1(logs[order][:, keep]), of.facts[keep])
            self.close_measured(row, "change", measured(means[:, step]), what)
            needed = [1 + int(np.argmax(one <= MOST * one[-1])) if one[-1] < 0 else math.nan for one in means]
            self.close_measured(row, "needed", measured(needed), what)

    def check_overlaps(self):
        for row in self.rows_of("part_overlaps"):
            of, what = self.parts(row), " ".join(["part_overlaps", row["model"], row["division"], row["relation"]])
            items = of.members(row["edge"], row["division"])
            keep = of.complete(items)
            start = of.strongest(row["edge"], keep)
            a, b = (of.changes(items[1:], start, keep & (of.relations == row[name])).mean(axis=1)
                    for name in ("relation", "other_relation"))
            top = (len(a) + 3) // 4
            self.close(row["top"], top, what)
            self.close(row["shared"], len(set(np.argsort(a, kind="stable")[:top]) & set(np.argsort(b, kind="stable")[:top])), what)
            self.close(row["expected"], top * top / len(a), what)
            self.close(row["correlation"], rank_correlation(a, b), what + " correlation")


def label_of(row):
    if not row["target"]:
        return f"{row['path']}({row['tokens']}) = {row['value']}"
    edge = f"{row['tokens']}->{row['target']}"
    return edge if row["path"] == "state" else f"{edge} through {row['path']}"


class PathTables:
    """`run`: rows of interventions, a Run of recompute.py."""

    def __init__(self, run, rows_of, close):
        self.run, self.rows_of, self.close = run, rows_of, close

    def close_measured(self, row, column, value, what):
        for ending, expected in zip(("", "_low", "_high"), value):
            self.close(row[column + ending], expected, f"{what} {column}{ending}")

    def check(self):
        for row in self.rows_of("paths"):
            swept, label = self.run.swept(row["model"], row["prompts"]), label_of(row)
            what, change = f"paths {row['model']} {row['prompts']} {row['window']} {label}", swept.change(int(row["window"]), label)
            keep = ~np.isnan(change).any(axis=1)
            self.close(row["n"], keep.sum(), what + " n")
            if not keep.any():
                continue
            means = samples(change[keep].T, swept.facts[keep])
            start = int(np.argmin(means[0]))
            self.close(row["start"], swept.starts(int(row["window"]))[start], what + " start")
            self.close_measured(row, "lowest", measured(means.min(axis=1)), what)
            self.close(row["log_probability_change"], swept.log(int(row["window"]), label)[keep, start].mean(), what + " log")
        for row in self.rows_of("missed_paths"):
            self.check_missed(row)

    def check_missed(self, row):
        swept, window, edge = self.run.swept(row["model"], row["prompts"]), int(row["window"]), f"{row['tokens']}->{row['target']}"
        what = f"missed_paths {row['model']} {row['prompts']} {window} {edge}"
        state, both = swept.change(window, edge), swept.change(window, edge + " through mixer")
        keep = ~np.isnan(state).any(axis=1) & ~np.isnan(both).any(axis=1)
        start = int(np.argmin(both[keep].mean(axis=0)))
        self.close(row["n"], keep.sum(), what + " n")
        self.close(row["start"], swept.starts(window)[start], what + " start")
        means = samples(np.stack([state[keep, start], both[keep, start]]), swept.facts[keep])
        self.close_measured(row, "state", measured(means[:, 0]), what)
        self.close_measured(row, "mixer", measured(means[:, 1]), what)
        self.close_measured(row, "missed", measured(100 * (means[:, 1] - means[:, 0]) / means[:, 1]), what)
        logs = [swept.log(window, label)[keep, start].mean() for label in (edge, edge + " through mixer")]
        self.close(row["missed_by_log_changes"], 100 * (logs[1] - logs[0]) / logs[1], what + " by log")
        if f"{edge} through convolution" not in swept.edges(window):
            return
        convolution = swept.change(window, edge + " through convolution")
        near = keep & ~np.isnan(convolution).any(axis=1)
        self.close(row["in_reach"], near.sum(), what + " in reach")
        if near.any():
            means = samples(np.stack([of[near, start] for of in (state, convolution, both)]), swept.facts[near])
            self.close_measured(row, "convolution", measured(means[:, 1]), what)
            self.close_measured(row, "interaction", measured(means[:, 0] + means[:, 1] - means[:, 2]), what)
