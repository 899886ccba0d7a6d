"""The engine in this process: models, facts, sweeps. `import factflow as ff` has all of it.

Interventions, roles, sites and kinds of experiments are those of the configuration (docs/configuration.md): what is written here
becomes a configuration and goes through the engine's own fields, so a message about a wrong word is the program's.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from .arrays import Array, Group, ModelInfo, Values
from .errors import CheckpointError, InputError, UnknownNameError
from .forward import Forward, forward_of
from .interventions import Fact, Intervention, Read, sections_of
from .native import blas_place, engine
from .packages import needed
from .runs import Arrays
from .table import Table

if TYPE_CHECKING:
    import pandas

# Called between units of work with units done, units known so far, and the share of all work from 0 to 1.
Progress = Callable[[int, int, float], None]


# ---- facts


class Facts(Sequence[Fact]):
    """Prompts with subjects and answers, in the order of their file; slices are facts again.

    bad: (where, reason) of records that could not become prompts.
    """

    def __init__(self, facts: Sequence[Fact], bad: Sequence[tuple[str, str]] = ()) -> None:
        self._facts = list(facts)
        self.bad = tuple(bad)

    @overload
    def __getitem__(self, place: int) -> Fact: ...
    @overload
    def __getitem__(self, place: slice) -> Facts: ...
    def __getitem__(self, place: int | slice) -> Fact | Facts:
        return Facts(self._facts[place]) if isinstance(place, slice) else self._facts[place]

    def __len__(self) -> int:
        return len(self._facts)

    def frame(self) -> pandas.DataFrame:
        """One row per fact."""
        return self.table().frame()

    def table(self) -> Table:
        """One row per fact: prompt (id), text, subject, answer, relation."""
        names = {"prompt": "id", "text": "text", "subject": "subject", "answer": "answer", "relation": "relation"}
        return Table({column: [getattr(fact, name) for fact in self._facts] for column, name in names.items()})

    def __repr__(self) -> str:
        return f"<{len(self)} facts{f', {len(self.bad)} bad records' if self.bad else ''}>"


def facts(
    source: str | os.PathLike[str] | pandas.DataFrame | Iterable[Sequence[str] | Mapping[str, Any]], **filters: Any
) -> Facts:
    """Facts of a file in any of the forms of docs/datasets.md, of a pandas frame, or of tuples (prompt, subject, answer).

    A frame's columns, and a mapping's keys, are those of the minimal form: prompt, subject, answer, and id, relation where there
    are any. filters: the keys of the section `dataset`: relations, ids, sample, seed, limit, format. Raises InputError.
    """
    if isinstance(source, (str, os.PathLike)):
        return _read_facts(os.path.abspath(os.path.expanduser(source)), filters)
    rows: Iterable[Any] = source.to_dict("records") if hasattr(source, "to_dict") else source
    records = [dict(row) if isinstance(row, Mapping) else _record(row) for row in rows]
    with tempfile.TemporaryDirectory(prefix="factflow-") as folder:
        path = os.path.join(folder, "facts.jsonl")
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(record, ensure_ascii=False, default=_plain) + "\n" for record in records)
        return _read_facts(path, {"format": "minimal", **filters})


def _record(row: Sequence[str]) -> dict[str, str]:
    if isinstance(row, str) or len(row) != 3:
        raise InputError("facts", f"expected (prompt, subject, answer), found {row!r}", "give tuples of three texts")
    return dict(zip(("prompt", "subject", "answer"), row, strict=True))


def _plain(value: Any) -> Any:
    """numpy's numbers, which JSON does not know."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no value of a configuration")


def _read_facts(path: str, filters: Mapping[str, Any]) -> Facts:
    found, _, bad = engine().read_facts(_config("facts", {"path": path, **filters}, "-", {}, {}))
    return Facts(found, bad)


def _one_fact(given: Fact | Sequence[str]) -> Fact:
    return given if isinstance(given, engine().Fact) else facts([given])[0]


# ---- models


def _config(
    name: str, dataset: Mapping[str, Any], path: str, model: Mapping[str, Any], rest: Mapping[str, Any]
) -> str:
    """A configuration as text; JSON is YAML."""
    whole = {"name": name, "dataset": dict(dataset), "models": [{"name": name, "path": path, **model}], **rest}
    return json.dumps(whole, ensure_ascii=False, default=_plain)


def _name_of(path: str) -> str:
    """A name that a group of results may have."""
    made = re.sub(r"[^A-Za-z0-9._-]+", "-", os.path.basename(path.rstrip("/")).split("@")[0]).lstrip("._-")
    return made[:100] or "model"


class Model:
    """A model with its weights and tokenizer, ready to compute.

    path: a directory in the Hugging Face layout (docs/checkpoints.md), or hf:ORG/NAME[@REVISION] out of the local cache;
    tokenizer: a directory or tokenizer.json where it lies elsewhere; name: in results, by default the folder's; answer: which
    token is the answer's, "continuation" or "first-token"; choices: `head`, `gated_norm` of a configuration's model.
    device: "auto", "cpu", "cuda", "cuda:N"; precision: "fp32", "fp64" (CPU), "tf32x3", "tf32", "bf16" (GPU); threads: of the CPU,
    by default all that the process may use; memory_limit: of a pass, "8 GiB"; self_check: hold the engine against whole forwards
    of one prompt before each run; blas: what multiplies on the CPU, "torch" (libtorch's own: the bits of the command) or "openblas" of
    the package scipy-openblas32.

    Raises CheckpointError for what is wrong with the checkpoint, and InputError. Memory goes back with the last reference.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        tokenizer: str | os.PathLike[str] | None = None,
        name: str | None = None,
        answer: str = "continuation",
        device: str = "auto",
        precision: str = "fp32",
        threads: int | None = None,
        memory_limit: str | int | None = None,
        self_check: bool = True,
        blas: str = "torch",
        **choices: str,
    ) -> None:
        self._prepare(os.fspath(path), tokenizer, name, answer, device, precision, threads, memory_limit, self_check, choices)
        place = blas_place(blas)
        with _as_checkpoint_error():
            self._native = engine().load(self._configuration({}), place)

    def _prepare(
        self,
        path: str,
        tokenizer: str | os.PathLike[str] | None,
        name: str | None,
        answer: str,
        device: str,
        precision: str,
        threads: int | None,
        memory_limit: str | int | None,
        self_check: bool,
        choices: Mapping[str, str],
    ) -> None:
        self.path = path if path.startswith("hf:") else os.path.abspath(os.path.expanduser(path))
        self.name = name or _name_of(self.path)
        self.copied: Mapping[str, str] = {}
        self._choices: dict[str, Any] = dict(choices)
        if tokenizer is not None:
            given = os.fspath(tokenizer)
            self._choices["tokenizer"] = given if given.startswith("hf:") else os.path.abspath(os.path.expanduser(given))
        self._answer = answer
        run = {
            "device": device,
            "precision": precision,
            "threads_per_rank": threads,
            "memory_limit": memory_limit,
            "self_check": "on" if self_check else "off",
        }
        self._run = {key: value for key, value in run.items() if value is not None}

    def _configuration(self, sections: Mapping[str, Any], correct_for: str = "none") -> str:
        select = {"correct_for": correct_for, "answer": self._answer}
        rest = {"select": select, **sections, "run": self._run}
        return _config(self.name, {"path": "-"}, self.path, self._choices, rest)

    @classmethod
    def from_transformers(cls, model: Any, tokenizer: Any, *, name: str | None = None, **options: Any) -> Model:
        """A model of transformers that is in memory, with its tokenizer. options: those of Model.

        Float32 weights on the host are shared where the engine uses them as they lie: a change of them is a change of this model.
        `copied` says which are not, and why. Raises CheckpointError for hooks, adapters, quantised layers and replaced modules, by name.
        """
        from .from_transformers import exported

        place = blas_place(options.pop("blas", "torch"))
        given = exported(model, tokenizer)
        made = cls.__new__(cls)
        defaults: dict[str, Any] = {
            "answer": "continuation", "device": "auto", "precision": "fp32", "threads": None, "memory_limit": None, "self_check": True,
        }  # fmt: skip
        values = {key: options.pop(key, default) for key, default in defaults.items()}
        label = name or _name_of(str(getattr(model, "name_or_path", "")) or type(model).__name__)
        made._prepare(given.folder.name, None, label, choices=options, **values)
        with _as_checkpoint_error():
            made._native = given.load(made._configuration({}), place)
        made.copied = given.copied_by(made._native)
        # The folder holds config.json and the tokenizer, which are read by now.
        weakref.finalize(made, given.folder.cleanup)
        return made

    @property
    def facts(self) -> Mapping[str, Any]:
        """family, layers, hidden_size, vocabulary, parameters, digests, layer_blocks [layers], libraries, device, blas."""
        facts: Mapping[str, Any] = self._native.facts
        return facts

    def sweep(
        self,
        facts: Sequence[Fact],
        interventions: Sequence[Intervention],
        windows: Sequence[int] | int,
        *,
        placement: str = "fit",
        correct_for: str = "none",
        progress: bool | Progress = False,
    ) -> Result:
        """Every intervention on every fact in every window of layers of these sizes.

        placement: "fit" (starts 0 to layers - size) or "centred"; correct_for: "none" takes every fact, "self" those that the
        model gets right; progress: True draws a bar by tqdm. Ctrl-C stops between units of work.
        """
        sizes = [windows] if isinstance(windows, int) else list(windows)
        sections = sections_of(list(interventions), {"sizes": sizes, "placement": placement})
        return self.experiments(facts, correct_for=correct_for, progress=progress, **sections)

    def experiments(
        self,
        facts: Sequence[Fact],
        *,
        correct_for: str = "none",
        progress: bool | Progress = False,
        **sections: Any,
    ) -> Result:
        """Any kinds of experiments, by their sections of a configuration:
        `model.experiments(facts, trace={"prompts": 4}, parts={...})`."""
        known = engine().sections
        for section in sections:
            if section not in known:
                raise InputError("experiments", f"there is no section {section!r}", f"there are: {', '.join(known)}")
        with _bar(progress) as report:
            groups, failures, warnings = self._native.run(
                self._configuration(sections, correct_for), list(facts), report
            )
        return Result(self, facts, groups, failures, warnings)

    def run(self, fact: Fact | Sequence[str], interventions: Sequence[Intervention] = (), *, reads: Sequence[Read] = ()) -> Forward:
        """One run of one prompt: all interventions act together, each in its `layers`, and values are read.

        fact: of `ff.facts`, or (prompt, subject, answer). interventions: as of a sweep, with `layers`; a value may be that of another
        run, `ff.run(fact)`, its tokens paired by role, or `ff.mean(facts)`; lists of sites and tokens act together too.
        Raises InputError for what the model or the prompt does not have, and for what changes nothing.
        """
        return forward_of(self._native, _one_fact(fact), interventions, reads)

    def __repr__(self) -> str:
        facts = self.facts
        return f"<Model {self.name}: {facts['family']}, {facts['layers']} layers, {facts['parameters']:,} parameters, {facts['device']}>"


class _as_checkpoint_error:
    """What is wrong while a model is loaded is wrong with the checkpoint, and with a tensor where the message says so."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, InputError) and not isinstance(error, CheckpointError) and error.where != "the call":
            found = re.search(r"\btensor '?([\w.]+)", f"{error.where} {error.problem}")
            tensor = found.group(1) if found else None
            raise CheckpointError(error.where, error.problem, error.remedy, tensor=tensor) from None


class _bar:
    """A progress bar, a callable of the caller's, or nothing."""

    def __init__(self, progress: bool | Progress) -> None:
        self._progress = progress
        self._tqdm: Any = None

    def __enter__(self) -> Progress:
        if not self._progress:
            return lambda done, known, share: None
        if self._progress is not True:
            return self._progress
        tqdm = needed("tqdm", "progress=True", "tqdm.auto").tqdm
        self._tqdm = tqdm(total=100, unit="%", bar_format="{l_bar}{bar}| {elapsed} < {remaining}")

        def show(done: int, known: int, share: float) -> None:
            self._tqdm.update(100 * share - self._tqdm.n)

        return show

    def __exit__(self, *_: object) -> None:
        if self._tqdm is not None:
            self._tqdm.close()


# ---- results


class _Memory:
    """The arrays of one model, in memory."""

    def __init__(self, model: ModelInfo, groups: Sequence[Any], facts: Mapping[int, tuple[str, str]]) -> None:
        self._models = {model.name: model}
        self._groups = {path: _group(path, attributes, axes, arrays) for path, attributes, axes, arrays in groups}
        self._facts = facts

    @property
    def models(self) -> Mapping[str, ModelInfo]:
        return self._models

    def groups(self, model: str) -> tuple[str, ...]:
        return tuple(self._groups)

    def group(self, model: str, path: str) -> Group:
        if path not in self._groups:
            raise UnknownNameError(f"group of {model}", path, self._groups)
        return self._groups[path]

    def facts(self) -> Mapping[int, tuple[str, str]]:
        return self._facts


def _group(path: str, attributes: Mapping[str, Any], axes: Sequence[Any], arrays: Sequence[Any]) -> Group:
    return Group(path, dict(attributes), {one[0]: _array(*one) for one in axes}, {one[0]: _array(*one) for one in arrays})


def _array(name: str, axes: tuple[str, ...], shape: tuple[int, ...], units: str, description: str, values: Any) -> Array:
    if isinstance(values, list):
        texts = np.empty(len(values), dtype=object)
        texts[:] = values
        values = texts.reshape(shape)
    stored: Values = values
    return Array(name, axes, shape, units, description, lambda: stored, stored.dtype)


class Result(Arrays):
    """What came out: the arrays that a run would store of this model, with the same tables, datasets and figures as a Run.

    failures: prompt, stage, reason; warnings: what makes numbers mean something else than they seem to.
    """

    def __init__(
        self, model: Model, facts: Sequence[Fact], groups: Sequence[Any], failures: Sequence[Any], warnings: Sequence[str]
    ) -> None:
        said = model.facts
        about = ModelInfo(
            name=model.name,
            path=model.path,
            layer_blocks=tuple(said["layer_blocks"]),
            **{
                key: said[key]
                for key in (
                    "family", "layers", "hidden_size", "vocabulary", "parameters", "checkpoint_digest", "tokenizer_digest",
                )
            },
        )  # fmt: skip
        super().__init__(_Memory(about, groups, {fact.id: (fact.subject, fact.relation) for fact in facts}))
        self.failures = Table({name: [row[i] for row in failures] for i, name in enumerate(("prompt", "stage", "reason"))})
        self.warnings = tuple(warnings)

    def __repr__(self) -> str:
        return f"<Result of {', '.join(self.models)}: {', '.join(self.kinds) or 'clean runs'}; {self.failures.rows} failures>"
