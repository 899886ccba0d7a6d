#!/usr/bin/env python3
"""Edits that factflow writes into a checkpoint are what it said they are: the checkpoint loads in transformers, which gives the answers the
probabilities that the run's results have for the edited model, and the checkpoint that was edited is as it was.

    edited_checkpoint.py --factflow build/factflow

Exit 0: all right; 1: wrong.
"""
import argparse
import hashlib
import pathlib
import shutil
import subprocess
import sys
import tempfile

import h5py
import torch
import transformers

from factflow_run import run_factflow

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = ["gpt2", "mamba", "mamba2"]
FACTS, LAYER = 3, 1
LIMIT = 1e-4  # of an NLL: float32 forwards of either, and what float32 cannot hold of an edit


def in_float32(source, target):
    """The demo's models are in float16, which rounds edits; this one holds them."""
    model = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    model.save_pretrained(target)
    shutil.copy(source / "tokenizer.json", target)


def configuration(directory):
    models = ", ".join(f"{{name: {name}, path: {directory / name}}}" for name in MODELS)
    return f"""name: referee
dataset: {{path: {ROOT / "demo/facts.jsonl"}, limit: 60}}
models: [{models}]
select: {{correct_for: all}}
edit: {{layers: [{LAYER}], prompts: {FACTS}, covariance: {{text: dataset}}, contexts: {{count: 0}}, search: {{lr: 0.1}}, save: true}}
run: {{device: cpu, precision: fp32, threads_per_rank: 1}}
"""


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def ids_of(text):
    return [int(one) for one in text.decode().split()]


def nll(model, prompt, answer):
    with torch.no_grad():
        logits = model(torch.tensor([prompt + answer[:-1]])).logits[0, len(prompt) - 1:]
    return -logits.double().log_softmax(-1)[range(len(answer)), answer].mean().item()


def check_model(program, directory, results, name):
    """How far transformers is from the results, over all facts and both answers."""
    before = digests(directory / name)
    edits, worst = results[name]["edit"], 0
    for row, fact in enumerate(edits["prompt"][:]):
        out = directory / f"{name}-{fact}"
        subprocess.run([program, "apply-edits", directory / "out", "--model", name, "--facts", str(fact), "--out", out], check=True,
                       stdout=subprocess.DEVNULL)
        model = transformers.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
        for answer in ["new", "true"]:
            found = nll(model, ids_of(edits["tokens"][row]), ids_of(edits[f"{answer}_tokens"][row]))
            worst = max(worst, abs(found - edits[f"{answer}_nll"][0, row, 0]))
    if digests(directory / name) != before:
        sys.exit(f"{name}: the checkpoint that was edited has changed")
    moved = abs(edits["new_nll"][0, :, 0] - edits["new_nll_before"][:, 0]).max()
    return worst, moved


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--factflow", required=True)
    program = parser.parse_args().factflow
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    wrong = 0
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        for name in MODELS:
            in_float32(ROOT / "demo/models" / name, scratch / name)
        run_factflow(program, configuration(scratch), scratch)
        with h5py.File(scratch / "out/results.h5") as results:
            for name in MODELS:
                worst, moved = check_model(program, scratch, results, name)
                wrong += worst > LIMIT or moved < 1
                print(f"{name}: {FACTS} edits; NLLs of transformers differ by {worst:.1e} at most (allowed {LIMIT:.0e}), and moved by up to {moved:.1f}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
