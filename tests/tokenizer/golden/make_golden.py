"""Makes golden.json: what the Hugging Face tokenizers library gives for every component that factflow reads.

    python3 make_golden.py ../../../demo/models/gpt2/tokenizer.json golden.json     (tokenizers 0.23.2)

A case is a tokenizer.json put together from a model ("demo": the demo kit's, "small": below), changed model options, a
normalizer, a pre-tokenizer, a post-processor and added tokens. Its results are, text by text, [ids, offsets in bytes] and, where
they differ, ids without special tokens, or null where the library refuses the text.
"""
import itertools
import json
import random
import sys

import tokenizers
from tokenizers import Tokenizer

SMALL_TOKENS = (["<unk>"] + list("abcdehlotx ▁.1é")
                + ["ab", "abc", "he", "ll", "hell", "hello", "▁a", "▁ab"]
                + ["<0x41>", "<0x42>", "<0xC3>", "<0xA9>", "<0xE2>", "<0x82>", "<0xAC>"])
SMALL = {"type": "BPE", "unk_token": "<unk>", "vocab": {t: i for i, t in enumerate(SMALL_TOKENS)},
         "merges": [["a", "b"], ["ab", "c"], ["h", "e"], ["l", "l"], ["he", "ll"], ["hell", "o"], ["▁", "a"], ["▁a", "b"],
                    ["▁", "ab"]]}
BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
NFC = {"type": "NFC"}
PREPEND = {"type": "Prepend", "prepend": "▁"}
TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "S", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
               {"SpecialToken": {"id": "E", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"S": {"id": "S", "ids": [1], "tokens": ["S"]}, "E": {"id": "E", "ids": [2, 3], "tokens": ["E", "F"]}}}
PATTERNS = [
    r"\w+", r"\W+", r"\b", r"\B", r"\s", r"\S+", r"\h+", r"\H", r"\d+", r"\D+", r"[[:alpha:]]+", r"[[:alnum:]_]+",
    r"[^[:space:]]+", r"[[:upper:]]", r"[[:lower:]]+", r"\p{Han}+", r"\p{Letter}+", r"\p{^L}+", r"\P{L}+", r"\p{Upper}",
    r"(?i)ab|C", r"a(?i)b|C", r"(a(?i)B)c", r"l{1,2}+", r"l{2}?", r"l{,2}o", r"{a}", r"l{1,}", r"^.", r".$", r"(?m).+", r".+",
    r"(?<=a)b", r"(?<!a)b", r"(?i:s)", r"\d{1,3}(?=(?:\d{3})*\b)", r"\A.", r".\z", r".\Z", r"\n\v?", r"[\w-]+", r"[\s-]",
    r"[]a]+", r"[^]a]+", r"\x41|\x{e9}|\u00e9", r"(l)\1", r"a++|a?+b", r"(?>he|hell)o", r"\.", r"\/|\#|\é", r"[\b]", r"(?#c)a",
    r"\p{Nd}|\p{Nl}|\p{No}", r"\p{P}", r"\p{S}+", r"\p{Latin}+", r"\p{Arabic}+|\p{Hangul}+|\p{Hiragana}+|\p{Katakana}+",
    r"[\p{L}\p{M}]+", r"[\P{L}]+", r"[^\S]+", r"(?:)", r"a|", r"(l|ll)+?", r"(?-i)a", r"(?i-m:A)", r"x*", r"(?=[A-Z])",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"]
TEXTS = [
    "", " ", "  ", "hello abc ab a", "don't I'LL they've", " leading\tand trailing ", "a\n\nb\r\n", "x=1;y=[2,3]{4} $5^ +6",
    "e.g., i.e. etc...", "hellllo hell lll", "AéA cafe\u0301 \u1e9b\u0323", "東京タワー is", "مدينة ٣", "🙂👩\u200d👧 ⓐ🅐",
    "\xa0nb\u2003sp\u180ex\u200by\u0085", "Ⅷ ½ ² \u0958", "한국어 \u1100\u1161\u11a8", "\x00null \u212a\u017f", "ĠA▁b ▁▁ab",
    "<m>", "  <m>  <m>x<m> a<m>b <m>", "x<r>  abc <m> a b é e\u0301", "aab<unk>aBc «ab» ‿-_", "1234567 12 1"]


def byte_level(prefix=False, regex=True, trim=True):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": trim, "use_regex": regex}


def pre_sequence(*parts):
    return {"type": "Sequence", "pretokenizers": list(parts)}


def normalizer_sequence(*parts):
    return {"type": "Sequence", "normalizers": list(parts)}


def replace(kind, pattern, content):
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def metaspace(scheme, splits):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": splits}


def added(content, **flags):
    token = {"content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {**token, **flags}


def normalizer_cases():
    cases = [NFC, PREPEND, replace("String", " ", "▁"), replace("Regex", r"\s+", " "), replace("String", "ab", "xyz"),
             replace("String", "ab", ""), replace("String", "l", "ll"), replace("Regex", "(?<=a)", "-"),
             normalizer_sequence(PREPEND, replace("String", " ", "▁")),
             normalizer_sequence(NFC, replace("Regex", r"\s+", " "), {"type": "Prepend", "prepend": "a"}),
             normalizer_sequence()]
    for i, normalizer in enumerate(cases):
        yield f"normalizer {i}, demo", "demo", {"normalizer": normalizer, "pre_tokenizer": byte_level()}
        yield f"normalizer {i}, small", "small", {"normalizer": normalizer, "post_processor": byte_level()}


def pre_tokenizer_cases():
    plain = byte_level(regex=False)
    cases = [byte_level(prefix, regex) for prefix in (False, True) for regex in (False, True)]
    for behavior, invert in itertools.product(BEHAVIORS, (False, True)):
        cases.append(pre_sequence(split(r"\w+|[^\w\s]+", behavior, invert), plain))
        cases.append(pre_sequence(split("l", behavior, invert, "String"), plain))
        cases.append(pre_sequence(split("x*", behavior, invert), plain))
    cases += [pre_sequence({"type": "Punctuation", "behavior": behavior}, plain) for behavior in BEHAVIORS]
    cases += [pre_sequence({"type": "Digits", "individual_digits": single}, byte_level()) for single in (True, False)]
    cases += [pre_sequence({"type": "Punctuation"}, byte_level()), pre_sequence(byte_level(), byte_level()),
              pre_sequence(byte_level(True), {"type": "Digits", "individual_digits": True}), pre_sequence()]
    for i, pre_tokenizer in enumerate(cases):
        yield f"pre-tokenizer {i}", "demo", {"normalizer": NFC, "pre_tokenizer": pre_tokenizer, "post_processor": byte_level(True)}
    for pattern in PATTERNS:
        yield f"matches of {pattern}", "demo", {"pre_tokenizer": pre_sequence(split(pattern, "Removed", True), plain)}


def metaspace_cases():
    tokens = [added("<unk>"), added("<m>", lstrip=True), added("<r>", rstrip=True, special=False),
              added("a b", normalized=True, special=False)]
    for scheme, splits in itertools.product(("always", "first", "never"), (True, False)):
        step = metaspace(scheme, splits)
        yield f"metaspace {scheme} {splits}", "small", {"pre_tokenizer": step, "added_tokens": tokens, "post_processor": TEMPLATE}
        yield (f"punctuation, metaspace {scheme} {splits}", "small",
               {"normalizer": NFC, "pre_tokenizer": pre_sequence({"type": "Punctuation"}, step), "post_processor": byte_level()})


def added_token_cases():
    names = ("single_word", "lstrip", "rstrip", "normalized", "special")
    lists = [[added("<m>", **dict(zip(names, flags)))] for flags in itertools.product((False, True), repeat=5)]
    lists += [[added("a"), added("ab"), added("abc", special=False), added(" b", special=False, normalized=True)],
              [added("  ", rstrip=True), added(" ", lstrip=True), added("   ", normalized=True, special=False)],
              [added("<m>", rstrip=True), added(" a", lstrip=True)],
              [added("é", normalized=True, special=False), added("e\u0301")],
              [added("hell", single_word=True), added("hello", single_word=True, lstrip=True)],
              [added("l", special=False, single_word=True), added("ll")]]
    prepend_a = normalizer_sequence(NFC, {"type": "Prepend", "prepend": "a"})
    for i, tokens in enumerate(lists):
        yield (f"added {i}, byte level", "demo",
               {"pre_tokenizer": byte_level(), "post_processor": byte_level(i % 2 == 0), "added_tokens": tokens})
        yield (f"added {i}, normalized", "demo",
               {"normalizer": prepend_a, "pre_tokenizer": byte_level(True), "post_processor": TEMPLATE, "added_tokens": tokens})


def post_processor_cases():
    cases = [byte_level(prefix, True, trim) for prefix in (False, True) for trim in (False, True)] + [TEMPLATE]
    for parts in ([byte_level(True), TEMPLATE], [TEMPLATE, byte_level(True)], [TEMPLATE, byte_level()], []):
        cases.append({"type": "Sequence", "processors": parts})
    for (i, processor), prefix in itertools.product(enumerate(cases), (False, True)):
        yield (f"post-processor {i}, prefix {prefix}", "demo",
               {"pre_tokenizer": byte_level(prefix), "post_processor": processor,
                "added_tokens": [added("<m>", lstrip=True, rstrip=True)]})


def model_cases():
    for unknown, fuse, fallback, ignore in itertools.product((None, "<unk>", "<none>"), (False, True), (False, True), (False, True)):
        options = {"unk_token": unknown, "fuse_unk": fuse, "byte_fallback": fallback, "ignore_merges": ignore}
        yield f"model {options}", "small", {"options": options, "post_processor": byte_level()}


def composition_case():
    marks = [chr(c) for c in list(range(0x300, 0x330)) + [0x345, 0x5B0, 0x64B, 0x653, 0x93C, 0x9BE, 0x3099, 0x1161, 0x11A8, 0x1D165]]
    bases = list("aeouAEOUcn<=") + [chr(c) for c in (0xC5, 0x212B, 0x1E9B, 0x1EC7, 0x958, 0x9C7, 0x304B, 0x1100, 0xAC00, 0xAC01,
                                                     0x1D157, 0x1D158, 0xFB1F, 0xF900, 0x387, 0x344, 0x1FEF, 0x226E, 0x385)]
    pick = random.Random(7)
    texts = ["".join(pick.choice(bases if pick.random() < 0.4 else marks) for _ in range(pick.randint(1, 8))) for _ in range(300)]
    yield ("composition", "demo", {"normalizer": NFC, "pre_tokenizer": byte_level(regex=False), "options": {"merges": []}}, texts)


def with_ids(tokens, vocabulary):
    fresh = itertools.count(len(vocabulary))
    return [{"id": vocabulary[t["content"]] if t["content"] in vocabulary else next(fresh), **t} for t in tokens]


def encode(tokenizer, text):
    ends = list(itertools.accumulate((len(c.encode()) for c in text), initial=0))
    try:
        full, bare = tokenizer.encode(text), tokenizer.encode(text, add_special_tokens=False)
    except Exception:
        return None
    offsets = [[ends[begin], ends[end]] for begin, end in full.offsets]
    return [full.ids, offsets] if full.ids == bare.ids else [full.ids, offsets, bare.ids]


def main(demo_path, out_path):
    models = {"demo": json.load(open(demo_path))["model"], "small": SMALL}
    cases = []
    for name, model, parts, *texts in itertools.chain(normalizer_cases(), pre_tokenizer_cases(), metaspace_cases(), added_token_cases(),
                                                      post_processor_cases(), model_cases(), composition_case()):
        case = {"name": name, "model": model, "options": parts.get("options", {}), "normalizer": parts.get("normalizer"),
                "pre_tokenizer": parts.get("pre_tokenizer"), "post_processor": parts.get("post_processor"),
                "added_tokens": with_ids(parts.get("added_tokens", []), models[model]["vocab"])}
        document = {key: case[key] for key in ("added_tokens", "normalizer", "pre_tokenizer", "post_processor")}
        document.update(version="1.0", truncation=None, padding=None, decoder=None, model={**models[model], **case["options"]})
        tokenizer = Tokenizer.from_str(json.dumps(document))
        if texts:
            case["texts"] = texts[0]
        case["results"] = [encode(tokenizer, text) for text in case.get("texts", TEXTS)]
        cases.append(case)
    golden = {"library": "tokenizers " + tokenizers.__version__, "small": SMALL, "texts": TEXTS}
    with open(out_path, "w") as out:
        out.write(json.dumps(golden, separators=(",", ":"))[:-1] + ',"cases":[\n')
        out.write(",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
