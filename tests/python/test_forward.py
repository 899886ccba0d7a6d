"""`Model.run`: one run of one prompt, with values of other runs, and values that are read."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import factflow as ff

torch = pytest.importorskip("torch")
try:
    from factflow.native import engine

    engine()
except ff.EngineMissingError as error:
    pytest.skip(str(error), allow_module_level=True)

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "demo" / "models"


@pytest.fixture(scope="module")
def facts() -> ff.Facts:
    return ff.facts(ROOT / "demo" / "facts.jsonl", relations=["capital", "language"], sample=14, seed=7)


@pytest.fixture(scope="module")
def mamba() -> ff.Model:
    return ff.Model(MODELS / "mamba", threads=1)


@pytest.fixture(scope="module")
def llama() -> ff.Model:
    return ff.Model(MODELS / "llama", threads=1)


def test_the_example_of_another_run(mamba: ff.Model, facts: ff.Facts) -> None:
    a, b = facts[0], facts[1]
    run = mamba.run(
        a,
        [ff.set("h", layers=6, tokens="subject-last", value=ff.run(b))],
        reads=[ff.read("s", layers=range(6, 12), tokens="last"), ff.read("h", layers=6, tokens="subject-last")],
    )
    assert run["s"].value.shape == run["s"].clean.shape and run["s"].value.shape[:2] == (6, 1)
    assert isinstance(run["s"].value, torch.Tensor) and not torch.equal(run["s"].value, run["s"].clean)
    other = mamba.run(b, reads=[ff.read("h", layers=6, tokens="subject-last")])
    assert torch.equal(run["h"].value, other["h"].clean) and torch.equal(other["h"].value, other["h"].clean)
    assert run.touched == 1 and run.p != run.p_clean and len(run.tokens) > max(run["h"].tokens)
    assert run.change == pytest.approx(100 * (run.p - run.p_clean) / run.p_clean)
    assert other.p == other.p_clean and other.change == 0


def test_a_knockout_has_the_number_of_a_sweep(llama: ff.Model, facts: ff.Facts) -> None:
    cells = llama.sweep(facts[:3], [ff.block("subject", "last")], windows=5).cells()
    for fact in facts[:3]:
        rows = cells.where(prompt=fact.id, start=2)
        run = llama.run(fact, [ff.block("subject", "last", layers=range(2, 7))])
        assert run.p == pytest.approx(float(rows["p"][0]), rel=2e-5) and run.rank == rows["rank"][0]
        assert run.p_clean == pytest.approx(float(rows["p_clean"][0]), rel=2e-5)


def test_reads_are_what_transformers_has(facts: ff.Facts) -> None:
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    make: Any = PreTrainedTokenizerFast
    tokenizer = make(tokenizer_file=str(MODELS / "llama" / "tokenizer.json"))
    model = AutoModelForCausalLM.from_pretrained(MODELS / "llama", dtype=torch.float32)
    taken = ff.Model.from_transformers(model, tokenizer, threads=1)
    layers = range(model.config.num_hidden_layers)
    run = taken.run(facts[0], reads=[ff.read("h", layers=layers, tokens="all")])
    with torch.no_grad():
        states = model(torch.tensor([tokenizer(facts[0].text)["input_ids"]]), output_hidden_states=True).hidden_states
    for layer in layers:
        torch.testing.assert_close(run["h"].value[layer], states[layer][0], atol=2e-5, rtol=2e-5)


def test_numbers_and_means_are_put_in(mamba: ff.Model, facts: ff.Facts) -> None:
    width = mamba.run(facts[0], reads=[ff.read("o", layers=3, tokens="last")])["o"].value.shape[-1]
    vector = torch.linspace(-1, 1, width)
    reads = [ff.read("o", layers=[2, 5], tokens="last")]
    set_ = mamba.run(facts[0], [ff.set("o", "last", vector, layers=[2, 5])], reads=reads)
    for value in set_["o"].value[:, 0]:
        torch.testing.assert_close(value, vector)
    once = mamba.run(facts[0], [ff.add("o", "last", vector.numpy(), layers=2, scale=2)], reads=reads)
    torch.testing.assert_close(once["o"].value[0, 0], once["o"].clean[0, 0] + 2 * vector)
    others = facts[2:5]
    mean = mamba.run(facts[0], [ff.set("o", "last", ff.mean(others), layers=2)], reads=[ff.read("o", layers=2, tokens="last")])
    all_tokens = torch.cat([mamba.run(one, reads=[ff.read("o", layers=2, tokens="all")])["o"].value[0] for one in others])
    torch.testing.assert_close(mean["o"].value[0, 0], all_tokens.mean(0), atol=1e-5, rtol=1e-5)


def test_all_act_together(mamba: ff.Model, facts: ff.Facts) -> None:
    actions = [ff.block("subject", "last", layers=range(2, 6)), ff.set(["o", "s"], ["last", "subject"], layers=[4, 7])]
    run = mamba.run(facts[0], actions, reads=[ff.read("o", layers=[4, 7], tokens="last")])
    assert torch.count_nonzero(run["o"].value) == 0
    single = [mamba.run(facts[0], [one]).p for one in actions]
    assert len({run.p, run.p_clean, *single}) == 4


def test_a_run_of_the_configuration_is_the_same(llama: ff.Model, facts: ff.Facts, program: Callable[..., None], tmp_path: Path) -> None:
    row = {"set": {"site": "mlp", "tokens": "subject-last", "value": "zero"}}
    configuration = {
        "name": "row",
        "dataset": {"path": str(ROOT / "demo" / "facts.jsonl"), "ids": [facts[0].id, facts[1].id]},
        "models": [{"name": "llama", "path": str(MODELS / "llama")}],
        "select": {"correct_for": "none"},
        "intervene": {"windows": {"sizes": [3]}, "rows": [row]},
        "run": {"threads_per_rank": 1, "self_check": "off"},
    }
    (tmp_path / "row.yaml").write_text(json.dumps(configuration))
    program("run", tmp_path / "row.yaml", "--out", tmp_path / "run")
    with ff.open(tmp_path / "run") as stored:
        cells = stored.cells("intervention")
    for fact in facts[:2]:
        of_fact = cells.where(prompt=fact.id)
        for start in of_fact["start"]:
            run = llama.run(fact, [ff.set("mlp", "subject-last", layers=range(int(start), int(start) + 3))])
            expected = float(of_fact.where(start=int(start))["p"][0])
            assert math.isclose(run.p, expected, rel_tol=1e-4), (fact, start)


def test_what_is_not_there_is_named(mamba: ff.Model, facts: ff.Facts) -> None:
    fact = facts[0]
    set_h = ff.set("h", "last", layers=3)

    def refused(words: str, interventions: Any = (), reads: Any = ()) -> None:
        with pytest.raises(ff.InputError, match=words):
            mamba.run(fact, interventions, reads=reads)

    refused("names no layers", [ff.set("h", "last")])
    refused(r"interventions\[1\].*site 'hh'|interventions\[1\].*hh", [set_h, ff.set("hh", "last", layers=1)])
    refused(r"interventions\[0\].*no site mlp", [ff.set("mlp", "last", layers=1)])
    refused(r"interventions\[0\].*not 40", [ff.set("h", "last", layers=40)])
    refused(r"interventions\[0\].*layer 40", [ff.block("subject", "last", layers=40)])
    refused("subjekt", [ff.set("h", "subjekt", layers=1)])
    refused("touches nothing", [ff.set("h", "99", layers=1)])
    refused("touches nothing.*not all tokens the same", [ff.set("h", "last", ff.run(fact), layers=1)])
    refused("none is given", [ff.set("h", "last", "resample", layers=1)])
    refused("none is given", [ff.set("h", "last", "mean", layers=1)])
    refused("many runs", [ff.set("h", "each", layers=1)])
    refused("a vector of 3 numbers", [ff.set("h", "last", [1, 2, 3], layers=1)])
    refused(r"reads\[0\].*hh", reads=[ff.read("hh", layers=1, tokens="last")])
    refused(r"reads\[0\].*not 99", reads=[ff.read("s", layers=99, tokens="last")])
    refused(r"reads\[0\].*no tokens", reads=[ff.read("s", layers=1, tokens="99")])
    refused("lists of interventions", set_h)
    with pytest.raises(ff.InputError, match="each once"):
        ff.read("s", layers=[1, 1], tokens="last")
    with pytest.raises(ff.InputError, match="one number per channel"):
        ff.set("h", "last", np.zeros((2, 2)), layers=1)
    for one in (set_h, ff.set("h", "last", ff.run(fact))):
        with pytest.raises(ff.InputError, match=r"Model\.run alone"):
            mamba.sweep(facts[:1], [one], windows=1)
    with pytest.raises(ff.UnknownNameError):
        mamba.run(fact)["s"]
    assert mamba.run(("The capital of France is", "France", "Paris")).fact.answer == " Paris"
