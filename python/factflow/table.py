"""Columns of equal length: what tables are where pandas is not wanted."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .arrays import Values
from .errors import UnknownNameError
from .packages import needed

if TYPE_CHECKING:
    import pandas


class Table(Mapping[str, Values]):
    """A tidy table: columns by name, numpy arrays [rows]; texts are objects.

    `table.frame()` is a pandas frame; `dict(table)`, `table["change"]`, `len(table["change"])` need numpy alone.
    """

    def __init__(self, columns: Mapping[str, Values | Sequence[Any]]) -> None:
        self._columns = {
            name: values if isinstance(values, np.ndarray) else _column(values) for name, values in columns.items()
        }
        lengths = {len(values) for values in self._columns.values()}
        if len(lengths) > 1:
            raise ValueError("columns of a table differ in length")
        self.rows = lengths.pop() if lengths else 0

    def __getitem__(self, name: str) -> Values:
        try:
            return self._columns[name]
        except KeyError:
            raise UnknownNameError("column", name, self._columns) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        """Columns; `rows` is the number of rows."""
        return len(self._columns)

    def frame(self) -> pandas.DataFrame:
        """As a pandas frame."""
        pd = needed("pandas", "frame()")
        made: pandas.DataFrame = pd.DataFrame(self._columns)
        return made

    def where(self, **wanted: object) -> Table:
        """The rows whose columns have these values: `table.where(model="mamba", window=5)`."""
        keep = np.ones(self.rows, dtype=bool)
        for name, value in wanted.items():
            keep &= self[name] == value
        return Table({name: values[keep] for name, values in self._columns.items()})

    def __repr__(self) -> str:
        return f"<Table of {self.rows} rows: {', '.join(self._columns)}>"

    def _repr_html_(self) -> str:
        try:
            frame = self.frame()
        except ImportError:
            return f"<pre>{repr(self)[1:-1]}</pre>"
        html: str = frame._repr_html_()  # type: ignore[operator]
        return html


def _column(values: Sequence[Any]) -> Values:
    if all(isinstance(value, str) for value in values):
        made = np.empty(len(values), dtype=object)
        made[:] = values
        return made
    return np.asarray(values)


def joined(tables: Sequence[Table]) -> Table:
    """Rows of all tables, which have the same columns but for those that a table lacks, NaN there."""
    names = list(dict.fromkeys(name for table in tables for name in table))
    columns: dict[str, Values] = {}
    for name in names:
        parts = [table[name] if name in table else np.full(table.rows, np.nan) for table in tables]
        columns[name] = np.concatenate(parts) if parts else np.empty(0)
    return Table(columns)


def read_csv(path: str | os.PathLike[str]) -> Table:
    """A table of `factflow analyse`. A column is of integers or of floats where all of its cells are such, else of texts."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    header, cells = rows[0], rows[1:]
    return Table({name: _parsed([row[i] for row in cells]) for i, name in enumerate(header)})


def _parsed(cells: Sequence[str]) -> Values:
    kinds: tuple[tuple[Callable[[str], Any], Any], ...] = ((int, np.int64), (float, np.float64))
    for kind, dtype in kinds:
        try:
            return np.array([kind(cell) for cell in cells], dtype=dtype)
        except (ValueError, OverflowError):
            continue
    return _column(cells)
