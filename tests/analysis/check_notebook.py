#!/usr/bin/env python3
"""Runs the Python lines of docs/results.md on a run and compares what they draw with its tables.

Usage: check_notebook.py RUN_DIRECTORY DOCS_FOLDER. Exit 0: equal; 1: different; 77: a Python package is missing.
"""
import csv
import os
import re
import sys

try:
    import h5netcdf  # noqa: F401
    import matplotlib
    import xarray  # noqa: F401
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(77)

matplotlib.use("Agg")
WINDOW = 9


def main():
    run, docs = map(os.path.abspath, sys.argv[1:])
    with open(f"{docs}/results.md", encoding="utf-8") as file:
        lines = re.search(r"```python\n(.*?)```", file.read(), re.S).group(1)
    with open(f"{run}/tables/curves.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if int(row["window"]) == WINDOW]
    models = list(dict.fromkeys(row["model"] for row in rows))
    lines, changed = re.subn(r'f, window, edges = "[^"]*", \d+', f"f, window, edges = {run + '/results.h5'!r}, {WINDOW}", lines)
    lines, named = re.subn(r"for model in \[.*?\]", f"for model in {models!r}", lines)
    assert changed == named == 1, "the lines of docs/results.md do not look as expected"
    os.chdir(run)
    names = {}
    exec(lines, names)
    checked = 0
    for panel, edge in zip(names["panels"], names["edges"]):
        for line in panel.get_lines():
            expected = [float(row["change"]) for row in rows if (row["model"], row["edge"]) == (line.get_label(), edge)]
            depths = [float(row["relative_depth"]) for row in rows if (row["model"], row["edge"]) == (line.get_label(), edge)]
            assert len(expected) == len(line.get_ydata()), (line.get_label(), edge)
            assert all(abs(x - depth) < 1e-12 for x, depth in zip(line.get_xdata(), depths)), (line.get_label(), edge)
            for drawn, value in zip(line.get_ydata(), expected):
                checked += 1
                assert abs(drawn - value) <= 1e-9 * max(1, abs(value)), (line.get_label(), edge, drawn, value)
    assert checked > 100 and os.path.getsize("figure1.pdf") > 5000
    print(f"{checked} points of figure 1 equal the tables")


if __name__ == "__main__":
    main()
