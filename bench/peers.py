#!/usr/bin/env python3
"""The same knockouts through factflow and through other libraries: values, milliseconds per knockout, lines of user code.

    peers.py MODEL --peer NAME=PYTHON ... [--facts demo/facts.jsonl] [--prompts 6] [--rounds 5] [--edge subject] [--window 5]

NAME is factflow, factflow_openblas, transformers, transformers_cached, transformer_lens or nnsight; PYTHON is the interpreter of a virtual
environment that has it (versions: docs/peers.md). MODEL is a directory of a Llama in the Hugging Face layout.

Every peer lives in a process of its own, on one thread, that has loaded the model. In every round each is given the same prompt and all starts
of the window, tokens of `edge` -> last, as one batch; factflow's time is that of `Model.sweep`, plan and tables included. Times are
processor times, which other work on the machine disturbs less, medians of rounds, ratios within rounds. The first round is not counted.
"""
import argparse
import inspect
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]


# ---- in a peer's process. A question: ids, text, subject, answer, its token; edges (target, source); windows [begin, end) ---------------------


class Factflow:
    blas = "torch"

    def __init__(self, path):
        import factflow as ff
        self.ff, self.model = ff, ff.Model(path, threads=1, self_check=False, blas=self.blas)
        self.layers = self.model.facts["layers"]

    def probabilities(self, asked):
        fact = self.ff.facts([(asked["text"], asked["subject"], asked["answer"])])
        begin, end = asked["windows"][0]
        return self.model.sweep(fact, [self.ff.block(asked["edge"], "last")], windows=end - begin).cells()["p"]


class FactflowOpenblas(Factflow):
    blas = "openblas"


class Transformers:
    """Hooks that give every layer a mask; logits of the last token alone."""

    call = "logits"

    def __init__(self, path):
        sys.path.insert(0, str(ROOT / "tests" / "referee"))
        import knockouts
        self.knockouts, self.model = knockouts, knockouts.Attention(path, torch.float32)
        self.layers = len(self.model.layers)

    def probabilities(self, asked):
        rows = [self.knockouts.Knockout(asked["edges"], *window) for window in asked["windows"]]
        return getattr(self.model, self.call)(asked["ids"], rows).softmax(-1)[:, asked["token"]]


class TransformersCached(Transformers):
    """The same, with keys and values of the tokens before the last one computed once: right because only the last one is a target."""

    call = "cached_logits"


class TransformerLens:
    """A hook on the attention scores of every layer in a window."""

    def __init__(self, path):
        from transformer_lens.model_bridge import TransformerBridge
        self.model = TransformerBridge.boot_transformers(path, device="cpu", dtype=torch.float32)
        self.layers = self.model.cfg.n_layers

    def probabilities(self, asked):
        targets, sources = map(list, zip(*asked["edges"]))
        hooks = []
        for layer in range(self.layers):
            rows = torch.tensor([i for i, (begin, end) in enumerate(asked["windows"]) if begin <= layer < end], dtype=torch.long)

            def cut(scores, hook, rows=rows):  # [batch, heads, target, source]
                for target, source in zip(targets, sources):
                    scores[rows, :, target, source] = float("-inf")
                return scores
            hooks.append((f"blocks.{layer}.attn.hook_attn_scores", cut))
        tokens = torch.tensor([asked["ids"]] * len(asked["windows"]))
        return self.model.run_with_hooks(tokens, fwd_hooks=hooks)[:, -1].softmax(-1)[:, asked["token"]]


class Nnsight:
    """A trace that gives the attention of every layer in a window another mask."""

    def __init__(self, path):
        from nnsight import LanguageModel
        self.model = LanguageModel(path, dtype=torch.float32, attn_implementation="eager", dispatch=True)
        self.layers = len(self.model.model.layers)

    def probabilities(self, asked):
        length, rows = len(asked["ids"]), len(asked["windows"])
        masks = torch.full((length, length), float("-inf")).triu(1).repeat(self.layers, rows, 1, 1, 1)
        for row, (begin, end) in enumerate(asked["windows"]):
            for target, source in asked["edges"]:
                masks[begin:end, row, 0, target, source] = float("-inf")
        with self.model.trace(torch.tensor([asked["ids"]] * rows)):
            for layer in range(self.layers):
                attention = self.model.model.layers[layer].self_attn
                arguments, named = attention.inputs
                named["attention_mask"] = masks[layer]
                attention.inputs = (arguments, named)
            logits = self.model.lm_head.output[:, -1].save()
        return logits.softmax(-1)[:, asked["token"]]


PEERS = {"factflow": Factflow, "factflow_openblas": FactflowOpenblas, "transformers": Transformers, "transformers_cached": TransformersCached,
         "transformer_lens": TransformerLens, "nnsight": Nnsight}


def serve(name, path):
    global torch
    import torch
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    peer = PEERS[name](path)
    print(json.dumps({"layers": peer.layers}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        start = time.process_time()
        told = [float(p) for p in peer.probabilities(asked)]
        print(json.dumps({"ms": 1000 * (time.process_time() - start) / len(told), "probabilities": told}), flush=True)


# ---- the one that asks ------------------------------------------------------------------------------------------------------------------------


class Peer:
    def __init__(self, name, python, path):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
        self.process = subprocess.Popen([python, __file__, "--serve", name, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env=environment)
        self.name, self.layers = name, self.told()["layers"]

    def told(self):
        while line := self.process.stdout.readline():
            if line.startswith("{"):  # libraries print as well
                return json.loads(line)
        sys.exit(f"{self.name} ended; its messages stand above")

    def asked(self, question):
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return self.told()


def question_of(words, fact, edge, layers, window):
    """ids and edges by the tokenizers library."""
    text, subject = fact["prompt"], fact["subject"]
    encoding, begin = words.encode(text), text.index(subject)
    inside = [i for i, (a, b) in enumerate(encoding.offsets) if max(a, begin) < min(b, begin + len(subject))]
    last = len(encoding.ids) - 1
    sources = {"subject": inside, "first": [0], "last": [last], "relation": [i for i in range(last + 1) if i not in inside]}[edge]
    answer = " " + fact.get("answer", fact.get("target_true", "")).strip()
    return {"text": text, "subject": subject, "answer": answer, "token": words.encode(answer, add_special_tokens=False).ids[0],
            "ids": encoding.ids, "edge": edge, "edges": [(last, source) for source in sources],
            "windows": [(start, start + window) for start in range(layers - window + 1)]}


def lines_of(peer):
    """Of user code: what loads the model and what asks, without the text that explains."""
    methods = [peer.__init__, peer.probabilities]
    return sum(1 for method in methods for line in inspect.getsource(method).splitlines() if line.strip() and "sys.path" not in line)


def main(given):
    import tokenizers
    words = tokenizers.Tokenizer.from_file(str(given.model / "tokenizer.json"))
    facts = [json.loads(line) for line in given.facts.read_text(encoding="utf-8").splitlines()][:given.prompts]
    peers = [Peer(*peer.split("=", 1), given.model) for peer in given.peer]
    rounds, largest = [], {peer.name: 0.0 for peer in peers}
    for number in range(given.rounds + 1):
        question = question_of(words, facts[number % len(facts)], given.edge, peers[0].layers, given.window)
        told = {peer.name: peer.asked(question) for peer in peers}
        first = told[peers[0].name]["probabilities"]
        for name, one in told.items():
            largest[name] = max([largest[name], *(abs(p - q) / q for p, q in zip(one["probabilities"], first, strict=True))])
        rounds.append({name: one["ms"] for name, one in told.items()})
    rounds, base = rounds[1:], peers[0].name
    print(f"{given.edge} -> last, window {given.window}, {len(question['windows'])} starts as one batch, {given.rounds} rounds, one thread")
    print(f"| | ms per knockout | times {base}'s | largest (p - p of {base}) / p | lines |\n|---|---|---|---|---|")
    for peer in peers:
        ms = statistics.median(one[peer.name] for one in rounds)
        ratio = statistics.median(one[peer.name] / one[base] for one in rounds)
        print(f"| {peer.name} | {ms:.2f} | {ratio:.1f} | {largest[peer.name]:.1e} | {lines_of(PEERS[peer.name])} |")
        peer.process.stdin.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(*sys.argv[2:4])
        sys.exit(0)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--peer", action="append", required=True, help="NAME=PYTHON; the first is what others are compared with")
    parser.add_argument("--facts", type=pathlib.Path, default=ROOT / "demo" / "facts.jsonl", help="JSON lines: prompt, subject, and answer or target_true")
    parser.add_argument("--prompts", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--edge", default="subject", choices=["subject", "first", "last", "relation"])
    parser.add_argument("--window", type=int, default=5)
    main(parser.parse_args())
