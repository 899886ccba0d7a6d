"""factflow: where factual information flows inside language models.

    model = factflow.Model("demo/models/mamba")      # or Model.from_transformers(model, tokenizer)
    facts = factflow.facts("demo/facts.jsonl")[:50]
    model.sweep(facts, [factflow.block("subject", "last")], windows=5).frame()

    run = factflow.open("runs/x")
    run.curves()                    # means over prompts, with intervals
    run.cells().frame()             # tidy pandas: one row per knockout
    run.dataset()                   # xarray with named axes and units
    run.heatmap(17).plot()          # one prompt, token by token
    run.claims()                    # what the run says to the papers' claims

Models need torch, which the engine was compiled against. Reading runs needs h5py and numpy; pandas, xarray and matplotlib are imported where they are asked for. docs/python.md has more.
"""

from .arrays import Array, Group, ModelInfo
from .cells import CellKind
from .engine import Facts, Model, Result, facts
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
from .forward import Forward, SiteValues
from .hdf5 import RunInfo
from .heatmaps import Heatmap, TokenMap
from .interventions import add, block, mean, read, run, set, together
from .runs import Claim, ModelVerdict, Run
from .runs import open_run as open
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
    "Forward",
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
    "SiteValues",
    "Table",
    "TokenMap",
    "UnfinishedRunError",
    "UnknownNameError",
    "add",
    "block",
    "facts",
    "mean",
    "open",
    "read",
    "run",
    "set",
    "together",
]
