"""Whole forwards of GPT-2 and Mamba-1 in numpy's float64 that block edges by materialising every mixing matrix. Written from the papers and
docs/knockouts.md; shares nothing with factflow, not even a library."""
import numpy as np


class Knockout:
    """Layers [begin, end) in which no target reads a source, on the channels of the set ("all", "slow", "fast")."""

    def __init__(self, targets=(), sources=(), begin=0, end=0, channels="all"):
        self.begin, self.end, self.channels = begin, end, channels
        self.targets, self.sources = list(targets), list(sources)

    def pairs(self, tokens, layer):
        """[target, source] bool: the edges that are cut in this layer."""
        cut = np.zeros((tokens, tokens), bool)
        if self.begin <= layer < self.end:
            cut[np.ix_(self.targets, self.sources)] = True
        return cut


def log_softmax(logits):
    shifted = logits - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


def silu(x):
    return x / (1 + np.exp(-x))


class Gpt2:
    def __init__(self, config, tensors):
        self.layers, self.heads, self.epsilon = config["n_layer"], config["n_head"], config["layer_norm_epsilon"]
        self.weights = {name: array.astype(np.float64) for name, array in tensors.items() if not name.endswith(".attn.bias")}

    def norm(self, x, name):
        centred = x - x.mean(1, keepdims=True)
        scale = np.sqrt((centred * centred).mean(1, keepdims=True) + self.epsilon)
        return centred / scale * self.weights[name + ".weight"] + self.weights[name + ".bias"]

    def project(self, x, name):
        return x @ self.weights[name + ".weight"] + self.weights[name + ".bias"]

    def attend(self, x, layer, knockout):
        tokens, width = x.shape
        q, k, v = self.project(x, f"h.{layer}.attn.c_attn").reshape(tokens, 3, self.heads, -1).transpose(1, 2, 0, 3)
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(width // self.heads)
        scores[:, ~np.tri(tokens, dtype=bool) | knockout.pairs(tokens, layer)] = -np.inf
        top = scores.max(2, keepdims=True)
        share = np.exp(scores - np.where(np.isfinite(top), top, 0))
        total = share.sum(2, keepdims=True)
        share /= np.where(total > 0, total, 1)  # a token left with no key reads 0
        return self.project((share @ v).transpose(1, 0, 2).reshape(tokens, width), f"h.{layer}.attn.c_proj")

    def log_probabilities(self, ids, knockout):
        x = self.weights["wte.weight"][ids] + self.weights["wpe.weight"][:len(ids)]
        for i in range(self.layers):
            x = x + self.attend(self.norm(x, f"h.{i}.ln_1"), i, knockout)
            inner = self.project(self.norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc")
            inner = 0.5 * inner * (1 + np.tanh(np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3)))
            x = x + self.project(inner, f"h.{i}.mlp.c_proj")
        return log_softmax(self.norm(x[-1:], "ln_f")[0] @ self.weights["wte.weight"].T)


class Mamba:
    def __init__(self, config, tensors):
        self.layers, self.epsilon = config["num_hidden_layers"], config["layer_norm_epsilon"]
        self.inner, self.states = config["intermediate_size"], config["state_size"]
        self.rank, self.taps = config["time_step_rank"], config["conv_kernel"]
        self.weights = {name.removeprefix("backbone."): array.astype(np.float64) for name, array in tensors.items()}

    def norm(self, x, name):
        return x / np.sqrt((x * x).mean(1, keepdims=True) + self.epsilon) * self.weights[name]

    def losing(self, a_log, channels):
        """[channel] bool: which channels lose the edge."""
        if channels == "all":
            return np.ones(self.inner, bool)
        slowest_first = np.argsort(-np.exp(-np.exp(a_log)).sum(1), kind="stable")
        third = self.inner // 3
        chosen = np.zeros(self.inner, bool)
        chosen[slowest_first[:third] if channels == "slow" else slowest_first[-third:]] = True
        return chosen

    def mix(self, x, dt, b, c, mixer, layer, knockout):
        """y[t] = sum over s <= t of M[t, s] x[s], with the cut entries of M left out; x, dt [tokens, channel]; b, c [tokens, state]."""
        a_log = self.weights[mixer + "A_log"]
        losing = self.losing(a_log, knockout.channels)
        cut = knockout.pairs(len(x), layer)
        elapsed = np.cumsum(dt, 0)
        y = np.zeros_like(x)
        for t in range(len(x)):
            for s in range(t + 1):
                decay = np.exp(-np.exp(a_log) * (elapsed[t] - elapsed[s])[:, None])
                share = (decay @ (c[t] * b[s])) * dt[s] * x[s]
                y[t] += np.where(cut[t, s] & losing, 0, share)
        return y

    def mixer(self, hidden, layer, knockout):
        mixer = f"layers.{layer}.mixer."
        x, z = np.split(hidden @ self.weights[mixer + "in_proj.weight"].T, 2, 1)
        padded = np.concatenate([np.zeros((self.taps - 1, self.inner)), x])
        kernel = self.weights[mixer + "conv1d.weight"][:, 0]
        x = silu(sum(padded[k:k + len(x)] * kernel[:, k] for k in range(self.taps)) + self.weights[mixer + "conv1d.bias"])
        low_rank, b, c = np.split(x @ self.weights[mixer + "x_proj.weight"].T, [self.rank, self.rank + self.states], 1)
        dt = np.logaddexp(0, low_rank @ self.weights[mixer + "dt_proj.weight"].T + self.weights[mixer + "dt_proj.bias"])
        y = self.mix(x, dt, b, c, mixer, layer, knockout) + self.weights[mixer + "D"] * x
        return (y * silu(z)) @ self.weights[mixer + "out_proj.weight"].T

    def log_probabilities(self, ids, knockout):
        x = self.weights["embeddings.weight"][ids]
        for i in range(self.layers):
            x = x + self.mixer(self.norm(x, f"layers.{i}.norm.weight"), i, knockout)
        return log_softmax(self.norm(x[-1:], "norm_f.weight")[0] @ self.weights["embeddings.weight"].T)


def model_of(config, tensors):
    return (Gpt2 if config["model_type"] == "gpt2" else Mamba)(config, tensors)
