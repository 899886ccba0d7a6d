"""The Python of docs/python.md runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib
import pytest

import factflow as ff

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_every_snippet_runs(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib.use("Agg")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "demo-quick").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "python.md").read_text(encoding="utf-8")
    snippets = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(snippets) == 5  # the one of the engine has a test of its own
    names: dict[str, Any] = {}
    for snippet in snippets:
        exec(compile(snippet, "docs/python.md", "exec"), names)
    assert names["mamba"].rows == 8 and len(names["figure"].axes) == 3
    assert names["dataset"].change.attrs["units"] == "percent"


def test_the_page_names_every_error() -> None:
    text = (DOCS / "python.md").read_text(encoding="utf-8")
    for name in ff.__all__:
        if name.endswith("Error"):
            assert f"`{name}`" in text or f"`ff.{name}`" in text, name


def test_the_snippet_of_the_engine_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    from factflow.native import engine

    try:
        engine()
    except ff.EngineMissingError as error:
        pytest.skip(str(error))
    matplotlib.use("Agg")
    monkeypatch.chdir(DOCS.parent)
    text = (DOCS / "python.md").read_text(encoding="utf-8")
    snippets = re.findall(r"```python engine\n(.*?)```", text, re.S)
    assert len(snippets) == 1
    names: dict[str, Any] = {}
    exec(compile(snippets[0], "docs/python.md", "exec"), names)
    assert names["result"].cells().rows == 50 * 2 * (12 + 8)
    assert names["run"]["s"].value.shape[:2] == (6, 1) and names["run"].change != 0
