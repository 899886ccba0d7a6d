"""Random checkpoints of every family: factflow agrees with transformers, or refuses and names what it refuses.

    checkpoints.py --factflow build/factflow --seed 7 --count 100 [--families opt,phi3]

Seven in ten checkpoints are unusual but right and must be answered; the others have a twist (checkpoint_twists.py). The
numbers are those of the library in float64 throughout (tests/oracle/float64.py): 1e-8 by `verify`'s measure
|p - q| / (q + 1e-6). Exit code 1, and one line each, for every answer that differs, every refusal that does not name
what is unusual, and every contradiction that is taken.
"""
import json
import pathlib
import random
import re
import sys
import tempfile

import torch
import transformers
from safetensors.torch import save_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "oracle"))
from checkpoint_configs import FAMILIES, NEWER, config_for, mamba_ssm_config  # noqa: E402
from checkpoint_twists import TWISTS, Checkpoint  # noqa: E402
from common import Tally, arguments  # noqa: E402
from float64 import in_float64, lifted  # noqa: E402
from random_weights import as_saved, scaled  # noqa: E402
from verify_many import alone, folder_of, verify_all  # noqa: E402
from wide_library import WideModel  # noqa: E402

TOLERANCE = 1e-8
PLAIN = 0.7  # share of checkpoints without a twist
TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def random_tensors(config, rng):
    """What the library would save of a random model."""
    torch.manual_seed(rng.randrange(1 << 30))
    model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**json.loads(json.dumps(config))))
    tensors = {name: scaled(name, value) for name, value in as_saved(model).items()}
    if config["model_type"] == "gpt_neox" and rng.random() < 0.3:  # saved under the name of transformers 4; 5 takes its own as well
        tensors["lm_head.weight"] = tensors.pop("embed_out.weight")
    return tensors


def with_old_buffers(config, tensors, rng):
    """What early versions saved beside the weights."""
    layers = config.get("num_hidden_layers", config.get("n_layer"))
    attention = {"gpt2": "transformer.h.{}.attn.", "gpt_neox": "gpt_neox.layers.{}.attention."}.get(config["model_type"])
    if attention is None or rng.random() > 0.3:
        return tensors
    mask = torch.tril(torch.ones(48, 48, dtype=rng.choice([torch.uint8, torch.bool, torch.float32]))).view(1, 1, 48, 48)
    more = {}
    for layer in range(layers):
        more[attention.format(layer) + "bias"] = mask.clone()
        more[attention.format(layer) + "masked_bias"] = torch.tensor(rng.choice([-1e4, -1e9]))
    return {**tensors, **more}


def as_stored(tensors, rng):
    """Rounded to one type of file, or to one for each tensor; what was one tensor stays one."""
    common, done = rng.choice(TYPES), {}
    mixed = rng.random() < 0.2
    for value in tensors.values():
        kind = rng.choice(TYPES) if mixed else common
        done.setdefault(id(value), value.to(kind) if value.is_floating_point() else value)
    return {name: done[id(value)] for name, value in tensors.items()}


def listed(name, rng):
    """Indexes forget what nothing reads."""
    return not name.endswith((".attn.bias", ".attention.bias", ".masked_bias", ".inv_freq")) or rng.random() < 0.7


def write_weights(folder, tensors, rng):
    pickled, shards = rng.random() < 0.3, rng.choice([1, 1, 2, 3])
    name, ending = ("pytorch_model", "bin") if pickled else ("model", "safetensors")
    names = sorted(tensors)
    rng.shuffle(names)
    parts = [part for part in (names[i::shards] for i in range(shards)) if part]
    files = [f"{name}.{ending}"] if len(parts) == 1 else [f"{name}-{i + 1:05}-of-{len(parts):05}.{ending}" for i in range(len(parts))]
    for file, part in zip(files, parts):
        values = {key: tensors[key] for key in part}
        if pickled:
            torch.save(values, folder / file)
        else:
            save_file({key: value.clone().contiguous() for key, value in values.items()}, folder / file, metadata={"format": "pt"})
    if len(parts) > 1:
        index = {"metadata": {}, "weight_map": {key: file for file, part in zip(files, parts) for key in part if listed(key, rng)}}
        (folder / f"{name}.{ending}.index.json").write_text(json.dumps(index))


def make(number, seed, families=FAMILIES):
    """A checkpoint to write: plain or with a twist."""
    rng = random.Random(f"{seed} {number}")
    family = families[number % len(families)]
    config, unusual = config_for(rng, family)
    try:
        tensors = random_tensors(config, rng)
    except Exception:  # the library has no such model; factflow must say why
        tensors = {"lm_head.weight": torch.zeros(2)}
    checkpoint = Checkpoint(family, config, with_old_buffers(config, tensors, rng), unusual)
    if checkpoint.is_tied() and checkpoint.embedding in tensors:
        checkpoint.tensors[checkpoint.head] = tensors[checkpoint.embedding]
    if rng.random() > PLAIN:
        rng.choice(TWISTS)(checkpoint, rng)
    elif checkpoint.is_tied() and rng.random() < 0.5:
        checkpoint.tensors.pop(checkpoint.head, None)
    checkpoint.tensors = as_stored(checkpoint.tensors, rng)
    if rng.random() < 0.15 and not checkpoint.must_refuse:  # as the base model alone is saved
        checkpoint.tensors = {name.removeprefix(checkpoint.prefix): value for name, value in checkpoint.tensors.items()}
    return checkpoint, rng


def logits_of(folder, family):
    """ids -> logits after the last token, in float64. Raises what the library raises."""
    if family in NEWER:
        return WideModel.of(folder).logits
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager", output_loading_info=True)
    missing, misshapen = info["missing_keys"], info["mismatched_keys"]
    if missing or misshapen:
        raise ValueError(f"makes up {sorted(missing) or misshapen}")
    in_float64(model)

    def logits(ids):
        with torch.no_grad(), lifted():
            return model(torch.tensor([ids]), use_cache=False).logits[0, -1]
    return logits


def library_cases(folder, family, vocabulary, rng):
    """The library's answers in the form of the oracle's cases."""
    logits, cases = logits_of(folder, family), []
    for length in (1, rng.randint(2, 6), rng.randint(7, 14)):
        ids = [rng.randrange(vocabulary) for _ in range(length)]
        p = logits(ids).softmax(-1)
        for answer in {int(p.argmax()), int(p.argmin()), rng.randrange(vocabulary)}:
            cases.append({"ids": ids, "answer": answer, "clean": float(p[answer]), "knockouts": [], "probs": []})
    return cases


def names_reason(line, reasons):
    """Keys stand behind "key", tensors behind "tensor", "tensors" or "and"."""
    named = set(re.findall(r"(?:: key|tensors?|and) ([\w.]*\w)", line))
    return bool(named & reasons)


def verdict(checkpoint, library_error, code, line):
    """"" for agreement, None for a refusal with its reason, else what is wrong. `line`: factflow's words."""
    told = f"{checkpoint.family} {checkpoint.story}: "
    if code == 2:
        reasons = checkpoint.unusual | checkpoint.must_refuse
        if "\n" in line or not (names_reason(line, reasons) or (library_error and checkpoint.reshaped and "expected shape" in line)):
            return told + f"refused, but the reason is {sorted(reasons) or 'none'}: {line}"
        return None
    if code not in (0, 1):
        return told + f"ends with exit code {code}: {line}"
    if checkpoint.must_refuse:
        return told + f"takes what it must refuse ({', '.join(sorted(checkpoint.must_refuse))})"
    if library_error:
        return told + f"answers where the library does not: {library_error}"
    return "" if code == 0 else told + "differs from the library: " + line


def judge(number, options, root):
    checkpoint, rng = make(number, options.seed, options.families or FAMILIES)
    folder = folder_of(root, number)
    (folder / "config.json").write_text(json.dumps(checkpoint.config))
    write_weights(folder, checkpoint.tensors, rng)
    cases, error = [], ""
    try:
        cases = library_cases(folder, checkpoint.family, checkpoint.config["vocab_size"], rng)
    except Exception as problem:  # whatever the library throws at strange files
        error = f"{type(problem).__name__}: {problem}".splitlines()[0]
    (folder / "cases.json").write_text(json.dumps(cases))
    if checkpoint.family.endswith("_ssm") and "model_type" in checkpoint.config:
        (folder / "config.json").write_text(json.dumps(mamba_ssm_config(rng, checkpoint.config)))
    return checkpoint, error, folder


def main():
    options = arguments(__doc__.splitlines()[0], families=FAMILIES)
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    tally = Tally("checkpoint", options.seed)
    numbers = list(range(options.count)) if options.only is None else [options.only]
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        made = [judge(number, options, root) for number in numbers]
        folders = [folder for _, _, folder in made]
        if options.only is None:
            answers = verify_all(options.factflow, folders, TOLERANCE)
        else:
            answers = [alone(options.factflow, folders[0], TOLERANCE)]
            print(json.dumps(made[0][0].config), made[0][1], *answers[0], sep="\n")
        for number, (checkpoint, error, _), (code, words) in zip(numbers, made, answers):
            tally.count(number, verdict(checkpoint, error, code, words))
    return tally.close(least_agreed=2 * len(numbers) // 5 if options.only is None else 0)


if __name__ == "__main__":
    sys.exit(main())
