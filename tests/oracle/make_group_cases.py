"""make_group_cases.py SITES DIR: the oracle's answers on a Mamba-2 of several groups.

SITES is the directory of a checkpoint with site_cases.json, whose prompts and clean answers another forward of ours gave; DIR gets the
checkpoint and cases.json, with the edges of make_cases.py in windows of every kind.
"""
import json
import os
import shutil
import sys

import torch

from oracle import Oracle


def knockouts(length, layers):
    last, subject = length - 1, [2, 3]
    rest = [i for i in range(length) if i not in subject]
    edges = [([last], subject, "all"), ([last], [last], "all"), ([last], rest, "all"), (rest, subject, "all"), (subject, [0, 1], "all"),
             ([last], list(range(length)), "all")] + [([last], subject, part) for part in ("slow", "fast", "not-slow", "not-fast")]
    for start, width in ((0, 1), (0, layers), (2, 3), (layers - 1, 1)):
        for targets, sources, channels in edges:
            yield dict(layers=list(range(start, start + width)), targets=targets, sources=sources, channels=channels)


def answered(oracle, ids, answer):
    clean = oracle.logits(ids)
    knocks = list(knockouts(len(ids), len(oracle.layers)))
    probability = [torch.softmax(logits, -1)[answer].item() for logits in [clean] + [oracle.logits(ids, k) for k in knocks]]
    return dict(ids=ids, answer=answer, clean=probability[0], clean_logits=[round(v, 12) for v in clean.tolist()], knockouts=knocks,
                probs=probability[1:])


def main(source, to):
    os.makedirs(to, exist_ok=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copy(f"{source}/{name}", f"{to}/{name}")
    oracle, cases = Oracle(source), []
    for known in json.load(open(f"{source}/site_cases.json")):
        cases.append(answered(oracle, known["ids"], known["answer"]))
        assert abs(cases[-1]["clean"] - known["clean"]) < 1e-11, "the two forwards differ"
    json.dump(cases, open(f"{to}/cases.json", "w"))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
