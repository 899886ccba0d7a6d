"""Many checkpoints in one `factflow verify`: starting the program costs more than any of them."""
import itertools

from common import call


def verify(program, *more, timeout=600):
    return call(program, "verify", *more, "--device", "cpu", "--threads", 1, timeout=timeout)


def alone(program, folder, tolerance):
    """(0 agrees, 1 differs, 2 refused, other: what the program ended with; its words)"""
    code, out, line = verify(program, "--model", folder, "--cases", folder / "cases.json", "--tolerance", tolerance, timeout=120)
    return code, line if code == 2 else (out.splitlines() or [line])[0] if code in (0, 1) else line


def answer_of(folder, part, refusals):
    """What the program says of one: its part of stdout, or the line of stderr that begins with its folder."""
    verdict = next((line for line in part if line.startswith(("verdict: within", "verdict: BEYOND"))), None)
    if verdict:
        return (1 if "BEYOND" in verdict else 0), part[0]
    line = "\n".join(line for line in refusals if line.startswith(f"{folder}/"))
    return (2, line) if line else None


def folder_of(root, number):
    """Where checkpoint `number` is written: a hundred beside each other."""
    folder = root / str(number // 100) / str(number)
    folder.mkdir(parents=True)
    return folder


def verify_together(program, parent, folders, tolerance):
    """Answers of `folders`, which lie in `parent` with nothing else. One without an answer is asked again alone."""
    if len(folders) == 1:
        return [alone(program, folders[0], tolerance)]
    _, out, errors = verify(program, "--cases", parent, "--tolerance", tolerance)
    parts, names = {}, {str(folder) for folder in folders}
    for line in out.splitlines():
        if line in names:
            part = parts.setdefault(line, [])
        elif parts and line:
            part.append(line)
    found = [answer_of(folder, parts.get(str(folder), []), errors.splitlines()) for folder in folders]
    return [answer or alone(program, folder, tolerance) for answer, folder in zip(found, folders)]


def verify_all(program, folders, tolerance):
    """Answers in the order of `folders`, which folder_of() made in ascending order."""
    answers = []
    for parent, together in itertools.groupby(folders, key=lambda folder: folder.parent):
        answers += verify_together(program, parent, list(together), tolerance)
    return answers
