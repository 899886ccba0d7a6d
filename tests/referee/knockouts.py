"""Knockouts by Hugging Face transformers: whole forwards with a mask per layer, or the oracle's materialised mixers of state-space models."""
import contextlib
import json
import pathlib
import sys

import torch
import transformers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "oracle"))
from float64 import in_float64, lifted  # noqa: E402
from oracle import Oracle  # noqa: E402

STATE_SPACE = ("mamba", "mamba2", "falcon_mamba")


class Knockout:
    """`edges`, (target, source) pairs, are blocked in layers [begin, end)."""

    def __init__(self, edges, begin, end, channels="all"):
        self.edges, self.layers, self.channels = edges, range(begin, end), channels


class Attention:
    """A batch of knockouts of one prompt at once. Float64 is float64 throughout (float64.py), float32 the library's own."""

    def __init__(self, path, dtype, implementation="eager"):
        model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=dtype, attn_implementation=implementation).eval()
        self.model = in_float64(model) if dtype == torch.float64 else model
        self.around = lifted if dtype == torch.float64 else contextlib.nullcontext
        self.kind, self.dtype, self.masks, self.keyless = model.config.model_type, dtype, None, []
        base = getattr(model, model.base_model_prefix)
        self.layers = base.h if self.kind == "gpt2" else base.layers
        self.reach = []  # how many tokens back a layer sees, or None
        for i, layer in enumerate(self.layers):
            attention = layer.attn if self.kind == "gpt2" else layer.attention if self.kind == "gpt_neox" else layer.self_attn
            attention.register_forward_pre_hook(lambda module, args, kwargs, i=i: (args, self.with_mask(kwargs, i)), with_kwargs=True)
            output = attention.c_proj if self.kind == "gpt2" else attention.dense if self.kind == "gpt_neox" else attention.o_proj
            output.register_forward_pre_hook(lambda module, args, i=i: self.without_keyless(args, i))
            self.reach.append(model.config.sliding_window if self.kind == "mistral" else getattr(attention, "sliding_window", None))

    def with_mask(self, kwargs, layer):
        return kwargs if self.masks is None else dict(kwargs, attention_mask=self.masks[layer])

    def without_keyless(self, args, layer):
        return None if self.masks is None or self.keyless[layer] is None else args[0].masked_fill(self.keyless[layer][:, :, None], 0)

    def set_masks(self, length, knockouts, first_row=0):
        """For every layer 0 or -inf, [knockouts, 1, rows, tokens]. A token left without any key reads 0; a softmax over nothing would give NaN."""
        back = torch.arange(length)[:, None] - torch.arange(length)
        blocked = torch.zeros(len(knockouts), length, length, dtype=torch.bool)
        for i, knockout in enumerate(knockouts):
            if knockout is not None and knockout.edges:
                targets, sources = zip(*knockout.edges)
                blocked[i, list(targets), list(sources)] = True
        self.masks, self.keyless = [], []
        for layer, reach in enumerate(self.reach):
            unseen = (back < 0) | (back >= (reach or length))
            active = torch.tensor([knockout is not None and layer in knockout.layers for knockout in knockouts])
            cut = (unseen | blocked & active[:, None, None])[:, first_row:]
            keyless = cut.all(-1)
            self.keyless.append(keyless if bool(keyless.any()) else None)
            self.masks.append(torch.zeros(cut.shape, dtype=self.dtype).masked_fill(cut & ~keyless[:, :, None], float("-inf"))[:, None])

    @torch.inference_mode()
    def logits(self, ids, knockouts):
        """[knockouts, vocabulary] after the last token; None is the clean run."""
        self.set_masks(len(ids), knockouts)
        with self.around():
            return self.model(torch.tensor([ids] * len(knockouts)), use_cache=False, logits_to_keep=1).logits[:, -1]

    @torch.inference_mode()
    def cached_logits(self, ids, knockouts):
        """The same where every target is the last token: the tokens before it run once, unharmed."""
        self.masks = None
        cache = transformers.DynamicCache(config=self.model.config)
        if len(ids) > 1:
            getattr(self.model, self.model.base_model_prefix)(torch.tensor([ids[:-1]]), cache=cache, use_cache=True)
            cache.batch_repeat_interleave(len(knockouts))
        self.set_masks(len(ids), knockouts, len(ids) - 1)
        position = torch.full((len(knockouts), 1), len(ids) - 1)
        return self.model(torch.tensor([ids[-1:]] * len(knockouts)), cache=cache, position_ids=position, use_cache=True,
                          logits_to_keep=1).logits[:, -1]


class StateSpace:
    """Materialised mixers, one knockout at a time."""

    def __init__(self, path, dtype):
        self.oracle = Oracle(str(path), dtype)
        self.layers = self.oracle.layers

    def logits(self, ids, knockouts):
        return torch.stack([self.oracle.logits(ids, knockout and {
            "layers": list(knockout.layers), "targets": sorted({t for t, _ in knockout.edges}),
            "sources": sorted({s for _, s in knockout.edges}), "channels": knockout.channels}) for knockout in knockouts])


def referee(path, dtype):
    kind = json.loads((pathlib.Path(path) / "config.json").read_text())["model_type"]
    return StateSpace(path, dtype) if kind in STATE_SPACE else Attention(path, dtype)


def log_probabilities(model, ids, knockouts, at_once=64):
    """[knockouts, vocabulary], float64."""
    parts = [model.logits(ids, knockouts[i:i + at_once]).double() for i in range(0, len(knockouts), at_once)]
    return torch.log_softmax(torch.cat(parts), -1)
