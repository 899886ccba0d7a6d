"""Random tokenizers: factflow agrees with the libraries, or refuses and names what it refuses.

    tokenizer_files.py --factflow build/factflow --seed 7 --count 100

Half are a tokenizer.json alone, held against the tokenizers library: ids, offsets, the subject's tokens, and the answer's by both
rules. Half are directories with a tokenizer_config.json, held against transformers' AutoTokenizer. What may be said of a prompt:
the library's numbers, or a failure where the library has no such token, or, in a directory, that versions of transformers differ.
Exit code 1, and one line each, for every difference and every refusal without a name from the files.
"""
import functools
import json
import pathlib
import re
import sys
import tempfile

import tokenizers
import transformers

from common import Tally, arguments, call
from tokenizer_variants import class_like, generator, text_of, tokenizer_config, tokenizer_file

PROMPTS = 40
LEAST_AGREED = 0.4  # three standard deviations of fifty files below the share seen, 0.62
SPACE = " \t\r\n\v\f"


def prompts_of(rng):
    prompts = []
    while len(prompts) < PROMPTS:
        text, answer = text_of(rng), text_of(rng).strip(SPACE)
        words = [word for word in re.split(r"(?<= )", text.replace("\0", "")) if word.strip(SPACE)]
        if not words or not answer or "\0" in text + answer:
            continue
        prompts.append({"id": len(prompts), "prompt": text, "subject": rng.choice(words).strip(SPACE), "answer": answer})
    return prompts


def first_overlap(offsets, begin, end):
    return [i for i, (first, last) in enumerate(offsets) if max(first, begin) < min(last, end)]


@functools.lru_cache(maxsize=2)
def plain_from(text):
    return tokenizers.Tokenizer.from_str(json.dumps({**json.loads(text), "post_processor": None}))


def plain(tokenizer):
    """Without the post-processor, which takes white space out of offsets."""
    return plain_from(tokenizer.to_str())


def answer_of(tokenizer, prompt, rule):
    """(token or None, whether the prompt's tokens change), as docs/datasets.md defines it."""
    text, answer = prompt["prompt"], " " + prompt["answer"]
    if rule == "first-token":
        ids = tokenizer.encode(answer, add_special_tokens=False).ids
        return (ids[0] if ids else None), False
    alone, together = (plain(tokenizer).encode(part, add_special_tokens=False) for part in (text, text + answer))
    alone = alone.ids
    if together.ids[:len(alone)] == alone:
        return (together.ids[len(alone)] if len(together.ids) > len(alone) else None), False
    behind = [token for token, (begin, _) in zip(together.ids, together.offsets) if begin >= len(text)]
    return (behind[0] if behind else None), True


def expected(tokenizer, prompt, rule):
    """What factflow must say of a prompt; None: that it fails."""
    text, subject = prompt["prompt"], prompt["subject"]
    encoding = tokenizer.encode(text)
    places = [len(text[:i].encode()) for i in range(len(text) + 1)]
    begin = text.index(subject)
    found = first_overlap(encoding.offsets, begin, begin + len(subject))
    token, changes = answer_of(tokenizer, prompt, rule)
    if not encoding.ids or not found or token is None:
        return None
    return {"ids": encoding.ids, "offsets": [[places[a], places[b]] for a, b in encoding.offsets], "subject": found, "answer": token,
            "changes": changes}


def answer_or_crash(tokenizer, prompt, rule):
    """expected(), and whether the library crashed: its Rust panics on some texts ("AddedVocabulary bad split")."""
    try:
        return expected(tokenizer, prompt, rule), False
    except BaseException as error:  # pyo3's PanicException is no Exception, and has no importable name
        if type(error).__name__ != "PanicException":
            raise
        return None, True


def names_in(value, names):
    """Every key and every short text of the files: one of them must stand in a refusal."""
    if isinstance(value, dict):
        for key, part in value.items():
            if key != "vocab":
                names.add(key)
                names_in(part, names)
    elif isinstance(value, list):
        for part in value[:200]:
            names_in(part, names)
    elif isinstance(value, str):
        names.add(value)
    return names


def difference(wanted, line, compared):
    """One line about what differs; None: nothing."""
    if wanted is None:
        return None if "failure" in line else f"expected a failure, found {line}"
    if "failure" in line:
        return f"fails with {line['failure']!r}, expected {wanted}"
    for key in compared:
        if wanted[key] != line[key]:
            return f"{key} {line[key]}, expected {wanted[key]}"
    return None


class Case:
    def __init__(self, seed, number):
        rng = generator(seed, number)
        self.file = tokenizer_file(rng)
        self.config = self.model_type = None
        if number % 2:
            self.config, self.model_type = tokenizer_config(rng, self.file, class_like(rng, self.file))
        self.prompts = prompts_of(rng)

    def write(self, folder):
        (folder / "tokenizer.json").write_text(json.dumps(self.file))
        (folder / "prompts.jsonl").write_text("".join(json.dumps(prompt) + "\n" for prompt in self.prompts))
        if self.config is not None:
            (folder / "tokenizer_config.json").write_text(json.dumps(self.config))
        if self.model_type is not None:
            (folder / "config.json").write_text(json.dumps({"model_type": self.model_type}))

    def library(self, folder):
        if self.config is None:
            return tokenizers.Tokenizer.from_str(json.dumps(self.file))
        return transformers.AutoTokenizer.from_pretrained(folder).backend_tokenizer

    def lines(self, program, folder, rule):
        """(one object per prompt, "") or (None, what the program said)."""
        model = folder if self.config is not None else folder / "tokenizer.json"
        code, out, err = call(program, "tokenize", "--model", model, "--dataset", folder / "prompts.jsonl", "--answer", rule)
        return ([json.loads(line) for line in out.splitlines()], "") if code == 0 else (None, f"exit code {code}: {err}")

    def judge(self, program, folder):
        """("agrees" or "refused", "") or ("wrong", why)."""
        self.write(folder)
        # The library of a directory may lack the file's offsets (a post-processor that it drops).
        rules, compared = (("continuation", "first-token"), ("ids", "offsets", "subject", "answer", "changes"))
        if self.config is not None:
            rules, compared = ("continuation",), ("ids", "answer", "changes")
        answers = {}
        for rule in rules:
            answers[rule], problem = self.lines(program, folder, rule)
            if problem:
                return self.judge_refusal(problem)
        try:
            tokenizer = self.library(folder)
        except Exception as error:  # whatever Rust or Python says of a file that it does not take
            return "wrong", f"the library refuses it ({str(error)[:100]}), factflow takes it"
        agreed = 0
        for rule, lines in answers.items():
            if [line["id"] for line in lines] != [prompt["id"] for prompt in self.prompts]:
                return "wrong", "not every prompt has a line"
            for prompt, line in zip(self.prompts, lines):
                if self.config is not None and "tokenizer_class" in line.get("failure", ""):
                    continue
                wanted, crashed = answer_or_crash(tokenizer, prompt, rule)
                if crashed:
                    continue
                problem = difference(wanted, line, compared)
                if problem:
                    return "wrong", f"{rule}, {prompt['prompt']!r} + {prompt['answer']!r}: {problem}"
                agreed += 1
        return ("agrees" if agreed else "refused"), ""

    def judge_refusal(self, problem):
        names = names_in([self.file, self.config], set())
        named = any(name in problem for name in names if len(name) > 2)
        if problem.startswith("exit code 2:") and "\n" not in problem and named:
            return "refused", ""
        return "wrong", f"a refusal without one clear line: {problem}"


def main():
    options = arguments(__doc__)
    transformers.logging.set_verbosity_error()
    tally = Tally("tokenizer", options.seed)
    for number in range(options.count) if options.only is None else [options.only]:
        with tempfile.TemporaryDirectory() as folder:
            verdict, why = Case(options.seed, number).judge(options.factflow, pathlib.Path(folder))
        if verdict == "agrees":
            tally.agree()
        elif verdict == "refused":
            tally.refuse()
        else:
            tally.fail(number, why)
    return tally.close(0 if options.only is not None else int(LEAST_AGREED * options.count))


if __name__ == "__main__":
    sys.exit(main())
