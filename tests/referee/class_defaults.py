"""Each key of config.json left out: factflow gives it the value of the library's class.

    class_defaults.py --factflow build/factflow [--seed 1 --count 200] [--families opt,phi3]

For every family and each key of the configurations of full_configs.py, also of the dictionaries inside, a tiny model without that key: factflow's
answers are those of transformers in float64 (1e-8, as in checkpoints.py), or both refuse and factflow names the key, or one that stays and makes no
sense without it. Where the default is so large
that the model is not tiny, the weights of the whole configuration stay, and factflow's refusal of their shapes must name the key with the
library's value. --count takes a random part of all; 0, the default, all.

Every field of a class must stand in full_configs.py, but for those that change no output.
"""
import dataclasses
import json
import pathlib
import random
import re
import sys
import tempfile
import warnings

import torch
import transformers
from safetensors.torch import save_file

from common import Tally, arguments
from full_configs import FULL
from random_weights import as_saved, scaled
from verify_many import folder_of, verify_all
from wide_library import WideModel

TOLERANCE = 1e-8
TINY = 600_000  # parameters
# Fields that change nothing after the last token.
SILENT = re.compile(r".*(dropout|pdrop|token_id|initializer|init_).*|use_cache|output_router_logits|router_\w+|num_logits_to_keep|summary_\w+|"
                    r"use_mamba\w*|use_associative_scan|time_step_(max|scale|floor|init_scheme)|rescale_prenorm_residual|pretraining_tp|layerdrop|"
                    r"z_loss_coefficient|linear_(a_log|dt)_\w+|w_init_variance_scale|chunk_size|mamba_chunk_size|init_std|is_decoder|"
                    r"mamba_ssm_cache_dtype|mtp_\w+|num_nextn_predict_layers|moe_shared_expert_overlap|block_\w+init|dtype")
# Fields that a class has and does not read, or that say what another key does.
UNREAD = {"falcon_mamba": {"expand", "time_step_min"}, "mamba": {"time_step_min"}, "mamba2": {"time_step_rank", "time_step_min"},
          "nemotron_h": {"attention_bias", "sliding_window", "expand", "time_step_limit", "mamba_proj_bias", "residual_in_fp32", "use_bias",
                         "tie_word_embeddings", "max_position_embeddings"}}


# Without them factflow refuses what stays of a scaling, of windows or of other layers; the library forgets it, or half of it.
SWITCHES = ("rope_type", "type", "use_sliding_window", "hybrid_override_pattern")


class Question:
    """A configuration without one key; `path` is where it stood."""

    def __init__(self, family, full, path):
        self.family, self.full, self.path = family, full, path
        self.config = json.loads(json.dumps({"model_type": family, "pad_token_id": 0, **full}))
        place = self.config
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]
        self.key, self.name = path[-1], ".".join(path)
        self.library_error = ""
        self.default = None  # of a size that makes the model large


def paths(config, above=()):
    for key, value in config.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from paths(value, (*above, key))


def unasked(family):
    """Fields of the class that no configuration of the table has."""
    fields = {field.name for field in dataclasses.fields(type(transformers.AutoConfig.for_model(family)))}
    own = fields - {field.name for field in dataclasses.fields(transformers.PretrainedConfig)} | fields & {"tie_word_embeddings"}
    asked = {key for full in FULL[family] for key in full}
    return sorted(key for key in own - asked - UNREAD.get(family, set()) if not SILENT.fullmatch(key))


def parameters(config):
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    return sum(value.numel() for value in model.parameters())


def fill(model, seed):
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                value.copy_(scaled(name, value))


def write(folder, config, wide, cases):
    tensors = as_saved(wide.model)
    if wide.model.config.tie_word_embeddings and wide.model.config.model_type != "nemotron_h":
        tensors.pop("lm_head.weight", None)
    save_file({name: value.clone().contiguous() for name, value in tensors.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "cases.json").write_text(json.dumps(cases))


def made(folder, config, seed):
    """The library's model of the config.json in `folder`; ValueError if it is not tiny."""
    (folder / "config.json").write_text(json.dumps(config))
    library = transformers.AutoConfig.from_pretrained(folder)
    if parameters(library) > TINY:
        raise OverflowError
    wide = WideModel(library)
    fill(wide.model, seed)
    return wide


def cases_of(wide, vocabulary, seed):
    rng, cases = random.Random(seed), []
    for length in (1, 6, 13):
        ids = [rng.randrange(vocabulary) for _ in range(length)]
        p = wide.logits(ids).softmax(-1)
        for answer in {int(p.argmax()), rng.randrange(vocabulary)}:
            cases.append({"ids": ids, "answer": answer, "clean": float(p[answer]), "knockouts": [], "probs": []})
    return cases


def ask(question, folder, seed):
    config, whole = question.config, {"model_type": question.family, "pad_token_id": 0, **question.full}
    try:
        wide = made(folder, config, seed)
        write(folder, config, wide, cases_of(wide, wide.model.config.vocab_size, seed))
        return
    except OverflowError:
        question.default = getattr(transformers.AutoConfig.from_pretrained(folder), question.key)
    except Exception as problem:  # whatever the library throws at a configuration that is not whole
        question.library_error = f"{type(problem).__name__}: {problem}".splitlines()[0]
    wide = made(folder, whole, seed)
    write(folder, config, wide, [{"ids": [1], "answer": 1, "clean": 0.5, "knockouts": [], "probs": []}])


def verdict(question, code, line):
    """As in checkpoints.py: "" for agreement, None for a refusal with its reason, else what is wrong."""
    told = f"{question.family} without {question.name}: "
    if code not in (0, 1, 2):
        return told + f"ends with exit code {code}: {line}"
    if question.default is not None and question.key not in SWITCHES:
        named = code == 2 and f"{question.key} ({question.default})" in line
        return "" if named else told + f"expected a refusal that names {question.key} ({question.default}), found: {line}"
    contradicts = question.library_error or question.key in SWITCHES
    if contradicts and code == 2 and named_key(line) in {question.name, *map(".".join, paths(question.config))}:
        return None
    if question.library_error:
        return told + f"the library says {question.library_error}, factflow: {line}"
    return "" if code == 0 else told + line


def named_key(line):
    return (re.findall(r": key ([\w.]*\w)", line) or [""])[0]


def questions_of(families):
    return [Question(family, full, path) for family in families for full in FULL[family] for path in paths(full)]


def main():
    options = arguments(__doc__.splitlines()[0], families=tuple(FULL), count=0)
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    warnings.filterwarnings("ignore", message="Initializing zero-element tensors")
    torch.set_num_threads(1)
    families = options.families or tuple(FULL)
    tally, missing = Tally("default", options.seed), {family: unasked(family) for family in families if unasked(family)}
    for family, keys in missing.items():
        tally.fail(0, f"{family}: full_configs.py has no {', '.join(keys)}")
    questions = questions_of(families)
    numbers = list(range(len(questions)))
    if options.count:
        numbers = sorted(random.Random(options.seed).sample(numbers, min(options.count, len(numbers))))
    if options.only is not None:
        numbers = [options.only]
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        folders = [folder_of(root, number) for number in numbers]
        for number, folder in zip(numbers, folders):
            ask(questions[number], folder, options.seed)
        for number, (code, line) in zip(numbers, verify_all(options.factflow, folders, TOLERANCE)):
            tally.count(number, verdict(questions[number], code, line))
            if options.only is not None:
                print(json.dumps(questions[number].config), questions[number].library_error, code, line, sep="\n")
    return tally.close(least_agreed=len(numbers) // 2 if options.only is None else 0)


if __name__ == "__main__":
    sys.exit(main())
