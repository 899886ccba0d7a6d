"""Runs of the program, made once for all tests: `pytest --factflow=build/factflow tests/python`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import factflow as ff

ROOT = Path(__file__).resolve().parents[2]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--factflow", default=str(ROOT / "build" / "factflow"), help="the program")


@pytest.fixture(scope="session")
def program(request: pytest.FixtureRequest) -> Callable[..., None]:
    path = Path(str(request.config.getoption("--factflow"))).resolve()
    if not path.exists():
        pytest.fail(f"there is no program {path}: build it, or say where it is with --factflow")

    def call(*arguments: str | os.PathLike[str]) -> None:
        environment = os.environ | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        done = subprocess.run([path, *arguments], capture_output=True, text=True, env=environment, timeout=600)
        assert done.returncode == 0, done.stderr

    return call


@pytest.fixture(scope="session")
def folder(program: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of tests/python/kinds.yaml, analysed."""
    directory = tmp_path_factory.mktemp("runs") / "kinds"
    program("run", Path(__file__).with_name("kinds.yaml"), "--out", directory)
    program("analyse", directory)
    return directory


@pytest.fixture(scope="session")
def run(folder: Path) -> ff.Run:
    return ff.open(folder)
