"""factflow: where factual information flows inside language models.

    run = factflow.open("runs/x")
    run.curves()                    # means over prompts, with intervals
    run.cells().frame()             # tidy pandas: one row per knockout
    run.dataset()                   # xarray with named axes and units
    run.heatmap(17).plot()          # one prompt, token by token
    run.claims()                    # what the run says to the papers' claims

Reading runs needs h5py and numpy; pandas, xarray and matplotlib are imported where they are asked for. docs/python.md has more.
"""

from .arrays import Array, Group, ModelInfo
from .cells import CellKind
from .errors import (
    DamagedFileError,
    FactflowError,
    ForeignFileError,
    MissingPackageError,
    MissingResultsError,
    NotAnalysedError,
    ResultsError,
    SchemaError,
    UnfinishedRunError,
    UnknownNameError,
)
from .hdf5 import RunInfo
from .heatmaps import Heatmap, TokenMap
from .run import Claim, ModelVerdict, Run
from .run import open_run as open
from .table import Table

__all__ = [
    "Array",
    "CellKind",
    "Claim",
    "DamagedFileError",
    "FactflowError",
    "ForeignFileError",
    "Group",
    "Heatmap",
    "MissingPackageError",
    "MissingResultsError",
    "ModelInfo",
    "ModelVerdict",
    "NotAnalysedError",
    "ResultsError",
    "Run",
    "RunInfo",
    "SchemaError",
    "Table",
    "TokenMap",
    "UnfinishedRunError",
    "UnknownNameError",
    "open",
]
