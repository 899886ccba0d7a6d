"""Answers of `factflow run` against whole forwards of transformers: tools/against_transformers.py values."""
import dataclasses
import pathlib
import statistics
import tempfile

import h5py
import numpy as np
import torch

from factflow_run import EDGES, configuration, run_factflow, spread
from knockouts import Knockout, log_probabilities, referee
from prompts import Library, read_prompts

HEATMAPS = 2


@dataclasses.dataclass
class Cell:
    """One stored number: of a knockout, or of the clean run (None)."""
    label: str
    number: int  # the prompt's
    knockout: object
    token: int
    probability: float
    rank: object = None  # heat maps have none


def off(p, q):
    return abs(p - q) / (q + 1e-6)


def window(start, size, layers, placement):
    """Layers [begin, end)."""
    if placement == "centred":
        return max(0, start - size // 2), min(layers, start + (size + 1) // 2)
    return start, start + size


class Results:
    """What a run says of its one model. `problems` collects what is wrong without any arithmetic."""

    def __init__(self, file, prompts, starts):
        self.group, self.prompts, self.starts, self.problems = file["model"], prompts, starts, []
        self.layers = int(self.group.attrs["layers"])
        evaluated = self.group["evaluation/prompt"][:].tolist()
        self.expect(int(file.attrs["complete"]) == 1 and len(file["failures/prompt"]) == 0, "the run is not complete, or lists failures")
        self.expect(sorted(evaluated) == sorted(prompts), "not every prompt is evaluated")
        self.row = {number: i for i, number in enumerate(evaluated)}

    def expect(self, condition, what):
        if not condition:
            self.problems.append(what)

    def cells(self):
        for number, tokens in self.prompts.items():
            yield from self.clean(number, tokens)
            for name in self.group["knockout"]:
                if name.startswith("window_"):
                    yield from self.swept(self.group["knockout"][name], number, tokens)
            for name, maps in self.group["heatmap"].items():
                if str(number) in maps:
                    yield from self.heatmap(maps, number, tokens)

    def clean(self, number, tokens):
        row, group = self.row[number], self.group["evaluation"]
        told = [int(group[key][row]) for key in ("token_count", "subject_begin", "subject_end", "answer_token")]
        self.expect(told == [len(tokens.ids), tokens.subject[0], tokens.subject[-1] + 1, tokens.answer], f"prompt {number}: tokens {told}")
        yield Cell("clean", number, None, tokens.answer, float(group["probability"][row]), int(group["rank"][row]))
        top = group["top_probability"][row].tolist()
        self.expect(top == sorted(top, reverse=True), f"prompt {number}: the likeliest tokens are not in order")
        for place, (token, probability) in enumerate(zip(group["top_token"][row].tolist(), top)):
            yield Cell("clean, likeliest tokens", number, None, token, probability, place + 1)

    def swept(self, table, number, tokens):
        row, size = table["prompt"][:].tolist().index(number), int(table.attrs["window"])
        starts, placement = table["start"][:].tolist(), table.attrs["placement"]
        labels = table["edge"].asstr()[:].tolist()
        self.expect(sorted(labels) == sorted(EDGES), f"edges {labels}")
        for e, label in enumerate(labels):
            edges = tokens.edges(label)
            self.expect(int(self.group["knockout/edges"][e, row]) == len(edges), f"prompt {number}, {label}: number of edges")
            there = np.isfinite(table["probability"][e, row])
            self.expect(bool(there.all() if edges else not there.any()), f"prompt {number}, {label}: answers where there are none, or none where there are some")
            for s in spread(len(starts), self.starts) if edges else []:
                cut = Knockout(edges, *window(starts[s], size, self.layers, placement))
                yield Cell(f"{label}, window {size}", number, cut, tokens.answer, float(table["probability"][e, row, s]), int(table["rank"][e, row, s]))

    def heatmap(self, maps, number, tokens):
        cells, size = maps[str(number)][:], int(maps.attrs["window"])
        self.expect(cells.shape[0] == len(tokens.ids), f"heat map {number}: {cells.shape[0]} tokens")
        starts = maps["start"][:].tolist()
        for token in range(len(tokens.ids)):
            for s in spread(len(starts), 2):
                cut = Knockout([(len(tokens.ids) - 1, token)], *window(starts[s], size, self.layers, "fit"))
                yield Cell(f"heat map, window {size}", number, cut, tokens.answer, float(cells[token, s]))


class Truth:
    """Answers of transformers in both number types, each computed once."""

    def __init__(self, path):
        self.models, self.known = {"float64": referee(path, torch.float64), "float32": referee(path, torch.float32)}, {}

    def fill(self, number, ids, cells):
        new = {self.key(cell): cell.knockout for cell in cells if self.key(cell) not in self.known}
        if new:
            told = [log_probabilities(model, ids, list(new.values())) for model in self.models.values()]
            self.known |= {key: rows for key, *rows in zip(new, *told)}

    @staticmethod
    def key(cell):
        return cell.number, cell.knockout and (tuple(cell.knockout.edges), cell.knockout.layers)

    def probabilities(self, cell):
        """Of the cell's token, in float64 and in float32."""
        return tuple(row[cell.token].exp().item() for row in self.known[self.key(cell)])

    def moved(self, cell):
        """The knockout changes the answer by more than a percent."""
        clean = self.known[cell.number, None][0][cell.token].exp().item()
        return off(self.probabilities(cell)[0], clean) > 0.01

    def ranks(self, cell, slack):
        """The smallest and the largest rank that the token may have if log-probabilities are off by `slack`."""
        row = self.known[self.key(cell)][0]
        return 1 + int((row > row[cell.token] + slack).sum()), int((row >= row[cell.token] - slack).sum())


def line(label, cells, truth):
    gaps = [(off(cell.probability, q), off(f, q)) for cell in cells for q, f in [truth.probabilities(cell)]]
    ours, floor = zip(*gaps)
    worst, noise = np.max(ours), np.max(floor)  # NaN where one is, unlike max()
    print(f"  {label:28} {len(cells):6}   median {statistics.median(ours):.1e}   largest {worst:.1e}   "
          f"transformers in float32 {statistics.median(floor):.1e} {noise:.1e}")
    return worst, noise


def compare(results, cells, truth, precision):
    print(f"values, {precision}: |p - q| / (q + 1e-6), q of transformers in float64")
    for label in dict.fromkeys(cell.label for cell in cells):
        line(label, [cell for cell in cells if cell.label == label], truth)
    worst, floor = line("all", cells, truth)
    tolerance = 1e-6 if precision == "fp64" else max(1e-4, 3 * floor)
    results.expect(worst <= tolerance, f"{worst:.1e} is beyond {tolerance:.1e}")
    knockouts = [cell for cell in cells if cell.knockout]
    moved = sum(truth.moved(cell) for cell in knockouts)
    results.expect(moved > len(knockouts) / 20, f"only {moved} of {len(knockouts)} knockouts moved an answer by a percent: nothing is tested")
    for cell in cells:
        low, high = truth.ranks(cell, 2 * tolerance)
        results.expect(cell.rank is None or low <= cell.rank <= high, f"prompt {cell.number}, {cell.label}: rank {cell.rank}, expected {low} to {high}")
    for problem in results.problems[:10]:
        print("  WRONG:", problem)
    return int(len(results.problems) > 0)


def values(given):
    """0 or 1, the exit code."""
    library, everything, truth, wrong = Library(given.model), read_prompts(given.dataset), Truth(given.model), 0
    chosen = [everything[i] for i in spread(len(everything), given.prompts)]
    for precision in given.precision:
        with tempfile.TemporaryDirectory() as scratch:
            scratch = pathlib.Path(scratch)
            run_factflow(given.factflow, configuration(given.model, given.dataset, [prompt.number for prompt in chosen], given.windows,
                                                       precision=precision, heatmaps=HEATMAPS), scratch)
            with h5py.File(scratch / "out/results.h5") as file:
                tokens = {prompt.number: library.tokens(prompt, file.attrs["answer"]) for prompt in chosen}
                results = Results(file, tokens, given.starts)
                cells = list(results.cells())
        for number, one in tokens.items():
            truth.fill(number, one.ids, [cell for cell in cells if cell.number == number])
        wrong |= compare(results, cells, truth, precision)
    return wrong
