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
from .engine import Facts, Model, Result, add, block, facts, set, together
from .errors import (
    CheckpointError,
    DamagedFileError,
    EngineError,
    EngineMissingError,
    FactflowError,
    ForeignFileError,
    InputError,
    MissingPackageError,
    MissingResultsError,
    NotAnalysedError,
    OutOfMemoryError,
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
    "CheckpointError",
    "Claim",
    "DamagedFileError",
    "EngineError",
    "EngineMissingError",
    "FactflowError",
    "Facts",
    "ForeignFileError",
    "Group",
    "Heatmap",
    "InputError",
    "MissingPackageError",
    "MissingResultsError",
    "Model",
    "ModelInfo",
    "ModelVerdict",
    "NotAnalysedError",
    "OutOfMemoryError",
    "Result",
    "ResultsError",
    "Run",
    "RunInfo",
    "SchemaError",
    "Table",
    "TokenMap",
    "UnfinishedRunError",
    "UnknownNameError",
    "add",
    "block",
    "facts",
    "open",
    "set",
    "together",
]
