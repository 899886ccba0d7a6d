#!/usr/bin/python3
"""The recipes of containers/: parsed, each Dockerfile held against its Apptainer twin, and those for CPUs run.

usage: containers_test.py SOURCE BUILD [--whole]

A bare Debian (debootstrap) stands for the image. In the stage that builds, apt-get only looks whether it could install what is asked, and the package
is the one of BUILD; with --whole everything runs as the recipe says, which takes as long as a build. The last stage runs in any case: apt installs the
package with all it needs, its commands run, the program computes, and apt removes it. Exit 77: there is no root, no debootstrap or no network.
"""
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

MIRROR = "http://deb.debian.org/debian"
SECTIONS = {"arguments", "files", "post", "environment", "runscript", "test"}
INSTRUCTIONS = {"FROM", "RUN", "COPY", "WORKDIR", "ENV", "ARG", "ENTRYPOINT"}


class Stage:
    def __init__(self, name, image):
        self.name, self.image = name, image
        self.copies, self.steps, self.variables, self.arguments = [], [], {}, {}
        self.entry, self.folder = None, "/"


def dockerfile(path):
    stages = []
    text = re.sub(r"\\\n\s*", "", path.read_text())
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        word, rest = line.split(maxsplit=1)
        assert word in INSTRUCTIONS, f"{path}:{number}: unknown instruction {word}"
        if word == "FROM":
            image, *name = rest.split(" AS ")
            stages.append(Stage(name[0] if name else "final", image))
            continue
        stage = stages[-1]
        if word == "RUN":
            stage.steps.append((stage.folder, rest))
        elif word == "COPY":
            origin = re.match(r"--from=(\S+) ", rest)
            assert not origin or origin[1] in [one.name for one in stages[:-1]], f"{path}:{number}: no stage {origin[1]}"
            stage.copies.append((origin[1] if origin else None, *rest.split()[-2:]))
        elif word == "WORKDIR":
            stage.folder = rest
        elif word == "ENV":
            name, value = rest.split("=", 1)
            stage.variables[name] = value
        elif word == "ARG":
            name, value = rest.split("=", 1)
            stage.arguments[name] = value
        else:
            stage.entry = re.findall(r'"([^"]+)"', rest)
    return stages


def definition(path):
    stages, section = [], None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        where = f"{path}:{number}"
        if not line.strip() or line.startswith("#"):
            continue
        header = re.fullmatch(r"(Bootstrap|From|Stage): (\S+)", line)
        if header:
            if header[1] == "Bootstrap":
                assert header[2] == "docker", f"{where}: unknown bootstrap"
                stages.append(Stage(None, None))
                section = None
            setattr(stages[-1], {"From": "image", "Stage": "name", "Bootstrap": "bootstrap"}[header[1]], header[2])
        elif line.startswith("%"):
            section, *origin = line[1:].split()
            assert section in SECTIONS, f"{where}: unknown section {section}"
            origin = origin[1] if origin else None
            assert origin is None or (section == "files" and origin in [one.name for one in stages[:-1]]), f"{where}: no stage {origin}"
        else:
            assert section and line.startswith("    "), f"{where}: outside of any section"
            stage, text = stages[-1], line.strip()
            if section == "post":
                stage.steps.append(text)
            elif section == "files":
                stage.copies.append((origin, *text.split()))
            elif section == "environment":
                name, value = text.removeprefix("export ").split("=", 1)
                stage.variables[name] = value
            elif section == "arguments":
                name, value = text.split("=", 1)
                stage.arguments[name] = value
            elif section == "runscript":
                stage.entry = shlex.split(text)
            else:
                stage.test = text
    for stage in stages:  # folders and variables are commands there
        folder, steps = "/", []
        for text in stage.steps:
            if text.startswith("cd "):
                folder = text[3:]
            else:
                steps.append((folder, text))
        stage.steps = steps
    return stages


def commands(stages, docker):
    """What the stages do, in words that both kinds of recipes share."""
    all_of_them = []
    for stage in stages:
        told = [("image", stage.image), *[("copy", *copy) for copy in stage.copies]]
        for folder, text in stage.steps:
            if docker:
                text = re.sub(r"\$\{([A-Z]+)\}", r"{{ \1 }}", text)
            elif text.startswith("export "):
                continue  # ENV
            told.append(("run", folder, text))
        all_of_them.append((stage.name, told, stage.arguments))
    return all_of_them


def check_pair(folder, docker, apptainer):
    ours, theirs = dockerfile(folder / docker), definition(folder / apptainer)
    for stages, name in ((ours, docker), (theirs, apptainer)):
        assert [stage.name for stage in stages] == ["build", "final"], f"{name}: {[stage.name for stage in stages]}"
        for stage in stages:
            for _, step in stage.steps:
                subprocess.run(["bash", "-n", "-c", step], check=True)
                for variable in re.findall(r"\$\{([A-Z]+)\}|\{\{ ([A-Z]+) \}\}", step):
                    assert "".join(variable) in stage.arguments, f"{name}: {variable} is not set"
    # The twin's test is the Dockerfile's last command.
    told, twin = commands(ours, True), commands(theirs, False)
    version = told[-1][1].pop()
    assert version[2] == theirs[-1].test == "factflow --version", version
    # Docker copies the sources after what changes rarely, Apptainer before.
    for one, other in zip(told, twin):
        assert one[0] == other[0] and one[2] == other[2], (one, other)
        assert sorted(map(str, one[1])) == sorted(map(str, other[1])), f"{docker} and {apptainer} differ:\n{one[1]}\n{other[1]}"
    assert ours[-1].entry == ["factflow"] and theirs[-1].entry == ["exec", "factflow", "$@"]
    return ours


class Root:
    def __init__(self, path):
        self.path = path

    def run(self, command, folder="/", environment=(), quiet=True):
        words = ["unshare", "--mount", "bash", "-ec",
                 'mount -t proc proc "$0/proc"; mount --rbind /dev "$0/dev"; exec chroot "$0" /usr/bin/env -i "${@}"',
                 str(self.path), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "DEBIAN_FRONTEND=noninteractive",
                 *[f"{name}={value}" for name, value in environment], "bash", "-ec", f"mkdir -p {folder} && cd {folder} && {command}"]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout[-3000:]}"
        return done.stdout


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


def bare_root(path):
    made = subprocess.run(["debootstrap", "--variant=minbase", "bookworm", str(path), MIRROR], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if made.returncode and not (path / "usr/bin/apt-get").exists():
        skip(f"debootstrap: {made.stdout.strip().splitlines()[-1]}")
    assert made.returncode == 0, made.stdout[-2000:]
    shutil.copy("/etc/resolv.conf", path / "etc/resolv.conf")


def run_steps(stages, source, build, scratch, whole):
    bare_root(scratch / "bare")
    roots = {}
    for stage in stages:
        root = roots[stage.name] = Root(scratch / stage.name)
        if stage is stages[-1]:
            (scratch / "bare").rename(root.path)
        else:
            subprocess.run(["cp", "-a", scratch / "bare", root.path], check=True)
            # Later than everything else in PATH's first folder: what is asked must exist, but need not be fetched.
            if not whole:
                simulate = root.path / "usr/local/bin/apt-get"
                simulate.write_text('#!/bin/sh\n[ "$1" = update ] || set -- --simulate "$@"\nexec /usr/bin/apt-get "$@"\n')
                simulate.chmod(0o755)
        for origin, what, where in stage.copies:
            target = root.path / where.lstrip("/")
            if origin is None:
                target.mkdir()
                subprocess.run(f"git -C {shlex.quote(str(source))} ls-files -z | (cd {shlex.quote(str(source))} && xargs -0 cp -P --parents -t {shlex.quote(str(target))})", shell=True, check=True)
            else:
                shutil.copytree(roots[origin].path / what.lstrip("/"), target)
        for folder, step in stage.steps:
            if step == "make package" and not whole:
                root.run("apt-get install -y --no-install-recommends $(tools/install.sh build --list)", folder)
                subprocess.run(["cpack", "--config", "CPackConfig.cmake", "-B", str(root.path / "factflow/build/packages")], cwd=build, stdout=subprocess.DEVNULL, check=True)
                shutil.rmtree(root.path / "factflow/build/packages/_CPack_Packages", ignore_errors=True)
            else:
                root.run(step, folder, stage.variables.items())
            print(f"passed: {stage.name}: {step[:80]}", flush=True)
    final = roots["final"]
    final.run("factflow run /usr/share/factflow/configs/demo-quick.yaml --limit 4 --set run.threads_per_rank=1 -q && test -s runs/*/results.h5 && factflow analyse runs/*", stages[-1].folder,
              stages[-1].variables.items())
    final.run("apt-get purge -y factflow && ! test -e /usr/bin/factflow && ! test -e /usr/share/factflow")
    print("passed: installed by apt, run, and removed in a bare Debian")


def main():
    source, build = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    recipes = check_pair(source / "containers", "Dockerfile", "factflow.def")
    check_pair(source / "containers", "Dockerfile.cuda", "factflow-cuda.def")
    print("passed: four recipes, in pairs that do the same", flush=True)
    if not shutil.which("debootstrap"):
        skip("there is no debootstrap")
    if subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL).returncode:
        skip("only root can make a bare root")
    if not (build / "CPackConfig.cmake").exists():
        skip("another libtorch than Debian's, so there is no package")
    scratch = Path(tempfile.mkdtemp(prefix="factflow_containers."))
    try:
        run_steps(recipes, source, build, scratch, "--whole" in sys.argv)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


main()
