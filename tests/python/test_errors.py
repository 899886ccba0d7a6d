"""Files that are none, damaged, unfinished or newer: one exception each, with fields."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

import factflow as ff
from factflow.seal import _SEAL, _SEAL_LENGTH, xxh3


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(folder / "results.h5", tmp_path / "results.h5"))


def change(path: Path, attribute: str, value: object) -> None:
    """Another attribute of the root under a new seal."""
    path.write_bytes(path.read_bytes()[:-_SEAL_LENGTH])
    with h5py.File(path, "r+") as file:
        if value is None:
            del file.attrs[attribute]
        else:
            file.attrs[attribute] = value
    data = path.read_bytes()
    path.write_bytes(data + _SEAL + b"%016x %020d\n" % (xxh3(data), len(data)))


def test_the_check_sum_is_that_of_the_program(folder: Path, run: ff.Run) -> None:
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert run.digest.removeprefix("xxh3:") in report


def test_a_changed_byte_is_found(copy: Path) -> None:
    data = bytearray(copy.read_bytes())
    data[len(data) // 2] ^= 1
    copy.write_bytes(data)
    with pytest.raises(ff.DamagedFileError, match="does not match its check sum") as error:
        ff.open(copy)
    assert error.value.path == str(copy) and "intact copy" in error.value.remedy


def test_a_truncated_file_is_found(copy: Path) -> None:
    copy.write_bytes(copy.read_bytes()[:-1000])
    with pytest.raises(ff.ForeignFileError, match="truncated, changed, or no results file"):
        ff.open(copy)


def test_another_hdf5_file_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "results.h5", "w") as file:
        file["x"] = np.arange(5)
    with pytest.raises(ff.ForeignFileError):
        ff.open(tmp_path)


def test_a_sealed_file_of_something_else_is_refused(copy: Path) -> None:
    change(copy, "schema_version", None)
    with pytest.raises(ff.ForeignFileError, match="no results file of factflow"):
        ff.open(copy)


@pytest.mark.parametrize("version", [1, 3])
def test_other_schemas_are_refused(copy: Path, version: int) -> None:
    change(copy, "schema_version", version)
    with pytest.raises(ff.SchemaError) as error:
        ff.open(copy)
    assert (error.value.found, error.value.expected) == (version, 2)
    assert ("newer factflow" in error.value.remedy) == (version > 2)


def test_an_unfinished_run_is_read_only_if_asked_for(copy: Path) -> None:
    change(copy, "complete", np.int64(0))
    with pytest.raises(ff.UnfinishedRunError, match="is not finished: [0-9]+ of [0-9]+ units") as error:
        ff.open(copy)
    assert error.value.planned > 0
    with ff.open(copy, unfinished=True) as run:
        assert not run.info.complete and run.cells().rows > 0


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ff.MissingResultsError, match="no such file or directory"):
        ff.open(tmp_path / "nothing")
    with pytest.raises(ff.MissingResultsError, match="holds no results.h5"):
        ff.open(tmp_path)


def test_results_without_an_analysis_say_so(copy: Path) -> None:
    with ff.open(copy) as run, pytest.raises(ff.NotAnalysedError, match="run `factflow analyse") as error:
        run.claims()
    assert error.value.path == str(copy.parent)


def test_all_errors_have_one_base() -> None:
    for name in ff.__all__:
        if name.endswith("Error"):
            assert issubclass(getattr(ff, name), ff.FactflowError)


def test_the_seal_rejects_short_input() -> None:
    with pytest.raises(ValueError, match="240"):
        xxh3(b"x" * 240)
