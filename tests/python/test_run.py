"""Cells, datasets, heat maps and groups of a run, against h5py alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import h5py
import matplotlib
import numpy as np
import pytest

import factflow as ff

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def stored(folder: Path) -> h5py.File:
    return h5py.File(folder / "results.h5", "r")


def test_models_and_groups_come_in_the_order_of_the_file(run: ff.Run) -> None:
    assert list(run.models) == ["gpt2", "mamba"] == list(run.info.models)
    assert run.info.complete and run.info.name == run.name == "kinds"
    assert run.models["mamba"].layer_blocks == ("mamba",) * run.models["mamba"].layers
    assert run.groups("gpt2")[0] == "evaluation"
    assert {"knockout", "knockout/window_1", "trace", "heatmap/window_5"} <= set(run.groups("gpt2"))
    assert run.digest.startswith("xxh3:") and run.failures.rows == 0
    assert run.prompts.rows == 14 and set(run.prompts) == {"prompt", "text", "subject", "answer", "relation"}


def test_every_kind_of_cells_is_found_by_its_labels(run: ff.Run) -> None:
    found = {kind.name: (kind.item, kind.size) for kind in run.kinds.values()}
    assert found == {
        "knockout": ("edge", "edges"),
        "intervention": ("row", "touched"),
        "mean_knockout": ("knockout", "positions"),
        "answers": ("item", "edges"),
        "position": ("item", "edges"),
    }
    assert next(iter(run.kinds)) == "knockout"
    for kind in run.kinds:
        assert run.cells(kind).rows > 0 and run.curves(kind).rows > 0


def test_each_cell_is_what_the_file_says(run: ff.Run, stored: h5py.File) -> None:
    cells = run.cells()
    assert list(cells) == [
        "model", "prompts", "prompt", "edge", "window", "placement", "start", "depth", "touched", "p", "p_clean", "rank",
        "tied", "change", "log_change",
    ]  # fmt: skip
    expected = 0
    for model in ("gpt2", "mamba"):
        group = stored[model]["knockout"]
        common = group["members"][0] == 1
        clean = dict(zip(stored[model]["evaluation/prompt"][:], stored[model]["evaluation/probability"][:], strict=True))
        for size in (1, 5):
            window = group[f"window_{size}"]
            for e, label in enumerate(group["edge"].asstr()[:]):
                if window["asked"][0, e] == 0:
                    continue
                rows = cells.where(model=model, window=size, edge=label)
                keep = common & (group["edges"][e] > 0)
                p = window["probability"][e][keep]
                expected += p.size
                assert rows.rows == p.size
                assert rows["p"].tolist() == p.ravel().astype(float).tolist()
                assert rows["rank"].tolist() == window["rank"][e][keep].ravel().tolist()
                assert rows["start"].tolist() == window["start"][:].tolist() * int(keep.sum())
                assert rows["touched"].tolist() == np.repeat(group["edges"][e][keep], p.shape[1]).tolist()
                before = np.repeat([float(clean[prompt]) for prompt in group["prompt"][keep]], p.shape[1])
                assert rows["p_clean"].tolist() == before.tolist()
                np.testing.assert_allclose(rows["change"], 100 * (p.ravel() / before - 1), rtol=1e-9, atol=1e-9)
                np.testing.assert_allclose(rows["log_change"], np.log(p.ravel() / before), rtol=1e-9, atol=1e-9)
    assert cells.rows == expected > 100


def test_prompts_without_an_edge_are_no_rows(run: ff.Run, stored: h5py.File) -> None:
    group = stored["gpt2"]["knockout"]
    context = group["edge"].asstr()[:].tolist().index("context->last")
    missing = set(group["prompt"][group["edges"][context] == 0].tolist())
    assert missing  # the test needs such prompts
    assert missing.isdisjoint(run.cells().where(edge="context->last")["prompt"].tolist())


def test_sets_of_prompts_are_kept_apart(run: ff.Run) -> None:
    assert run.sets() == ("common", "every")
    every = run.cells(prompts="every")
    assert set(every["model"]) == {"mamba"} and set(every["edge"]) == {"subject->last", "subject->last/slow"}
    assert set(every["window"]) == {5} and len(set(every["prompt"].tolist())) == 14
    assert "subject->last/slow" not in set(run.cells()["edge"])
    with pytest.raises(ff.UnknownNameError) as error:
        run.cells(prompts="own")
    assert error.value.known == ("common", "every")


def test_models_and_windows_may_be_chosen(run: ff.Run) -> None:
    cells = run.cells(models=["mamba"], windows=[1])
    assert set(cells["model"]) == {"mamba"} and set(cells["window"]) == {1}
    with pytest.raises(ff.UnknownNameError, match="no model with results 'bloom'; there are: gpt2, mamba"):
        run.cells(models=["bloom"])


def test_kinds_that_compare_with_a_run_of_their_own_have_no_clean_probability(run: ff.Run) -> None:
    for kind in ("position", "answers"):
        cells = run.cells(kind)
        assert "p_clean" not in cells
        np.testing.assert_allclose(cells["change"], 100 * np.expm1(cells["log_change"]), rtol=1e-12)


def test_the_dataset_has_the_cells(run: ff.Run) -> None:
    dataset = run.dataset()
    assert dict(dataset.sizes) == {"model": 2, "window": 2, "edge": 2, "prompt": dataset.sizes["prompt"], "start": 12}
    assert dataset.change.attrs["units"] == "percent" and dataset.start.attrs["units"] == "layer"
    assert dataset.attrs["prompts"] == "common" and dataset.depth.sel(model="gpt2", start=3).item() == 3 / 12
    frame = run.frame()
    for row in frame.sample(40, random_state=1).itertuples():
        cell = dataset.sel(model=row.model, window=row.window, edge=row.edge, prompt=row.prompt, start=row.start)
        assert cell.change.item() == row.change and cell["rank"].item() == row.rank
        assert cell.p_clean.item() == row.p_clean and cell.touched.item() == row.touched
    assert int(dataset.change.notnull().sum()) == len(frame)
    assert np.isnan(dataset.change.sel(window=5, start=8)).all()  # windows of 5 of 12 layers start at 0 to 7


def test_a_group_is_a_dataset_as_it_is_stored(run: ff.Run, stored: h5py.File) -> None:
    group = run.group("mamba", "evaluation")
    dataset = group.dataset()
    assert dataset["rank"].values.tolist() == stored["mamba/evaluation/rank"][:].tolist()
    assert dataset.top_text.sel(top=1).values.tolist() == stored["mamba/evaluation/top_text"].asstr()[:, 0].tolist()
    assert dataset.token_count.attrs["units"] == "token" and "likely" in group.arrays["rank"].description
    with pytest.raises(ff.UnknownNameError, match="no group of mamba 'evaluations'"):
        run.group("mamba", "evaluations")


def test_a_heatmap_is_what_the_file_says(run: ff.Run, stored: h5py.File) -> None:
    maps = run.maps().where(kind="heatmap", model="mamba", window=1)
    prompt = int(maps["prompt"][0])
    heatmap = run.heatmap(prompt)
    assert list(heatmap) == ["gpt2", "mamba"]
    one = heatmap["mamba"]
    group = stored["mamba/heatmap/window_5"]
    assert one.window == 5 and one.p.tolist() == group[str(prompt)][:].astype(float).tolist()
    assert list(one.tokens) == group[f"token_{prompt}"].asstr()[:].tolist()
    row = stored["mamba/evaluation/prompt"][:].tolist().index(prompt)
    clean = float(stored["mamba/evaluation/probability"][row])
    assert one.p_clean == clean and one.difference[0, 0] == one.p[0, 0] - clean
    subject = run.prompts.where(prompt=prompt)["subject"][0]
    assert subject.replace(" ", "") in "".join(one.tokens[slice(*one.subject)]).replace(" ", "").replace("Ġ", "")
    assert one.dataset().p.sel(start=2).values.tolist() == one.p[:, 2].tolist()
    assert heatmap.table().rows == sum(panel.p.size for panel in heatmap.values())
    assert run.heatmap(prompt, window=1)["gpt2"].window == 1
    with pytest.raises(ff.UnknownNameError, match="there is no window size of this map 3; there are: 1, 5"):
        run.heatmap(prompt, window=3)
    with pytest.raises(ff.UnknownNameError, match="prompt with a map of kind heatmap"):
        run.heatmap(-5)


def test_maps_of_other_kinds_are_found(run: ff.Run) -> None:
    kinds = set(run.maps()["kind"])
    assert {"heatmap", "intervention_map_0", "trace_restore_h", "trace_restore_mlp"} <= kinds
    prompt = int(run.maps().where(kind="intervention_map_0")["prompt"][0])
    assert run.heatmap(prompt, kind="intervention_map_0")["gpt2"].row == "h(each) = zero"
    assert list(run.heatmap(prompt, kind="trace_restore_mlp")) == ["gpt2"]


def test_figures_have_a_panel_per_item_and_a_line_per_model(run: ff.Run) -> None:
    figure = run.plot(window=1)
    panels = [panel for panel in figure.axes if panel.lines]
    assert [panel.get_title() for panel in panels] == ["subject → last", "context → last"]
    curves = run.curves(windows=[1]).where(model="mamba", edge="subject->last")
    line = next(line for line in panels[0].lines if line.get_label() == "mamba")
    assert np.asarray(line.get_ydata()).tolist() == curves["change"].tolist()
    assert np.asarray(line.get_xdata()).tolist() == curves["relative_depth"].tolist()
    prompt = int(run.maps()["prompt"][0])
    drawn = run.heatmap(prompt).plot()
    assert len([panel for panel in drawn.axes if panel.images]) == 2


def test_tables_show_themselves_in_a_notebook(run: ff.Run) -> None:
    assert "<table" in run.curves()._repr_html_()
    assert "rows" in repr(run.curves()) and "kinds" in repr(run)


def test_reading_needs_h5py_alone(folder: Path) -> None:
    """Without pandas, xarray, matplotlib and scipy: everything but what makes their objects, which names what is missing."""
    program = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("pandas", "xarray", "matplotlib", "scipy", "torch"):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
import factflow as ff
with ff.open({str(folder)!r}) as run:
    assert run.cells().rows > 100 and run.curves().rows > 10 and len(run.claims()) > 3
    prompt = int(run.maps()["prompt"][0])
    assert run.heatmap(prompt)["gpt2"].p.shape[0] > 3 and "<pre>" in run.cells()._repr_html_()
    for call, package in ((run.frame, "pandas"), (run.dataset, "xarray"), (run.plot, "matplotlib"),
                          (run.cells().frame, "pandas"), (run.heatmap(prompt).plot, "matplotlib"),
                          (run.group("gpt2", "evaluation").dataset, "xarray")):
        try:
            call()
        except ff.MissingPackageError as error:
            assert error.package == package and f"pip install {{package}}" in str(error), error
            assert isinstance(error, ImportError)
        else:
            raise AssertionError(package)
"""
    path = Path(ff.__file__).parents[1]
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | {"PYTHONPATH": str(path)}, timeout=600)
