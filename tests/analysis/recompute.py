"""What check_tables.py recomputes with: the results file as arrays, and statistics by numpy and scipy."""
import functools
import math
from typing import NamedTuple

import h5py
import numpy as np
from scipy import stats

SHARED = "shared"  # the analysis' own set: prompts that all models get right


@functools.lru_cache(maxsize=None)
def t_quantile(p, freedom):
    """scipy's inverse is good to 1e-11 only; its distribution function is exact, so Newton's steps mend it."""
    q = stats.t.ppf(p, freedom)
    for _ in range(3):
        q -= (stats.t.cdf(q, freedom) - p) / stats.t.pdf(q, freedom)
    return q


FEWEST_CLUSTERS, FEWEST_FOR_T = 10, 3


def standard_error(values, cluster):
    """Cluster-robust, of the mean; and the number of clusters."""
    names, members = np.unique(cluster, return_inverse=True)
    sums = np.bincount(members, weights=values - values.mean())
    return math.sqrt((sums**2).sum() * len(names) / (len(names) - 1)) / len(values), len(names)


def t_band(values, cluster, level=0.95):
    if len(np.unique(cluster)) < FEWEST_FOR_T:
        return math.nan, math.nan
    error, clusters = standard_error(values, cluster)
    half = t_quantile(0.5 + level / 2, clusters - 1) * error
    return values.mean() - half, values.mean() + half


def t_test(values, cluster):
    if len(np.unique(cluster)) < FEWEST_FOR_T:
        return math.nan
    error, clusters = standard_error(values, cluster)
    if not error > 0:
        return 1.0 if values.mean() == 0 else 0.0
    return 2 * stats.t.sf(abs(values.mean()) / error, clusters - 1)


def wilson_band(share, n, level=0.95):
    """In percent. Where the z test of a share is at its level."""
    if n == 0:
        return math.nan, math.nan
    z = stats.norm.ppf(0.5 + level / 2)
    # The roots of (share - q)^2 = z^2 q (1 - q) / n, the larger one first: it does not cancel.
    a, b, c = 1 + z * z / n, 2 * share + z * z / n, share * share
    high = (b + math.sqrt(b * b - 4 * a * c)) / (2 * a)
    return 100 * c / (a * high), 100 * high


def half_carried_by(values):
    sizes = np.sort(np.abs(values))[::-1]
    return int(np.searchsorted(np.cumsum(sizes), sizes.sum() / 2) + 1) if sizes.sum() > 0 else 0


def holm(p_values):
    adjusted = np.full(len(p_values), math.nan)
    order = [i for i in np.argsort(p_values, kind="stable") if not math.isnan(p_values[i])]
    running = 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(order) - rank) * p_values[i]))
        adjusted[i] = running
    return adjusted


def percentiles(values, level=0.95):
    finite = values[np.isfinite(values)]
    if len(finite) < 2:
        return math.nan, math.nan
    return tuple(np.quantile(finite, [0.5 - level / 2, 0.5 + level / 2]))


def mersenne_twister_64(seed, count):
    """The first numbers of the standard generator mt19937_64 (Nishimura and Matsumoto, 2000)."""
    n, m = 312, 156
    state = [seed]
    for i in range(1, n):
        state.append((6364136223846793005 * (state[-1] ^ (state[-1] >> 62)) + i) % 2**64)
    x = np.array(state, dtype=np.uint64)
    upper, lower, matrix = np.uint64(0xFFFFFFFF80000000), np.uint64(0x7FFFFFFF), np.uint64(0xB5026F5AA96619E9)
    one = np.uint64(1)

    def twist(high, low):
        y = (high & upper) | (low & lower)
        return (y >> one) ^ np.where(y & one, matrix, np.uint64(0))

    blocks = []
    while sum(map(len, blocks)) < count:
        x[:m] = x[m:] ^ twist(x[:m], x[1:m + 1])
        x[m:n - 1] = x[:m - 1] ^ twist(x[m:n - 1], x[m + 1:])
        x[n - 1] = x[m - 1] ^ twist(x[n - 1:], x[:1])[0]
        y = x.copy()
        y ^= (y >> np.uint64(29)) & np.uint64(0x5555555555555555)
        y ^= (y << np.uint64(17)) & np.uint64(0x71D67FFFEDA60000)
        y ^= (y << np.uint64(37)) & np.uint64(0xFFF7EEE000000000)
        y ^= y >> np.uint64(43)
        blocks.append(y)
    return np.concatenate(blocks)[:count]


@functools.lru_cache(maxsize=None)
@functools.lru_cache(maxsize=8)
def draws(clusters, resamples, seed):
    """How often each cluster is drawn: [resample, cluster]."""
    high = mersenne_twister_64(seed, resamples * clusters) >> np.uint64(32)
    drawn = ((high * np.uint64(clusters)) >> np.uint64(32)).astype(np.int64).reshape(resamples, clusters)
    return np.stack([np.bincount(row, minlength=clusters) for row in drawn]).astype(float)


def bootstrap(changes, cluster, clusters, resamples, seed):
    """Mean curves [resample, start] of `changes` [prompt, start], whose rows belong to clusters."""
    if len(np.unique(cluster)) < FEWEST_CLUSTERS:
        return np.empty((0, changes.shape[1]))
    sums, members = np.zeros((clusters, changes.shape[1])), np.zeros(clusters)
    np.add.at(sums, cluster, changes)
    np.add.at(members, cluster, 1)
    counts = draws(clusters, resamples, seed)
    with np.errstate(invalid="ignore"):
        return (counts @ sums) / (counts @ members)[:, None]


def numbered(keys):
    """Numbers as they appear."""
    known = {}
    return np.array([known.setdefault(key, len(known)) for key in keys], int)


class Kind(NamedTuple):
    """How a kind of experiment calls its cells: the group, the axis of its items, what they touch; and its tables."""

    group: str
    item: str
    size: str
    curves: str
    effects: str


KNOCKOUTS = Kind("knockout", "edge", "edges", "curves", "effects")
INTERVENTIONS = Kind("intervention", "row", "touched", "interventions", "intervention_effects")


class Swept:
    """A model with one set of prompts, and what was done to it."""

    def __init__(self, file, model, keep, number=0, kind=KNOCKOUTS):
        group, self.keep, self.number = file[model], np.array(keep), number
        self.done, clean = group[kind.group], group["evaluation"]
        self.layers = int(group.attrs["layers"])
        self.prompts = self.done["prompt"][:][self.keep]
        self.blocked = self.done[kind.size][:][:, self.keep]
        self.labels = [label.decode() for label in self.done[kind.item][:]]
        row = {prompt: i for i, prompt in enumerate(clean["prompt"][:])}
        rows = [row[prompt] for prompt in self.prompts]
        self.clean = clean["probability"][:].astype(float)[rows][:, None]
        self.clean_rank = clean["rank"][:][rows]
        self.subject_tokens = (clean["subject_end"][:] - clean["subject_begin"][:])[rows]
        self.distance = (clean["token_count"][:] - clean["subject_end"][:])[rows]
        relation = dict(zip(file["prompts/prompt"][:], file["prompts/relation"][:]))
        self.relations = [relation[prompt].decode() for prompt in self.prompts]
        subject = dict(zip(file["prompts/prompt"][:], file["prompts/subject"][:]))
        self.facts = numbered([(subject[prompt], relation[prompt]) for prompt in self.prompts])
        sizes = [int(name[7:]) for name in self.done if name.startswith("window_")]
        self.windows = [w for w in sizes if self.edges(w)]

    def edges(self, window):
        """What was asked for of this set at this window size."""
        group = self.done[f"window_{window}"]
        asked = group["asked"][:][self.number] if "asked" in group else np.ones(len(self.labels), int)
        return [label for label, use in zip(self.labels, asked) if use]

    @functools.lru_cache(maxsize=None)
    def stored(self, window, name):
        return self.done[f"window_{window}/{name}"][:][:, self.keep]

    def starts(self, window):
        return self.done[f"window_{window}/start"][:]

    def cells(self, window, edge, name):
        return self.stored(window, name)[self.labels.index(edge)]

    @functools.lru_cache(maxsize=None)
    def change(self, window, edge):
        """Relative change in percent, [prompt, start], NaN where undefined."""
        p = self.cells(window, edge, "probability").astype(float)
        usable = (self.blocked[self.labels.index(edge)][:, None] > 0) & (self.clean > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(usable, 100 * (p - self.clean) / self.clean, np.nan)

    @functools.lru_cache(maxsize=None)
    def log(self, window, edge):
        """ln(p / p_clean), [prompt, start], NaN where undefined; as it is stored, if it is."""
        if "log_change" in self.done[f"window_{window}"]:
            log = self.cells(window, edge, "log_change").astype(float)
            return np.where(np.isnan(self.change(window, edge)), np.nan, log)
        p = self.cells(window, edge, "probability").astype(float)
        with np.errstate(invalid="ignore", divide="ignore"):
            log = np.log(np.maximum(p, np.finfo(np.float32).tiny) / self.clean)
        return np.where(np.isnan(self.change(window, edge)), np.nan, log)

    def counts(self, window, edge, name):
        """Stored numbers of the cells, None where there are none."""
        return self.cells(window, edge, name) if name in self.done[f"window_{window}"] else None

    def rank(self, window, edge):
        return self.cells(window, edge, "rank")


class Run:
    """All models with all their sets of prompts, and what one kind of experiment did to them."""

    def __init__(self, file, kind=KNOCKOUTS):
        self.file, self.kind, self.sets, self.main_set, self.shared = file, kind, {}, None, None
        names = []
        file.id.links.iterate(lambda name: names.append(name.decode()), idx_type=h5py.h5.INDEX_CRT_ORDER)  # as written
        for model in names:
            if model in ("prompts", "failures") or kind.group not in file[model]:
                continue
            done = file[model][kind.group]
            count = len(done["prompt"])
            sets = [n.decode() for n in done["set"][:]] if "set" in done else ["selected"]
            members = done["members"][:] if "set" in done else np.ones((1, count), int)
            for number, (name, row) in enumerate(zip(sets, members)):
                swept = Swept(file, model, np.flatnonzero(row), number, kind)
                if swept.windows:
                    self.main_set = self.main_set or name
                    self.sets[(model, name)] = swept
        if kind == KNOCKOUTS:
            self.add_shared()

    def add_shared(self):
        mains = {model: s for (model, name), s in self.sets.items()}
        prompts = [list(s.prompts) for s in mains.values()]
        if len(self.sets) != len(mains) or all(p == prompts[0] for p in prompts):
            return
        right = [set(s.prompts[s.clean_rank == 1]) for s in mains.values()]
        common = set.intersection(*right)
        self.shared = {model: Swept(self.file, model, s.keep[[i for i, p in enumerate(s.prompts) if p in common]], s.number)
                       for model, s in mains.items()}

    def swept(self, model, name):
        return self.shared[model] if name == SHARED else self.sets[(model, name)]


TRACE_GUARD = 0.05  # facts with a smaller high - low have no part in means
TRACE_GROUPS = {
    "sharma": ["prefix", "subject [:-2]", "subject [-2]", "subject [-1]", "further", "last"],
    "rome": ["first subject", "middle subject", "last subject", "first after", "further", "last"],
}


class Traces:
    """The causal traces of one model: effects of single tokens, and groups of tokens."""

    def __init__(self, file, model):
        self.group, names = file[model], dict(zip(file["prompts/prompt"][:], zip(file["prompts/subject"][:],
                                                                                  file["prompts/relation"][:])))
        stored = self.group["trace"]
        self.prompts = stored["prompt"][:]
        self.high, self.low = (stored[name][:].astype(float) for name in ("high", "low"))
        self.begin, self.end, self.tokens = (stored[name][:] for name in ("subject_begin", "subject_end", "token_count"))
        self.facts = numbered([names[prompt] for prompt in self.prompts])

    def cells(self):
        for name in self.group:
            if name.startswith(("trace_restore_", "trace_break_")):
                _, direction, site = name.split("_", 2)
                for window in self.group[name]:
                    for centre in self.group[name][window]["start"][:]:
                        yield direction, site, int(window[7:]), int(centre)

    def groups(self, direction, site, window, grouping):
        """Centres; and of each group of tokens (prompts, facts, effects, published variant), a row for each value."""
        maps = self.group[f"trace_{direction}_{site}/window_{window}"]
        starts = maps["start"][:]
        rows = [[] for _ in range(6)]
        for i, prompt in enumerate(self.prompts):
            span = self.high[i] - self.low[i]
            if not span >= TRACE_GUARD or str(prompt) not in maps:
                continue
            p = maps[str(prompt)][:].astype(float)
            effect = (p - self.low[i] if direction == "restore" else self.high[i] - p) / span
            for g, tokens in enumerate(self.members(i, grouping)):
                if len(tokens) == 0:
                    continue
                values, variants = effect[tokens], p[tokens] / span
                if grouping == "sharma":
                    values, variants = (v.mean(axis=0, keepdims=True) for v in (values, variants))
                rows[g] += [(i, self.facts[i], v, w) for v, w in zip(values, variants)]
        empty = np.empty((0, len(starts)))
        return starts, [tuple(np.array(column) for column in zip(*group)) if group
                        else (np.array([]), np.array([]), empty, empty) for group in rows]

    def members(self, i, grouping):
        """Token indices of each group."""
        subject, after = list(range(self.begin[i], self.end[i])), list(range(self.end[i], self.tokens[i] - 1))
        last = [self.tokens[i] - 1]
        if grouping == "sharma":
            return [list(range(self.begin[i])), subject[:-2], subject[-2:-1], subject[-1:], after, last]
        first_after = [self.end[i]] if self.end[i] < self.tokens[i] else []
        return [subject[:1], subject[1:-1], subject[-1:], first_after, after[1:], last]


QUESTIONS = {"es": "rewrite", "ps": "paraphrase", "ns": "neighbour"}


class Edits:
    """The edits of one model: success, magnitude and accuracy of each edited prompt, in percent."""

    def __init__(self, file, model):
        stored = file[model]["edit"]
        names = dict(zip(file["prompts/prompt"][:], zip(file["prompts/subject"][:], file["prompts/relation"][:])))
        self.ids = {int(prompt): i for i, prompt in enumerate(stored["prompt"][:])}
        self.facts = np.array(numbered([names[prompt] for prompt in stored["prompt"][:]]))
        self.search = {name: stored[name][:] for name in (
            "steps", "loss", "nll", "kl", "mean_prob", "delta_norm", "value_norm", "clamped", "key_product",
            "update_norm")}
        self.edits = [name.decode() for name in stored["edit"][:]]
        self.sets = [name.decode() for name in stored["set"][:]]
        self.members, self.asked = stored["members"][:] == 1, stored["asked"][:] == 1
        self.kinds = np.array([name.decode().split(" ")[0] for name in stored["question"][:]])
        self.others = np.array([name.decode().rsplit(" ", 1)[0] for name in stored["other"][:]])
        self.new, self.true = (stored[name][:].astype(float) for name in ("new_nll", "true_nll"))
        self.old_new, self.old_true = (stored[name + "_before"][:].astype(float) for name in ("new_nll", "true_nll"))
        self.greedy = {False: stored["new_greedy"][:], True: stored["true_greedy"][:]}
        self.old_greedy = {False: stored["new_greedy_before"][:], True: stored["true_greedy_before"][:]}
        self.log_change, self.kl = (stored[name][:].astype(float) for name in ("other_log_change", "other_kl"))
        self.top_changed = stored["other_top_changed"][:]

    def prompts(self, group, edit):
        """Those that a set asked for, and of these the ones that were edited."""
        asked = self.members[group] & self.asked[group, edit]
        rewrite = int(np.flatnonzero(self.kinds == "rewrite")[0])
        return asked, asked & np.isfinite(self.new[edit, :, rewrite]) & np.isfinite(self.true[edit, :, rewrite])

    @functools.lru_cache(maxsize=None)
    def values(self, edit, measure):
        """(after, before) of each prompt; NaN without such a question. `measure`: es, em, es_acc and so on."""
        kind = QUESTIONS[measure[0] + "s"]
        keeps, columns = kind == "neighbour", self.kinds == kind
        result = []
        for new, true, greedy in ((self.new[edit], self.true[edit], self.greedy[keeps][edit]),
                                  (self.old_new, self.old_true, self.old_greedy[keeps])):
            new, true, greedy = new[:, columns], true[:, columns], greedy[:, columns]
            if measure.endswith("_acc"):
                cells = 100.0 * (greedy == 1)
            elif measure.endswith("m"):
                cells = 100 * (np.exp(-true) - np.exp(-new) if keeps else np.exp(-new) - np.exp(-true))
            else:
                cells = 100.0 * (true < new if keeps else new < true)
            known = np.isfinite(new) & np.isfinite(true)
            count = known.sum(axis=1)
            result.append(np.where(count > 0, np.where(known, cells, 0).sum(axis=1) / np.maximum(count, 1), math.nan))
        return result


def harmonic(rates):
    """Over the last axis; 0 if one is 0."""
    with np.errstate(divide="ignore"):
        return 3 / (1 / np.asarray(rates, dtype=float)).sum(axis=-1)
