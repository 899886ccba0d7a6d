"""Prompts and their tokens by the Hugging Face library: docs/datasets.md and docs/knockouts.md, written down a second time."""
import dataclasses
import json
import pathlib

import transformers


@dataclasses.dataclass
class Prompt:
    number: int
    text: str
    subject: str
    begin: int   # of the subject in the text, in characters
    answer: str  # with one leading space


@dataclasses.dataclass
class Tokens:
    ids: list
    offsets: list  # [begin, end) of every token, in bytes of the text
    subject: list  # positions of the tokens that overlap the subject
    answer: int    # None: no token is the answer's
    changes: bool  # the prompt's own tokens are others when the answer follows

    def positions(self, role):
        last = len(self.ids) - 1
        return {"last": [last], "first": [0], "subject": self.subject, "all": list(range(last + 1)),
                "relation": [i for i in range(last + 1) if i not in self.subject],
                "relation-minus-last": [i for i in range(last) if i not in self.subject],
                "context": list(range(self.subject[0]))}[role]

    def edges(self, label):
        """The (target, source) pairs of `subject->last` or `subject->last/slow`, causal ones only."""
        source, target = label.split("/")[0].split("->")
        return [(t, s) for t in self.positions(target) for s in self.positions(source) if s <= t]


def read_prompts(path):
    """COUNTERFACT in its three forms, known_1000 and the minimal form, as JSON lines or a JSON array."""
    text = pathlib.Path(path).read_text()
    records = json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines() if line.strip()]
    return [prompt_of(record, row) for row, record in enumerate(records)]


def prompt_of(record, row):
    asked = record.get("requested_rewrite", record)
    answer = asked.get("target_true", record.get("attribute", record.get("answer")))
    answer = " " + (answer["str"] if isinstance(answer, dict) else answer).strip()
    number = next((record[key] for key in ("case_id", "original_idx", "known_id", "id") if key in record), row)
    subject = asked["subject"].strip()
    template = record["requested_rewrite"]["prompt"] if "requested_rewrite" in record else record.get("relation", "")
    if "requested_rewrite" in record or "{}" in template and template.replace("{}", subject) == record["prompt"]:
        return Prompt(number, template.replace("{}", subject), subject, template.index("{}"), answer)
    return Prompt(number, record["prompt"], subject, record["prompt"].index(subject), answer)


class Library:
    """The tokenizer that transformers makes of a checkpoint's directory."""

    def __init__(self, path):
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(path)

    def encode(self, text, special=True):
        """ids and offsets in characters."""
        told = self.tokenizer(text, add_special_tokens=special, return_offsets_mapping=True)
        return told["input_ids"], told["offset_mapping"]

    def tokens(self, prompt, rule):
        ids, offsets = self.encode(prompt.text)
        end = prompt.begin + len(prompt.subject)
        subject = [i for i, (a, b) in enumerate(offsets) if max(a, prompt.begin) < min(b, end)]
        byte = [0]
        for character in prompt.text:
            byte.append(byte[-1] + len(character.encode()))
        answer, changes = self.answer(prompt, rule)
        return Tokens(ids, [[byte[a], byte[b]] for a, b in offsets], subject, answer, changes)

    def answer(self, prompt, rule):
        """The answer's token, and whether the prompt's own tokens are others when the answer follows."""
        if rule == "first-token":
            return next(iter(self.encode(prompt.answer, special=False)[0]), None), False
        alone, _ = self.encode(prompt.text, special=False)
        together, offsets = self.encode(prompt.text + prompt.answer, special=False)
        if together[:len(alone)] == alone:
            return next(iter(together[len(alone):]), None), False
        end = len(prompt.text)
        return next((i for i, (a, b) in zip(together, offsets) if a >= end and b > end), None), True
