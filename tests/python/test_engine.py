"""Models, facts and sweeps in this process. Needs the compiled module: without it these tests are skipped, visibly."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import factflow as ff

try:
    from factflow.native import engine

    engine()
except ff.EngineMissingError as error:
    pytest.skip(str(error), allow_module_level=True)

ROOT = Path(__file__).resolve().parents[2]
FACTS = ROOT / "demo" / "facts.jsonl"
MODELS = ROOT / "demo" / "models"
FAMILIES = ("gpt2", "llama", "mamba", "mamba2", "falcon_mamba")
KNOCKOUTS = [ff.block(["subject", "context"], "last")]


def load(name: str, **options: Any) -> ff.Model:
    return ff.Model(MODELS / name, threads=1, **options)


def transformers_model(name: str, dtype: str) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    model = AutoModelForCausalLM.from_pretrained(MODELS / name, dtype=getattr(torch, dtype))
    make: Any = PreTrainedTokenizerFast
    return model, make(tokenizer_file=str(MODELS / name / "tokenizer.json"))


@pytest.fixture(scope="module")
def facts() -> ff.Facts:
    return ff.facts(FACTS, relations=["capital", "language"], sample=14, seed=7)


@pytest.fixture(scope="module")
def mamba() -> ff.Model:
    return load("mamba")


def same(first: ff.Result, second: ff.Result | ff.Run, model: str, other: str | None = None) -> int:
    """Every number of every group of the first is, bit for bit, in the second."""
    compared = 0
    for path in first.groups(model):
        one, two = first.group(model, path), second.group(other or model, path)
        assert list(one.axes) == list(two.axes) and list(one.arrays) == list(two.arrays)
        for name in (*one.axes, *one.arrays):
            compared += one[name].size
            if one[name].dtype == object:
                assert one[name].tolist() == two[name].tolist(), (path, name)
            else:
                assert one[name].dtype == two[name].dtype and one[name].tobytes() == two[name].tobytes(), (path, name)
    return compared


# ---- facts


def test_facts_come_from_files_tuples_and_frames() -> None:
    import pandas as pd

    facts = ff.facts(FACTS)
    assert len(facts) == 2204 and isinstance(facts[:50], ff.Facts) and len(facts[:50]) == 50
    assert (facts[0].text, facts[0].subject, facts[0].answer) == ("The capital of France is", "France", " Paris")
    assert facts[:3].frame().columns.tolist() == ["prompt", "text", "subject", "answer", "relation"]
    one = ff.facts([("The capital of France is", "France", "Paris")])[0]
    assert (one.id, one.text, one.answer, one.subject_begin) == (0, facts[0].text, " Paris", 15)
    frame = pd.DataFrame({"prompt": [one.text], "subject": ["France"], "answer": ["Paris"], "id": [7], "relation": ["capital"]})
    assert [(fact.id, fact.relation) for fact in ff.facts(frame)] == [(7, "capital")]
    assert [fact.id for fact in ff.facts(FACTS, ids=[5, 3])] == [3, 5]


def test_wrong_facts_are_named() -> None:
    with pytest.raises(ff.InputError, match="give tuples of three texts"):
        ff.facts(["The capital of France is"])
    with pytest.raises(ff.InputError, match="no prompt is usable|no usable prompt|France"):
        ff.facts([("The capital of Spain is", "France", "Paris")])
    with pytest.raises(ff.InputError, match="sampel.*sample"):
        ff.facts(FACTS, sampel=3)


# ---- numbers


def test_numbers_are_those_of_the_command(
    facts: ff.Facts, program: Callable[..., None], tmp_path: Path
) -> None:
    """Bit for bit where the program has the same torch; else within what another libtorch changes."""
    configuration = {
        "name": "same",
        "dataset": {"path": str(FACTS), "relations": ["capital", "language"], "sample": 14, "seed": 7},
        "models": [{"name": name, "path": str(MODELS / name)} for name in FAMILIES],
        "select": {"correct_for": "none"},
        "sweep": {"windows": {"sizes": [1, 5]}, "knockouts": {"from": ["subject", "context"], "to": "last"}},
        "run": {"precision": "fp32", "threads_per_rank": 1},
    }
    path = tmp_path / "same.yaml"
    path.write_text(json.dumps(configuration))
    program("run", path, "--out", tmp_path / "run")
    with ff.open(tmp_path / "run") as run:
        for name in FAMILIES:
            model = load(name)
            result = model.sweep(facts, KNOCKOUTS, windows=[1, 5])
            if run.info.libtorch == model.facts["libraries"]:
                assert same(result, run, name) > 1000
            else:
                found, expected = result.cells(), run.cells(models=[name])
                for column in ("prompt", "edge", "window", "start", "touched"):
                    assert found[column].tolist() == expected[column].tolist()
                np.testing.assert_allclose(found["p"], expected["p"], atol=2e-5, rtol=0)
                assert model.facts["checkpoint_digest"] == run.models[name].checkpoint_digest


def test_every_kind_has_the_numbers_of_the_command(facts: ff.Facts, program: Callable[..., None], tmp_path: Path) -> None:
    windows = {"sizes": [5]}
    sections: dict[str, Any] = {
        "sweep": {"windows": windows, "knockouts": [{"from": "subject", "to": "last"}, {"from": "subject", "to": "last", "channels": "slow"}]},
        "heatmaps": {"window": 5, "prompts": 1},
        "intervene": {"windows": windows, "rows": [{"set": {"site": "o", "tokens": "last", "value": ["mean", "resample"]}}]},
        "trace": {"prompts": 2, "sites": ["h", "s"]},
    }
    configuration = {
        "name": "kinds",
        "dataset": {"path": str(FACTS), "relations": ["capital", "language"], "sample": 14, "seed": 7},
        "models": [{"name": "mamba", "path": str(MODELS / "mamba")}],
        "select": {"correct_for": "self"},
        **sections,
        "run": {"precision": "fp32", "threads_per_rank": 1, "self_check": "off"},
    }
    path = tmp_path / "kinds.yaml"
    path.write_text(json.dumps(configuration))
    program("run", path, "--out", tmp_path / "run")
    model = load("mamba", self_check=False)
    result = model.experiments(facts, correct_for="self", **sections)
    with ff.open(tmp_path / "run") as run:
        assert result.groups("mamba") == run.groups("mamba")
        if run.info.libtorch == model.facts["libraries"]:
            assert same(result, run, "mamba") > 2000


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_of_transformers_has_the_same_numbers(facts: ff.Facts, name: str, dtype: str) -> None:
    model, tokenizer = transformers_model(name, dtype)
    taken = ff.Model.from_transformers(model, tokenizer, name=name, threads=1)
    expected = load(name).sweep(facts[:4], KNOCKOUTS, windows=5)
    assert same(taken.sweep(facts[:4], KNOCKOUTS, windows=5), expected, name) > 100
    floats = [key for key, tensor in model.state_dict().items() if tensor.is_floating_point()]
    if dtype == "float32":
        shared = set(floats) - set(taken.copied)
        assert len(shared) > 10 and all("engine keeps it" in why for why in taken.copied.values())
    else:
        assert set(taken.copied) >= set(floats) - {"lm_head.weight"} and "float16" in next(iter(taken.copied.values()))


def test_it_says_what_it_copies() -> None:
    model, tokenizer = transformers_model("llama", "float32")
    taken = ff.Model.from_transformers(model, tokenizer, threads=1)
    layer = "model.layers.1.self_attn."
    assert {layer + "q_proj.weight", layer + "k_proj.weight", layer + "v_proj.weight"} <= set(taken.copied)
    assert "stacked" in taken.copied[layer + "q_proj.weight"]
    assert {"model.embed_tokens.weight", layer + "o_proj.weight"}.isdisjoint(taken.copied)


def test_shared_weights_are_those_of_the_model(facts: ff.Facts) -> None:
    import torch

    model, tokenizer = transformers_model("mamba", "float32")
    taken = ff.Model.from_transformers(model, tokenizer, threads=1)
    before = taken.sweep(facts[:2], KNOCKOUTS, windows=5).cells()["p_clean"]
    with torch.no_grad():
        model.backbone.layers[3].mixer.out_proj.weight.mul_(0.5)
    assert not np.array_equal(before, taken.sweep(facts[:2], KNOCKOUTS, windows=5).cells()["p_clean"])


# ---- results


def test_a_result_has_frames_datasets_and_figures(mamba: ff.Model, facts: ff.Facts) -> None:
    import matplotlib

    matplotlib.use("Agg")
    result = mamba.sweep(facts, [ff.block("subject", "last"), ff.block("subject", "last", channels="slow")], windows=[1, 5])
    frame = result.frame()
    assert {"prompt", "edge", "window", "start", "depth", "p", "p_clean", "rank", "change"} <= set(frame.columns)
    assert set(frame.edge) == {"subject->last", "subject->last/slow"} and len(frame) == 14 * 2 * (12 + 8)
    assert dict(result.dataset().sizes) == {"model": 1, "window": 2, "edge": 2, "prompt": 14, "start": 12}
    assert len([panel for panel in result.plot().axes if panel.lines]) == 2
    assert result.curves().rows == 2 * (12 + 8) and result.failures.rows == 0


def test_interventions_of_other_kinds_are_rows(mamba: ff.Model, facts: ff.Facts) -> None:
    rows = [ff.block("subject", "last", through="state"), ff.set("o", ["subject-last", "last"], "zero")]
    result = mamba.sweep(facts[:3], rows, windows=5)
    assert list(result.kinds) == ["intervention"]
    assert len(set(result.cells()["row"])) == 3


def test_every_section_of_the_configuration_is_there(mamba: ff.Model, facts: ff.Facts) -> None:
    result = mamba.experiments(facts, trace={"prompts": 1, "sites": "h"}, heatmaps={"window": 5, "prompts": 1})
    assert {"trace_restore_h", "heatmap"} <= set(result.maps()["kind"])
    prompt = int(result.maps()["prompt"][0])
    assert result.heatmap(prompt)["mamba"].p.shape[1] == 8
    with pytest.raises(ff.InputError, match="there is no section 'traces'; there are: sweep"):
        mamba.experiments(facts, traces={})


def test_words_are_refused_as_by_the_program(mamba: ff.Model, facts: ff.Facts) -> None:
    with pytest.raises(ff.InputError, match="subjekt.*subject") as error:
        mamba.sweep(facts, [ff.block("subjekt", "last")], windows=5)
    assert "sweep.knockouts" in error.value.where or "sweep.knockouts" in error.value.problem
    with pytest.raises(ff.InputError, match="which has 12"):
        mamba.sweep(facts, KNOCKOUTS, windows=40)


# ---- a good library


def test_two_models_side_by_side(facts: ff.Facts) -> None:
    first, second = load("mamba"), load("gpt2")
    a, b = (model.sweep(facts[:3], KNOCKOUTS, windows=5) for model in (first, second))
    again = first.sweep(facts[:3], KNOCKOUTS, windows=5)
    assert same(a, again, "mamba") > 100 and list(b.models) == ["gpt2"]


def test_torch_keeps_its_threads(facts: ff.Facts, mamba: ff.Model) -> None:
    import torch

    torch.set_num_threads(2)
    mamba.sweep(facts[:1], KNOCKOUTS, windows=5)
    assert torch.get_num_threads() == 2


def test_progress_is_told_and_may_stop(mamba: ff.Model, facts: ff.Facts) -> None:
    shares: list[float] = []
    mamba.sweep(facts, KNOCKOUTS, windows=[1, 5], progress=lambda done, known, share: shares.append(share))
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1 and len(shares) > 2

    def interrupt(done: int, known: int, share: float) -> None:
        if done == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        mamba.sweep(facts, KNOCKOUTS, windows=[1, 5], progress=interrupt)
    assert mamba.sweep(facts[:1], KNOCKOUTS, windows=5).cells().rows > 0


def test_other_threads_run_meanwhile(mamba: ff.Model, facts: ff.Facts) -> None:
    ticks = 0
    over = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not over.is_set():
            ticks += 1
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    begin = time.perf_counter()
    mamba.sweep(facts, KNOCKOUTS, windows=[1, 3, 5, 9])
    seconds = time.perf_counter() - begin
    over.set()
    thread.join()
    assert ticks > 20 * seconds


def test_memory_goes_back_with_the_model() -> None:
    """Twenty times a model of 1.5 million parameters, which would be 130 MB."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    model, tokenizer = transformers_model("mamba", "float16")
    for _ in range(2):
        ff.Model.from_transformers(model, tokenizer, threads=1)
    gc.collect()
    before = resident()
    for _ in range(20):
        ff.Model.from_transformers(model, tokenizer, threads=1)
    gc.collect()
    assert resident() - before < 30e6


def test_a_wrong_tensor_is_named(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = Path(shutil.copytree(MODELS / "mamba", tmp_path / "mamba"))
    tensors = load_file(path / "model.safetensors")
    name = "backbone.layers.2.mixer.D"
    tensors[name] = tensors[name][:-1].clone()
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ff.CheckpointError) as error:
        ff.Model(path)
    assert error.value.tensor == name and "model.safetensors" in error.value.where
    with pytest.raises(ff.InputError, match="is no directory"):
        ff.Model(tmp_path / "nothing")


def test_what_would_be_left_out_is_refused_by_name() -> None:
    model, tokenizer = transformers_model("mamba", "float32")
    handle = model.backbone.layers[2].mixer.register_forward_hook(lambda *_: None)
    with pytest.raises(ff.CheckpointError, match=r"backbone.layers.2.mixer: has a forward hook"):
        ff.Model.from_transformers(model, tokenizer)
    handle.remove()
    model._hf_peft_config_loaded = True
    with pytest.raises(ff.CheckpointError, match="carries an adapter"):
        ff.Model.from_transformers(model, tokenizer)
    model._hf_peft_config_loaded = False
    model.config.quantization_config = {"quant_method": "bitsandbytes"}
    with pytest.raises(ff.CheckpointError, match="quantised"):
        ff.Model.from_transformers(model, tokenizer)
    model.config.quantization_config = None


def test_layers_of_other_classes_are_refused_by_name() -> None:
    import torch

    class Adapted(torch.nn.Linear):
        """A layer as an adapter puts it in the place of another."""

    model, tokenizer = transformers_model("llama", "float32")
    layer = model.model.layers[1].self_attn

    def refused(words: str) -> None:
        with pytest.raises(ff.CheckpointError, match=words):
            ff.Model.from_transformers(model, tokenizer)

    before = layer.o_proj
    layer.o_proj = Adapted(before.in_features, before.out_features, bias=False)
    refused(r"layers\.1\.self_attn\.o_proj: is a .*Adapted")
    Adapted.__module__ = "peft.tuners.lora.layer"
    refused(r"layers\.1\.self_attn\.o_proj: is a layer of an adapter")
    Adapted.__module__ = "bitsandbytes.nn.modules"
    refused(r"layers\.1\.self_attn\.o_proj: is a quantised layer")
    layer.o_proj = before
    layer.forward = layer.forward
    refused(r"layers\.1\.self_attn: has another forward")
    del layer.forward
    torch.nn.utils.parametrizations.weight_norm(layer.o_proj)
    refused(r"o_proj: .*parametri")


def test_a_head_that_is_not_the_embedding_is_refused() -> None:
    import torch

    model, tokenizer = transformers_model("gpt2", "float32")
    assert model.config.tie_word_embeddings
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach() * 2)
    with pytest.raises(ff.InputError, match="lm_head"):
        ff.Model.from_transformers(model, tokenizer)


def test_hdf5_and_mpi_are_not_needed() -> None:
    import subprocess

    path = sys.modules["factflow._engine"].__file__
    assert path is not None
    needed = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True).stdout
    assert "libtorch_cpu" in needed and "hdf5" not in needed and "mpi" not in needed.replace("compi", "")


def test_another_torch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    import torch

    build = importlib.import_module("factflow._build")
    find: Any = engine
    with monkeypatch.context() as patch:
        patch.setattr(build, "TORCH_VERSION", "1.13.1+cpu")
        with pytest.raises(ff.EngineMissingError, match=r"built against torch 1\.13\.1\+cpu, and torch .* is installed; install factflow again"):
            find.__wrapped__()
    with monkeypatch.context() as patch:
        patch.setattr(build, "CXX11_ABI", not torch.compiled_with_cxx11_abi())
        with pytest.raises(ff.EngineMissingError, match=r"another C\+\+ ABI"):
            find.__wrapped__()
    assert find.__wrapped__() is engine()


@pytest.mark.parametrize("name", ["gpt2", "llama", "mamba"])
def test_another_blas_has_the_numbers(name: str, facts: ff.Facts) -> None:
    pytest.importorskip("scipy_openblas32")
    ours, theirs = load(name, blas="openblas"), load(name)
    found, expected = (model.sweep(facts, KNOCKOUTS, windows=5).cells() for model in (ours, theirs))
    np.testing.assert_allclose(found["p"], expected["p"], atol=2e-5, rtol=0)
    assert "OpenBLAS" in ours.facts["blas"] and theirs.facts["blas"] == "libtorch's"
    assert not np.array_equal(found["p"], expected["p"]) or name == "mamba", "the same BLAS multiplied"


def test_an_unknown_blas_is_named() -> None:
    with pytest.raises(ff.InputError, match="there is no 'mkl'; there are: torch, openblas"):
        load("mamba", blas="mkl")
