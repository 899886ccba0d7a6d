#!/usr/bin/env python3
"""A whole run from files such as a cluster's disk holds: sharded random-weight checkpoints in the shapes of mamba-130m-hf and gpt2, the real
tokenizers, COUNTERFACT prompts; two ranks on the CPU, then the analysis. Checks that the results are complete, that tokens are those of
the Hugging Face library, and that sampled answers are those of an independent float64 forward (forward.py).

Usage: run.py FACTFLOW [--small] [--keep DIRECTORY]. Needs the public data beside the checkout (../shared).
Exit 0: all right; 1: wrong; 77: skipped, the data or a Python package is missing.
"""
import argparse
import json
import math
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

try:
    import h5py
    import numpy as np
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(77)

import checkpoints
from forward import Knockout, model_of

SHARED = pathlib.Path(__file__).resolve().parents[4] / "shared"
EDGES = ["subject->last", "relation->last", "last->last", "first->last"]
CHANNEL_EDGES = ["subject->last/slow", "subject->last/fast"]
HEATMAPS = 3


def configuration(directory, names, ids, windows):
    models = "".join(f"  - {{name: {name}, path: '{directory / name}'}}\n" for name in names)
    return f"""name: real-files
dataset: {{path: '{SHARED / "data/counterfact.jsonl"}', ids: {ids}}}
models:
{models}select: {{correct_for: none, answer: first-token}}
sweep:
  windows: {{sizes: {windows}}}
  knockouts:
    - {{from: [subject, relation, last, first], to: last}}
    - {{from: subject, to: last, channels: [slow, fast]}}
heatmaps: {{window: {windows[0]}, prompts: {HEATMAPS}}}
run: {{device: cpu, precision: fp32, threads_per_rank: 1}}
"""


def launch(command):
    """Runs it; returns seconds."""
    start = time.monotonic()
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    ended = subprocess.run(command, env=os.environ | root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ended.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit code {ended.returncode}\n{ended.stdout}")
    return time.monotonic() - start


class Checks:
    """Compares one model's results; collects what is wrong and the largest errors seen."""

    def __init__(self, group, model, rows):
        self.group, self.model, self.rows = group, model, {row["case_id"]: row for row in rows}
        self.wrong, self.worst_clean, self.worst_knockout, self.compared, self.moved = [], 0.0, 0.0, 0, 0
        self.prompts = group["evaluation/prompt"][:].tolist()
        self.edges = EDGES + ([] if group.attrs["family"] == "gpt2" else CHANNEL_EDGES)

    def expect(self, condition, what):
        if not condition:
            self.wrong.append(what)

    def tokens(self):
        """All prompts: the library's tokens, subject and answer."""
        evaluation = self.group["evaluation"]
        found = zip(self.prompts, *(evaluation[key][:].tolist() for key in ("token_count", "subject_begin", "subject_end", "answer_token")))
        for prompt, *numbers in found:
            row = self.rows[prompt]
            self.expect(numbers == [len(row["ids"]), *row["subject_tokens"], row["answer_ids"][0]], f"prompt {prompt}: tokens {numbers}")

    def complete(self, windows):
        """All windows: every cell is there, and only edges that a prompt has."""
        self.expect(self.group["knockout/edge"].asstr()[:].tolist() == self.edges, "edges differ from the configuration")
        self.expect(self.group["knockout/prompt"][:].tolist() == self.prompts, "not every prompt is swept")
        blocked = self.group["knockout/edges"][:]
        for e, label in enumerate(self.edges):
            for i, prompt in enumerate(self.prompts):
                self.expect(blocked[e, i] == len(self.sources(label, prompt)), f"{label}, prompt {prompt}: {blocked[e, i]} edges")
        for size in windows:
            window = self.group[f"knockout/window_{size}"]
            probability, rank = window["probability"][:], window["rank"][:]
            self.expect(probability.shape == (len(self.edges), len(self.prompts), self.group.attrs["layers"] - size + 1), f"window {size}: shape")
            there = np.broadcast_to((blocked > 0)[:, :, None], rank.shape)
            self.expect(bool(((rank > 0) == there).all() and (np.isfinite(probability) == there).all()), f"window {size}: cells are missing")

    def sources(self, label, prompt):
        row = self.rows[prompt]
        begin, end = row["subject_tokens"]
        everything = range(len(row["ids"]))
        return {"subject": list(range(begin, end)), "relation": [t for t in everything if not begin <= t < end],
                "last": [everything[-1]], "first": [0]}[label.split("->")[0]]

    def compare(self, prompt, knockout, probability, rank, where):
        """A stored answer against the independent forward; returns the relative error of its probability."""
        row = self.rows[prompt]
        log_p = self.model.log_probabilities(row["ids"], knockout)
        answer = log_p[row["answer_ids"][0]]
        error = abs(probability - math.exp(answer)) / math.exp(answer)
        likelier = [1 + int((log_p > answer + slack).sum()) for slack in (1e-3, -1e-3)]  # float32 may swap near ties
        self.expect(error < 1e-3, f"{where}: probability {probability}, expected {math.exp(answer)}")
        self.expect(rank is None or likelier[0] <= rank <= likelier[1], f"{where}: rank {rank}, expected {likelier}")
        self.compared += 1
        return error

    def answers(self, windows, prompts):
        """Clean runs, each edge in each window size at three starts, and one heat map of some prompts."""
        clean = self.group["evaluation"]
        layers = int(self.group.attrs["layers"])
        for i in np.linspace(0, len(self.prompts) - 1, prompts).astype(int):
            prompt = self.prompts[i]
            error = self.compare(prompt, Knockout(), clean["probability"][i], clean["rank"][i], f"prompt {prompt}, clean")
            self.worst_clean = max(self.worst_clean, error)
            last = [len(self.rows[prompt]["ids"]) - 1]
            for e, label in enumerate(self.edges):
                for size in windows:
                    window = self.group[f"knockout/window_{size}"]
                    for start in sorted({0, (layers - size) // 2, layers - size}):
                        cut = Knockout(last, self.sources(label, prompt), start, start + size, label.partition("/")[2] or "all")
                        probability = window["probability"][e, i, start]
                        self.moved += abs(probability / clean["probability"][i] - 1) > 0.01
                        error = self.compare(prompt, cut, probability, window["rank"][e, i, start],
                                             f"prompt {prompt}, {label}, layers {start} to {start + size - 1}")
                        self.worst_knockout = max(self.worst_knockout, error)
        self.expect(self.moved > self.compared / 3, f"only {self.moved} of {self.compared} answers moved by a percent: nothing is tested")
        self.heatmap(windows[0])

    def heatmap(self, size):
        maps = self.group[f"heatmap/window_{size}"]
        names = [name for name in maps if name.isdigit()]
        self.expect(len(names) == HEATMAPS, f"{len(names)} heat maps")
        for name in names:
            cells, prompt = maps[name][:], int(name)
            tokens = len(self.rows[prompt]["ids"])
            self.expect(cells.shape == (tokens, self.group.attrs["layers"] - size + 1) and bool(np.isfinite(cells).all()), f"heat map {name}")
        for token in range(tokens):
            error = self.compare(prompt, Knockout([tokens - 1], [token], 0, size), cells[token, 0], None, f"heat map {name}, token {token}")
            self.worst_knockout = max(self.worst_knockout, error)


def check(results, models, rows, windows, prompts):
    """Prints what was compared; returns how much is wrong."""
    wrong = 0
    with h5py.File(results) as file:
        if int(file.attrs["complete"]) != 1 or len(file["failures/prompt"]) != 0:
            sys.exit("the results are not complete, or list failures")
        for name, model in models.items():
            checks = Checks(file[name], model, rows[name])
            checks.tokens()
            checks.complete(windows)
            checks.answers(windows, prompts)
            print(f"{name}: {len(checks.prompts)} prompts have the library's tokens; {checks.compared} answers compared, largest relative "
                  f"error of a clean one {checks.worst_clean:.1e}, of a knockout {checks.worst_knockout:.1e}")
            for line in checks.wrong[:10]:
                print(f"WRONG {name}: {line}")
            wrong += len(checks.wrong)
    return wrong


def run(arguments, directory):
    models, rows = {}, {}
    for seed, (name, (config, tokenizer, shard)) in enumerate(checkpoints.configs(arguments.small).items()):
        tensors, shards, size = checkpoints.write_checkpoint(directory / name, config, SHARED / "tokenizers" / tokenizer, shard, seed)
        print(f"{name}: {sum(a.size for a in tensors.values()) / 1e6:.1f} M numbers, {size / 2**20:.0f} MiB in {shards} shards", flush=True)
        models[name] = model_of(config, tensors)
        rows[name] = json.loads((SHARED / "oracle/tokenizers" / f"{tokenizer}.json").read_text())["rows"]
    ids = [row["case_id"] for row in rows["gpt2"]][:40 if arguments.small else None]
    windows = [2, 1] if arguments.small else [9, 3]
    (directory / "sweep.yaml").write_text(configuration(directory, models, ids, windows))
    out = directory / "out"
    for name in models:
        launch([arguments.factflow, "check", "--model", directory / name, "--device", "cpu"])
    seconds = launch(["mpirun", "--oversubscribe", "-n", "2", arguments.factflow, "run", directory / "sweep.yaml", "--out", out])
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    processor = resource.getrusage(resource.RUSAGE_CHILDREN)
    analysis = launch([arguments.factflow, "analyse", out])
    print(f"{len(ids)} prompts, windows {windows}: {seconds:.1f} s with two ranks ({processor.ru_utime + processor.ru_stime:.0f} s of processor "
          f"time, checks included), largest process {peak:.0f} MiB resident, mapped weights included; analysis {analysis:.1f} s; "
          f"results.h5 {(out / 'results.h5').stat().st_size / 2**20:.1f} MiB", flush=True)
    for made in ("report.html", "tables/curves.csv", "tables/effects.csv"):
        if not (out / made).is_file() or (out / made).stat().st_size == 0:
            sys.exit(f"the analysis made no {made}")
    return 1 if check(out / "results.h5", models, rows, windows, 4 if arguments.small else 6) else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("factflow")
    parser.add_argument("--small", action="store_true", help="narrow models, 40 prompts: seconds")
    parser.add_argument("--keep", metavar="DIRECTORY", help="write here and leave everything (2 GB)")
    arguments = parser.parse_args()
    if not (SHARED / "data/counterfact.jsonl").exists():
        print("skipped: needs", SHARED / "data/counterfact.jsonl")
        return 77
    if arguments.keep:
        return run(arguments, pathlib.Path(arguments.keep))
    with tempfile.TemporaryDirectory(prefix="factflow-real-files-") as directory:
        return run(arguments, pathlib.Path(directory))


if __name__ == "__main__":
    sys.exit(main())
