"""What check_tables.py recomputes of hybrids: who carries an edge, by cuts on attention, on the recurrent mixers and on both."""
import math

import numpy as np

from recompute import FEWEST_CLUSTERS, draws, numbered, percentiles

RESAMPLES, SEED = 1000, 1
WITHOUT_TOKENS, ATTENTION = {"mlp", "mixture", "channel_mix", "+"}, {"attention", "shared_block"}


def mixers_of(file, model):
    """A letter for each layer."""
    letters = ""
    for line in file[model].attrs["layer_blocks"].split("\n") if "layer_blocks" in file[model].attrs else []:
        words = set(line.replace(",", "").split()) - WITHOUT_TOKENS
        attention, recurrent = bool(words & ATTENTION), bool(words - ATTENTION)
        letters += "B" if attention and recurrent else "A" if attention else "R" if recurrent else "-"
    return letters


def in_window(letters, kind, start, window, centred):
    """How many layers of the window have mixers of a kind."""
    begin = start - window // 2 if centred else start
    return sum(letter in (kind, "B") for letter in letters[max(0, begin):max(0, begin + window)])


class HybridTables:
    """`run`: knockouts, a Run of recompute.py."""

    def __init__(self, run, rows_of, close, wrong):
        self.run, self.rows_of, self.close, self.wrong = run, rows_of, close, wrong

    def check(self):
        for row in self.rows_of("curves"):
            letters = mixers_of(self.run.file, row["model"])
            label, path = row["edge"], "both"
            for name in ("attention", "recurrent"):
                if label.endswith(f" ({name})"):
                    label, path = label[:-len(name) - 3], name
            if row["path"] != path or not label.startswith(f"{row['source']}->{row['target']}"):
                self.wrong.append(f"curves.csv: {row['edge']} is called {row['source']}, {row['target']}, {row['path']}")
            for kind, column in (("A", "attention_layers"), ("R", "recurrent_layers")):
                if letters:
                    count = in_window(letters, kind, int(row["start"]), int(row["window"]), row["placement"] == "centred")
                    self.close(row[column], count, f"curves {row['model']} {row['start']} {column}")
        for row in self.rows_of("carriers"):
            self.check_carrier(row)

    def check_carrier(self, row):
        swept, window, edge = self.run.swept(row["model"], row["prompts"]), int(row["window"]), row["edge"]
        letters, what = mixers_of(self.run.file, row["model"]), f"carriers {row['model']} {row['prompts']} {window} {edge}"
        if row["mixers"] != letters:
            self.wrong.append(f"{what}: mixers {row['mixers']}, recomputed {letters}")
        hybrid = not row["verdict"].startswith("control")
        labels = [f"{edge} (attention)", f"{edge} (recurrent)", edge] if hybrid else [edge] * 3
        if not set(labels) <= set(swept.edges(window)):
            self.close(row["n"], 0, what + " n")
            return
        change = np.stack([swept.change(window, label) for label in labels])  # [cut, prompt, start]
        logs = np.stack([swept.log(window, label) for label in labels])
        keep = ~np.isnan(change).any(axis=(0, 2))
        starts = swept.starts(window)
        centred = swept.done[f"window_{window}"].attrs.get("placement", "fit") in ("centred", b"centred")
        places = [i for i, start in enumerate(starts)
                  if not hybrid or all(in_window(letters, kind, int(start), window, centred) > 0 for kind in "AR")]
        self.close(row["choices"], len(places), what + " choices")
        self.close(row["n"], keep.sum(), what + " n")
        if not places or not keep.any():
            return
        fact = numbered(list(swept.facts[keep]))
        facts = fact.max() + 1
        columns = np.concatenate([change[:, keep], logs[:, keep]])[:, :, places]  # [column, prompt, place]
        sums = np.zeros((facts, *columns.shape[::2]))
        np.add.at(sums, fact, columns.transpose(1, 0, 2))
        prompts = np.bincount(fact, minlength=facts).astype(float)
        halves = [np.arange(facts) % 2 == half for half in (0, 1)]

        def means(counts):
            """Of each half where the other half's mean with both cut is lowest."""
            total, chosen = 0, []
            for half in (0, 1):
                other = halves[1 - half] if facts > 1 else halves[0]
                if (counts * prompts)[other].sum() == 0:
                    return np.full(6, math.nan), None
                chosen.append(int(np.argmin(counts[other] @ sums[other, 2])))
                total = total + counts[halves[half]] @ sums[halves[half]][:, :, chosen[half]]
            return total / (counts @ prompts), chosen

        once, chosen = means(np.ones(facts))
        for name, place in zip(("start_even", "start_odd"), chosen):
            self.close(row[name], starts[places[place]], f"{what} {name}")
        resampled = (np.array([means(counts)[0] for counts in draws(int(facts), RESAMPLES, SEED)])
                     if facts >= FEWEST_CLUSTERS else np.empty((0, 6)))
        number = {"both": lambda a, r, b, *_: b}
        if hybrid:
            number |= {"attention": lambda a, r, b, *_: a, "recurrent": lambda a, r, b, *_: r,
                       "attention_share": lambda a, r, b, *_: 100 * a / b, "recurrent_share": lambda a, r, b, *_: 100 * r / b,
                       "together_share": lambda a, r, b, *_: 100 * (b - a - r) / b, "interaction": lambda a, r, b, *_: b - (a + r),
                       "log_interaction": lambda a, r, b, la, lr, lb: lb - (la + lr)}
        found = {}
        for name, of in number.items():
            found[name] = (of(*once), *percentiles(of(*resampled.T)))
            for ending, value in zip(("", "_low", "_high"), found[name]):
                self.close(row[name + ending], value, f"{what} {name}{ending}")
        if hybrid and row["verdict"] != self.verdict(found, facts):
            self.wrong.append(f"{what}: {row['verdict']}, recomputed {self.verdict(found, facts)}")

    @staticmethod
    def verdict(found, facts):
        if facts < FEWEST_CLUSTERS or not found["both"][2] < -10:
            return "cannot tell"

        def side(name):  # 1: surely more than half, -1: surely less
            return 1 if found[name][1] > 50 else -1 if found[name][2] < 50 else 0

        attention, state, together = side("attention_share"), side("recurrent_share"), side("together_share")
        return {(1, -1): "attention carries it", (-1, 1): "the state carries it", (1, 1): "both are needed",
                (-1, -1): {1: "either suffices", -1: "each carries a part"}.get(together, "cannot tell")}.get(
                    (attention, state), "cannot tell")
