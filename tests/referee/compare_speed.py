"""Milliseconds per knockout of transformers and of factflow, side by side: tools/against_transformers.py speed."""
import json
import pathlib
import statistics
import tempfile
import time

import torch

from factflow_run import EDGES, configuration, run_factflow, spread
from knockouts import STATE_SPACE, Attention, Knockout
from prompts import Library, read_prompts


class Transformers:
    """The three ways to ask transformers for all windows of all edges of one prompt."""

    def __init__(self, given):
        self.model, self.sizes = Attention(given.model, torch.float32, given.attention), given.windows
        self.clock = time.process_time if given.threads == 1 else time.monotonic

    def batches(self, tokens):
        """One batch per edge: all windows of all sizes."""
        layers = len(self.model.layers)
        for edges in filter(None, map(tokens.edges, EDGES)):
            yield [Knockout(edges, start, start + size) for size in self.sizes for start in range(layers - size + 1)]

    def count(self, tokens):
        return sum(map(len, self.batches(tokens)))

    def timed(self, call, tokens, batches):
        """Milliseconds per knockout."""
        start = self.clock()
        for batch in batches:
            call(tokens.ids, batch)
        return 1000 * (self.clock() - start) / sum(map(len, batches))

    def times(self, tokens):
        batches = list(self.batches(tokens))
        single = [[knockout] for batch in batches for knockout in batch][::7][:60]
        return {"one at a time": self.timed(self.model.logits, tokens, single), "batched": self.timed(self.model.logits, tokens, batches),
                "batched, cached": self.timed(self.model.cached_logits, tokens, batches)}

    def cached_gap(self, tokens):
        """Whole and cached forwards give the same answer: largest difference in log-probability."""
        batch = next(self.batches(tokens))[:40]
        whole, cached = (torch.log_softmax(call(tokens.ids, batch), -1)[:, tokens.answer] for call in (self.model.logits, self.model.cached_logits))
        return (whole - cached).abs().max().item()


def factflow_times(given, ids, counts, scratch):
    few, many = (run_factflow(given.factflow, configuration(given.model, given.dataset, some, given.windows, given.threads), scratch, given.threads)
                 for some in (ids[:given.speed_prompts[0]], ids))
    slope = 1000 * (many - few) / (counts[1] - counts[0])
    return {"factflow": slope, "factflow, whole process": 1000 * many / counts[1], "seconds that do not grow": many - slope * counts[1] / 1000}


def report(rounds, clock):
    print(f"  ms per knockout ({clock} time), median of rounds; how many times factflow's, median of ratios within rounds")
    for key in rounds[0]:
        ratio = statistics.median(took[key] / took["factflow"] for took in rounds)
        print(f"    {key:26} {statistics.median(took[key] for took in rounds):9.3f}" + (f"   x {ratio:.1f}" if "seconds" not in key else " s"))


def speed(given):
    """Always 0: speed is looked at, not judged."""
    kind = json.loads((given.model / "config.json").read_text())["model_type"]
    if kind in STATE_SPACE:
        print(f"speed: skipped, transformers has no knockouts in {kind}")
        return 0
    torch.set_num_threads(given.threads)
    library, everything, (few, many) = Library(given.model), read_prompts(given.dataset), given.speed_prompts
    chosen = sorted((everything[i] for i in spread(len(everything), many)), key=lambda prompt: prompt.number % 7919)  # the few are like the many
    tokens, ids = [library.tokens(prompt, "continuation") for prompt in chosen], [prompt.number for prompt in chosen]
    others = Transformers(given)
    counts = [sum(map(others.count, tokens[:n])) for n in (few, many)]
    print(f"speed: windows {given.windows}, all starts, {len(EDGES)} edges; {statistics.mean(len(t.ids) for t in tokens):.1f} tokens a prompt; "
          f"{given.threads} thread(s); factflow on {few} and {many} prompts = {counts[0]:,} and {counts[1]:,} knockouts")
    print(f"  cached and whole forwards differ by {others.cached_gap(tokens[0]):.1e} in the answer's log-probability")
    rounds = []
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(given.rounds):
            rounds.append(others.times(tokens[number % few]) | factflow_times(given, ids, counts, pathlib.Path(scratch)))
            print("   ", {key: round(value, 3) for key, value in rounds[-1].items()}, flush=True)
    report(rounds, "processor" if given.threads == 1 else "wall")
    return 0
