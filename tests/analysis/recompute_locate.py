"""What check_tables.py expects in the tables of gradient estimates and of linear relations, out of the results file."""
import math

import numpy as np

from recompute import FEWEST_CLUSTERS, TRACE_GUARD, draws, numbered, percentiles

LEAST_EFFECT, TRUSTED_CORRELATION, TRUSTED_SIGN = 0.01, 0.8, 0.9
FEWEST_KNOWN = 6
NOTHING = (math.nan, math.nan)


def mean_ranks(values, weights):
    """Ranks [resample, i] of `values` that are there weights[resample, i] times, equal ones sharing their mean rank."""
    order = np.argsort(values, kind="stable")
    first = np.flatnonzero(np.r_[True, np.diff(values[order]) != 0])
    sizes = np.add.reduceat(weights[:, order], first, axis=1)
    middle = np.cumsum(sizes, axis=1) - sizes + (sizes + 1) / 2
    ranks = np.empty_like(weights)
    ranks[:, order] = np.repeat(middle, np.diff(np.r_[first, len(values)]), axis=1)
    return ranks


def spearman(x, y, weights):
    """[resample]"""
    if len(x) == 0:
        return np.full(len(weights), math.nan)
    n = weights.sum(axis=1)
    a, b = (mean_ranks(v, weights) - ((n + 1) / 2)[:, None] for v in (x, y))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (weights * a * b).sum(axis=1) / np.sqrt((weights * a * a).sum(axis=1) * (weights * b * b).sum(axis=1))
    return np.where(n < 2, math.nan, np.clip(found, -1, 1))


class Attributions:
    """Cells of one model: effects as shares of high - low, of the facts with a part in means."""

    def __init__(self, file, model, names):
        group = file[model]["attribution"]
        effects = group["effects"]
        high, low = (group[k][:].astype(float) for k in ("high", "low"))
        with np.errstate(invalid="ignore"):
            self.used = np.flatnonzero(high - low >= TRACE_GUARD)
        self.prompts, self.high, self.low = effects["prompt"][:], high, low
        self.begin, self.tokens = group["subject_begin"][:], group["token_count"][:]
        self.cluster = numbered([names[i] for i in self.prompts[self.used]])
        self.sites = [site.decode() for site in effects["site"][:]]
        self.exact = effects["exact"][:]
        self.methods = {m: effects[m][:] for m in ("gradient", "integrated") if m in effects}
        self.steps = effects.attrs.get("steps", 0)
        self.layers = len(effects["layer"]) - 1

    def layers_of(self, site):
        return range(self.layers + (site == "h"))

    def cells(self, site, method, layers):
        """(exact, estimate, cluster, place of the fact, token, layer) of each cell."""
        s, found = self.sites.index(site), []
        for layer in layers:
            for i, cluster in zip(self.used, self.cluster):
                for token in range(self.begin[i], self.tokens[i]):
                    exact, estimate = (float(v[s, i, token, layer]) for v in (self.exact, self.methods[method]))
                    if not math.isnan(exact) and not exact == estimate == 0:
                        scale = self.high[i] - self.low[i]
                        found.append((exact / scale, estimate / scale, cluster, i, token, layer))
        return found

    def band(self, numerators, cluster, times, enough):
        """Of a mean of cells: bootstrap over facts."""
        if not enough or not len(numerators):
            return NOTHING
        sums, members = (np.bincount(cluster, weights=w, minlength=times.shape[1]) for w in (numerators, None))
        with np.errstate(invalid="ignore"):
            return percentiles((times @ sums) / (times @ members))

    def row(self, site, method, layers, resamples, seed):
        cells = self.cells(site, method, layers)
        exact, estimate, cluster = (np.array([c[k] for c in cells], int if k == 2 else float) for k in range(3))
        clusters = len(set(self.cluster))
        bootstrapped = clusters >= FEWEST_CLUSTERS
        times = draws(clusters, resamples, seed) if bootstrapped else np.zeros((0, clusters))
        here = len(set(cluster)) >= FEWEST_CLUSTERS
        strong = np.abs(exact) >= LEAST_EFFECT
        same = (exact[strong] * estimate[strong] > 0).astype(float)
        difference = np.abs(estimate - exact)
        rows = {"cells": len(cells), "prompts": len({c[3] for c in cells}), "facts": len(set(cluster)),
                "correlation": spearman(exact, estimate, np.ones((1, len(cells))))[0],
                "signed_cells": len(same), "same_sign": same.mean() if len(same) else math.nan,
                "mean_difference": difference.mean() if len(cells) else math.nan}
        correlation = percentiles(spearman(exact, estimate, times[:, cluster])) if here and bootstrapped else NOTHING
        signs = self.band(same, cluster[strong], times, bootstrapped and len(set(cluster[strong])) >= FEWEST_CLUSTERS)
        rows["bands"] = {"correlation": correlation, "same_sign": signs,
                         "mean_difference": self.band(difference, cluster, times, bootstrapped and here)}
        worst = cells[int(np.argmax(difference))] if cells else None
        rows["worst"] = dict(zip(("worst_exact", "worst_estimate", "worst_prompt", "worst_token", "worst_layer"),
                                 (worst[0], worst[1], self.prompts[worst[3]], worst[4], worst[5]) if worst
                                 else (math.nan, math.nan, -1, -1, -1)))
        rows["trusted"] = correlation[0] >= TRUSTED_CORRELATION and signs[0] >= TRUSTED_SIGN
        return rows


def error_of_mean(values):
    return math.nan if len(values) < 2 else np.std(values, ddof=1) / math.sqrt(len(values))


class Relations:
    """Linear relations of one model, by the number of the relation."""

    def __init__(self, file, model):
        group = file[model]["lre"]
        self.group = {name: group[name][:] for name in group if hasattr(group[name], "shape")}
        self.betas, self.layers = self.group["betas"], list(self.group["layer"])
        self.ranks = list(self.group.get("rank", []))
        self.trials = len(group["trial"])
        self.names = [(r.decode(), w.decode()) for r, w in zip(self.group["relation_name"], self.group["words"])]

    def known(self, relation):
        """Prompts (places) of each trial whose fact the model knows."""
        mine = self.group["relation_of"] == relation
        return [np.flatnonzero(mine & (self.group["role"][:, t] == 2) & (self.group["answer_rank"][:, t] == 1))
                for t in range(self.trials)]

    def score(self, relation):
        """What the table of relations says, and of every layer; nothing where there are too few known facts."""
        g, known = self.group, self.known(relation)
        mine = g["relation_of"] == relation
        row = {"subjects": g["facts"][relation], "prompts": mine.sum(), "known": sum(map(len, known)) / self.trials,
               "squared_shares": g["squared_shares"][relation], "largest_share": g["largest_share"][relation]}
        enough = [t for t in range(self.trials) if len(known[t]) >= FEWEST_KNOWN]
        row["trials"] = len(enough)
        tested = (g["role"][mine] == 2).any()
        if g["training_prompts"][relation].flat[0] < 0 or not tested or not enough:
            return row, []
        return row, [self.layer(k, [(t, known[t]) for t in enough]) for k in range(len(self.layers))]

    def layer(self, k, known):
        ranks = [self.group["predicted_rank"][tests, t, k] for t, tests in known]  # [test, beta] of each trial
        best = [int(np.argmax((r <= 1).mean(axis=0))) for r in ranks]
        recalls = [[(r[:, b] <= most).mean() for r, b in zip(ranks, best)] for most in (1, 2, 3)]
        row = {"layer": self.layers[k], "faithfulness": np.mean(recalls[0]), "standard_error": error_of_mean(recalls[0]),
               "among_2": np.mean(recalls[1]), "among_3": np.mean(recalls[2]), "beta": np.mean(self.betas[best]),
               "causality": math.nan, "causality_error": math.nan, "rank": -1}
        for place, rank in enumerate(self.ranks):
            shares = []
            for t, tests in known:
                edited = self.group["edited_rank"][tests, t, k, place]
                if (edited > 0).any():
                    shares.append((edited[edited > 0] == 1).mean())
            if shares and (row["rank"] < 0 or np.mean(shares) > row["causality"]):
                row.update(causality=np.mean(shares), causality_error=error_of_mean(shares), rank=rank)
        return row
