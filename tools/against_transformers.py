#!/usr/bin/env python3
"""Holds factflow against Hugging Face transformers on one checkpoint, and both against the clock.

    tools/against_transformers.py MODEL [--checks tokens values speed] [--dataset FILE] [--factflow build/factflow]

tokens  every prompt of the data set, by both rules of `select: {answer: ..}`: ids, offsets, the subject's tokens, the answer's token, and
        whether the prompt's tokens change when the answer follows; against the tokenizer that transformers makes of MODEL.
values  `factflow run` on prompts spread over the data set: clean answers, their likeliest tokens, a sweep and heat maps, against whole forwards of
        transformers in float64 throughout with a mask per layer (state-space models: tests/oracle/oracle.py's materialised mixers). The measure is
        `verify`'s, |p - q| / (q + 1e-6). fp64 is asked for 1e-6, fp32 for max(1e-4, 3 x what transformers in float32 is off by itself).
speed   (attention models) milliseconds per knockout, taken in turns in every round: transformers one forward at a time; all windows of an edge as
        one batch; the same with the keys and values of the other tokens cached (only right because the target is the last token); factflow as the
        slope between two numbers of prompts (loading cancels) and as the whole process. Medians, and ratios within rounds.

Needs the environment of tools/python_environment.sh. Exit code 1 if anything differs.
"""
import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests/referee"))
import transformers  # noqa: E402

import compare_speed  # noqa: E402
import compare_tokens  # noqa: E402
import compare_values  # noqa: E402

CHECKS = {"tokens": compare_tokens.tokens, "values": compare_values.values, "speed": compare_speed.speed}
ROOT = pathlib.Path(__file__).resolve().parents[1]


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path, help="a Hugging Face directory")
    parser.add_argument("--checks", nargs="+", choices=CHECKS, default=list(CHECKS))
    parser.add_argument("--dataset", type=pathlib.Path, default=ROOT / "demo/facts.jsonl", help="default: demo/facts.jsonl")
    parser.add_argument("--factflow", default=str(ROOT / "build/factflow"), help="default: build/factflow")
    parser.add_argument("--windows", type=int, nargs="+", default=[1, 5, 9], help="sizes; default: 1 5 9")
    values = parser.add_argument_group("values")
    values.add_argument("--prompts", type=int, default=20)
    values.add_argument("--starts", type=int, default=4, help="that many starts of each window, spread over the layers")
    values.add_argument("--precision", nargs="+", choices=["fp32", "fp64"], default=["fp32", "fp64"])
    speed = parser.add_argument_group("speed")
    speed.add_argument("--speed-prompts", type=int, nargs=2, default=[4, 24], metavar=("FEW", "MANY"))
    speed.add_argument("--rounds", type=int, default=3)
    speed.add_argument("--threads", type=int, default=1)
    speed.add_argument("--attention", choices=["eager", "sdpa"], default="eager", help="of transformers")
    given = parser.parse_args()
    given.model = given.model.resolve()
    return given


def main():
    given = options()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return max([CHECKS[check](given) for check in given.checks])


if __name__ == "__main__":
    sys.exit(main())
