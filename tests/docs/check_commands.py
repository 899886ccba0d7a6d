#!/usr/bin/env python3
"""Runs the commands of the documents.

Every command in a code block of README.md, CONTRIBUTING.md and docs/*.md is run in a scratch folder, as a reader would run it beside a clone, or stands in
NOT_RUN with the reason. A command that is neither fails the test. Commands that are not run are still read by a shell, and the options and configurations of
those of factflow are checked. So are commands and options that are named in running text.

Usage: check_commands.py FACTFLOW [DOCUMENT...]. Exit 0: good; 1: not.
"""
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHELLS = {"sh", "bash", ""}
# First words by which a block without a language, or an indented one, is known to be commands.
PROGRAMS = {"factflow", "build/factflow", "build/cuda/factflow", "make", "cmake", "mpirun", "pip", "python3", "sbatch", "ctest", "ninja", "docker", "apptainer",
            "apt-get", "apt", "dpkg", "source", "man", "git"}
SECONDS = 240  # of one command, on a busy machine; all together take about a minute of processor time

# What a reader has and the scratch folder has not, and what a test can do with less of. In order: (pattern, replacement).
SMALLER = [
    (r"(?<![\w.])/models/mamba-130m-hf\b", "demo/models/mamba"),
    (r"(?<![\w.])/models\b", "demo/models"),
    # Where an installed factflow has what a clone has.
    (r"(?<![\w.])/usr/share/factflow/", ""),
    (r"\bcounterfact\.jsonl?\b", "counterfact.json"),
    # Every run is one of a few prompts.
    (r"(factflow run (?!.*--limit)(?!.*dataset\.limit)\S+)", r"\1 --limit 4"),
    (r"--set dataset\.limit=100", "--set dataset.limit=4"),
    # The directory of its name holds a run of fewer prompts.
    (r"(factflow submit (?!.*--out)\S+)", r"\1 --out runs/submitted"),
]

# Commands that are not run here: (pattern of the whole command, reason).
NOT_RUN = [
    (r"make( -\S+)* (demo|test|demo-beyond|demo-hybrids|all|build|everything|package|clean|format)\b.*", "installs and builds; .ci/run and people run it"),
    (r"make", "builds; .ci/run and people run it"),
    (r"(cmake|ctest|ninja)\b.*", "builds; .ci/run does"),
    (r".*build/cuda/.*", "needs a GPU"),
    (r"(?!.*--dry-run).*configs/slurm/gpu.*", "asks for GPUs of a cluster; tests/system/slurm_test.sh submits"),
    (r".*factflow run configs/(hybrids|locate|beyond|paper|transformers)/.*", "minutes or large checkpoints; validated here, and run by tests/system"),
    (r".*factflow analyse runs/(everything|locate-demo|demo-beyond|demo-tasks|demo-hybrids)\b.*", "needs such a run"),
    (r".*factflow apply-edits .*", "needs a run of edits; tests/model/edited_checkpoint_test.cpp writes some"),
    (r".*factflow conform .*", "needs published checkpoints"),
    (r".*factflow (compare|report) \S+ .*runs/another.*", "needs two runs of one's own"),
    (r"(pip|python3 -m pip|\S+/bin/pip|\S+/bin/python|tools/python_environment\.sh)\b.*", "installs from a registry; .ci/run does"),
    (r"(sudo|apt-get|apt|dpkg|docker|podman|apptainer|singularity|debootstrap|man|git|source|\.)\b.*", "changes the machine, or needs another one"),
    (r"(sbatch|squeue|scancel|srun)\b.*", "needs a cluster"),
]


def blocks(text):
    """The lines of each block of commands: fenced, or indented by four spaces."""
    fence, lines, indented = None, [], []
    for line in text.splitlines() + [""]:
        opening = re.match(r"^\s*```(\S*)", line)
        if fence is not None:
            if line.strip() == "```":
                if fence in SHELLS and (fence or first_word(lines) in PROGRAMS):
                    yield lines
                fence = None
            else:
                lines.append(line)
            continue
        if opening:
            fence, lines = opening.group(1), []
        if line.startswith("    ") and not opening:
            indented.append(line[4:])
        elif indented:
            if first_word(indented) in PROGRAMS or first_word(indented).startswith("tools/"):
                yield indented
            indented = []


def first_word(lines):
    words = " ".join(lines[:1]).split()
    return words[0] if words else ""


def commands(lines):
    """Whole commands of a block: lines that end with a backslash go on, comments and empty lines are none."""
    whole = ""
    for line in lines:
        whole += line
        if whole.endswith("\\"):
            whole = whole[:-1] + " "
            continue
        command = strip_comment(whole)
        whole = ""
        if command:
            yield command


def strip_comment(line):
    """Without a comment at its end; a # in quotes is none."""
    quote = ""
    for i, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter == "#" and (i == 0 or line[i - 1] in " \t"):
            line = line[:i]
            break
    return line.strip()


def readme_configuration():
    """The configuration of the README, about checkpoints and prompts of the demo."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    yaml = re.search(r"```yaml\n(.*?)```", text, re.S).group(1)
    for pattern, replacement in ((r"/models/mamba-130m-hf", "demo/models/mamba"), (r'"hf:openai-community/gpt2-medium"', "demo/models/gpt2")):
        yaml, count = re.subn(pattern, replacement, yaml)
        assert count == 1, f"README.md: the configuration has no {pattern}"
    return yaml


class Scratch:
    """A folder that looks like a built clone with some runs in it."""

    def __init__(self, folder, program):
        self.folder, self.program = Path(folder), Path(program).resolve()
        for entry in ROOT.iterdir():
            if entry.name not in {"build", "runs", ".git"}:
                (self.folder / entry.name).symlink_to(entry)
        for place in ("build", "bin"):
            (self.folder / place).mkdir()
            (self.folder / place / "factflow").symlink_to(self.program)
        (self.folder / "counterfact.json").write_text(self.facts(), encoding="utf-8")
        (self.folder / "sweep.yaml").write_text(readme_configuration(), encoding="utf-8")
        self.environment = {**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}", "OMP_NUM_THREADS": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1",
                            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1", "HF_HUB_OFFLINE": "1"}

    @staticmethod
    def facts():
        """The demo's facts as one JSON array, as COUNTERFACT comes."""
        lines = (ROOT / "demo/facts.jsonl").read_text(encoding="utf-8").splitlines()
        return "[" + ",\n".join(line for line in lines if line.strip()) + "]\n"

    def run(self, command, seconds=SECONDS):
        begun = time.monotonic()
        try:
            done = subprocess.run(["bash", "-c", command], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, errors="replace", timeout=seconds)
        except subprocess.TimeoutExpired:
            return -1, f"took more than {seconds} s", seconds
        return done.returncode, done.stdout, time.monotonic() - begun


class Checker:
    def __init__(self, scratch):
        self.scratch, self.problems, self.run_count, self.read_count = scratch, [], 0, 0
        self.help, self.done = {}, set()

    def problem(self, place, text):
        self.problems.append(f"{place}: {text}")

    def options_of(self, command):
        """The options that a command of factflow has, by its help; None if there is no such command."""
        if command not in self.help:
            code, text, _ = self.scratch.run(f"factflow help {shlex.quote(command)}")
            self.help[command] = set(re.findall(r"--[a-z][a-z-]*", text)) | {"--help", "--version"} if code == 0 else None
        return self.help[command]

    def check_options(self, place, command):
        """Command and options of what looks like a call of factflow."""
        call = re.search(r"(?:^|\s)(?:\S*/)?factflow\s+([a-z][a-z-]*)(.*)", command)
        if not call:
            return
        if call.group(1) == "help":  # of a command; without one it lists all
            return
        options = self.options_of(call.group(1))
        if options is None:
            self.problem(place, f"factflow has no command '{call.group(1)}': {command}")
            return
        for option in re.findall(r"(?<=\s)--[a-z][a-z-]*", call.group(2)):
            if option not in options:
                self.problem(place, f"factflow {call.group(1)} has no option {option}: {command}")

    def check_config(self, place, command):
        """What is not run is at least validated, where its checkpoints are here."""
        config = re.search(r"\b(configs/(?:locate|beyond|hybrids)/demo[\w-]*\.yaml)", command)
        path = re.search(r"\b(configs/\S+\.yaml)", command)
        if path and not (ROOT / path.group(1)).exists():
            self.problem(place, f"there is no {path.group(1)}: {command}")
        if not config or config.group(1) in self.done:
            return
        self.done.add(config.group(1))
        code, text, _ = self.scratch.run(f"factflow validate {config.group(1)}")
        if code != 0:
            self.problem(place, f"factflow validate {config.group(1)} says: {text.strip()[-300:]}")

    def check(self, place, command):
        code, text, _ = self.scratch.run(f"bash -n <<'COMMAND'\n{command}\nCOMMAND")
        if code != 0:
            self.problem(place, f"no shell reads it: {command}: {text.strip()}")
            return
        self.check_options(place, command)
        if any(re.fullmatch(pattern, command) for pattern, _ in NOT_RUN):
            self.read_count += 1
            self.check_config(place, command)
            return
        smaller = command
        for pattern, replacement in SMALLER:
            smaller = re.sub(pattern, replacement, smaller)
        code, text, seconds = self.scratch.run(smaller)
        self.run_count += 1
        print(f"{seconds:6.1f} s  {place}: {smaller}", flush=True)
        if code != 0:
            self.problem(place, f"{smaller} ends with {code}: {text.strip()[-600:]}\n  (if it cannot be run here, NOT_RUN in {Path(__file__).name} takes it, with a reason)")

    def check_document(self, path):
        text = path.read_text(encoding="utf-8")
        for lines in blocks(text):
            for command in commands(lines):
                self.check(path.name, command)
        for span in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S)):
            if re.match(r"(build/)?factflow [a-z]", span) and not span.startswith("factflow seal"):
                self.read_count += 1
                self.check_options(path.name, span)
            elif make := re.match(r"make ([a-z-]+)$", span):
                self.read_count += 1
                if not re.search(rf"^{make.group(1)}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M):
                    self.problem(path.name, f"the Makefile has no '{make.group(1)}'")


def main():
    program = sys.argv[1]
    documents = [Path(name) for name in sys.argv[2:]] or [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    with tempfile.TemporaryDirectory(prefix="factflow_docs_") as folder:
        scratch = Scratch(folder, program)
        checker = Checker(scratch)
        # A run that the documents speak of as being there.
        for command in ("factflow run configs/demo-quick.yaml --out runs/demo", ):
            code, text, seconds = scratch.run(command)
            print(f"{seconds:6.1f} s  before all: {command}", flush=True)
            if code != 0:
                checker.problem("before all", f"{command}: {text.strip()[-600:]}")
        for document in documents:
            checker.check_document(document)
    print(f"{checker.run_count} commands run, {checker.read_count} read")
    for problem in checker.problems:
        print(f"FAILED {problem}")
    sys.exit(1 if checker.problems or checker.run_count == 0 else 0)


if __name__ == "__main__":
    main()
