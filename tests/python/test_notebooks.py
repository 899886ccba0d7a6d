"""The notebooks of docs/notebooks run from top to bottom, and are stored with outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import factflow as ff

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def kinds_of(cell: Any) -> set[str]:
    """What kinds of outputs a cell has."""
    return {kind for output in cell.outputs for kind in output.get("data", {output.output_type: ""})} - {"stream"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, folder: Path, tmp_path: Path) -> None:
    if path.stem != "figure_1":
        try:
            from factflow.native import engine

            engine()
        except ff.EngineMissingError as error:
            pytest.skip(str(error))
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "demo-quick").symlink_to(folder)
    (tmp_path / "demo").symlink_to(ROOT / "demo")
    stored = nbformat.read(path, as_version=4)
    run = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(run, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    for found, kept in zip(run.cells, stored.cells, strict=True):
        if found.cell_type == "code":
            assert kinds_of(found) == kinds_of(kept), f"run {path.name} again: its outputs are of another notebook"


def test_there_are_three() -> None:
    assert len(NOTEBOOKS) == 3
