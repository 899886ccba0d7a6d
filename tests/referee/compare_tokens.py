"""`factflow tokenize` against the library, on every prompt of a data set: tools/against_transformers.py tokens."""
import json
import subprocess

from prompts import Library, read_prompts

RULES = ("continuation", "first-token")


def agrees(line, expected):
    """A line of `factflow tokenize`; what has no answer or no subject for the library, must fail."""
    if expected.answer is None or not expected.subject:
        return "failure" in line
    return line == dict(vars(expected), id=line["id"])


def tokens(given):
    """0 or 1, the exit code."""
    library, prompts, wrong = Library(given.model), {prompt.number: prompt for prompt in read_prompts(given.dataset)}, 0
    for rule in RULES:
        command = [given.factflow, "tokenize", "--model", str(given.model), "--dataset", str(given.dataset), "--answer", rule]
        told = [json.loads(line) for line in subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()]
        differ = [line["id"] for line in told if not agrees(line, library.tokens(prompts[line["id"]], rule))]
        missing = prompts.keys() - {line["id"] for line in told}
        print(f"tokens, answer: {rule}: {len(told) - len(differ)} of {len(prompts)} prompts are the library's"
              + "".join(f"\n  differs: {number} {prompts[number].text!r}" for number in differ[:5])
              + "".join(f"\n  missing: {number} {prompts[number].text!r}" for number in sorted(missing)[:5]), flush=True)
        wrong += len(differ) + len(missing)
    return int(wrong > 0)
