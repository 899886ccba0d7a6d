"""Random tokenizer.json files, and what may stand beside them: valid, and unusual."""
import collections
import random

CORPUS = ("The Eiffel Tower is located in the city of Paris, the capital of France. Danielle Darrieux's mother tongue is French; "
          "she was born in 1917 in Bordeaux, and they've said it's hers. Apple Inc. released the iPhone 4S on October 14, 2011. "
          "Die Straße führt nach München, über 1234567 Brücken. Café au lait, naïve façade, Ærø. return x == 12 and y != 3 "
          "Toko Yasuda, the guitarist, plays in New York City. The Space Needle is in downtown Seattle, Washington State.")
FRAGMENTS = ["The", " Paris", "Seattle", "  ", "   ", "\t", "\r", " \u00a0", "1945", " 12 ", "3.14", "don't", "I'LL", "they've", "é", "e\u0301",
             "ß", "Æ", "München", "東京", "مدينة", "🙂", "👩\u200d👧", "<s>", "</s>", "<|x|>", "<unk>", "▁", "Ġ", "-", "...", "!?", "_a", "ab", "aB",
             "x=1;", "\u2003", "\u200b", "the ", " the", "\u1e9b\u0323", "한국어", "½", "²", "\u0000", "]", "{a}", "\u212a", "of France"]
NORMALIZERS = [None, {"type": "NFC"}, {"type": "Prepend", "prepend": "▁"},
               {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}, {"type": "Replace", "pattern": {"Regex": r"\s{2,}"}, "content": " "},
               {"type": "Replace", "pattern": {"String": "th"}, "content": "z"}, {"type": "NFKC"}, {"type": "Lowercase"}, {"type": "StripAccents"}]
PATTERNS = [r"\w+|[^\w\s]+", r"\s+", r"\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+",
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            r"'s|'t| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
            # GPT-4's, as Llama-3, OLMo-2 and SmolLM3 have it; GPT-4o's, as Phi-4-mini has it; Qwen3.5's
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
            r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
            r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]
BEHAVIORS = ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
PIECES = ("LlamaTokenizer", "LlamaTokenizerFast", "PreTrainedTokenizerFast", "GemmaTokenizer", "GemmaTokenizerFast")  # classes of sentencepiece files
MODELS = ["llama", "mistral", "gpt2", "gpt_neox", "mamba", "mamba2", "falcon_mamba", "qwen2", None, "qwen3", "qwen3_moe", "qwen3_next", "qwen3_5_text",
          "qwen3_5_moe_text", "olmo2", "olmo3", "olmo_hybrid", "phi3", "smollm3", "granite", "granitemoehybrid", "gptj", "opt", "mixtral", "jamba",
          "bamba", "falcon_h1", "nemotron_h", "lfm2", "gemma2"]
GEMMAS = ["gemma2", "gemma3_text", "recurrent_gemma", "llama", None]
GEMMA_TOKENS = {"<s>": "<bos>", "</s>": "<eos>"}


def byte_symbols():
    """GPT-2's table: byte -> printable character."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in kept]
    return {**{byte: chr(byte) for byte in kept}, **{byte: chr(256 + i) for i, byte in enumerate(rest)}}


def byte_level(rng, regex=None):
    return {"type": "ByteLevel", "add_prefix_space": rng.random() < 0.2, "trim_offsets": rng.random() < 0.7,
            "use_regex": rng.random() < 0.6 if regex is None else regex}


def learn_merges(words, count):
    """Byte-pair encoding as Sennrich et al. describe it, on a handful of words."""
    words, merges = [list(word) for word in words], []
    for _ in range(count):
        pairs = collections.Counter(pair for word in words for pair in zip(word, word[1:]))
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        for word in words:
            for i in range(len(word) - 2, -1, -1):
                if i + 1 < len(word) and (word[i], word[i + 1]) == best:
                    word[i:i + 2] = ["".join(best)]
    return merges


def model_of(rng, byte_style):
    if byte_style:
        symbols = byte_symbols()
        words = ["".join(symbols[byte] for byte in word.encode()) for word in spaced_words(rng, " ")]
        vocabulary = list(symbols.values())
    else:
        words = spaced_words(rng, "▁")
        vocabulary = ["<unk>", "<s>", "</s>"]
        if rng.random() < 0.7:
            vocabulary += [f"<0x{byte:02X}>" for byte in range(256)]
        vocabulary += sorted(set("".join(words)) | set("▁"))
    merges = learn_merges(words, rng.randint(20, 250))
    if rng.random() < 0.2:
        rng.shuffle(merges)
    vocabulary = list(dict.fromkeys(vocabulary + ["".join(pair) for pair in merges]))
    special = [] if not byte_style else ["<s>", "</s>"] if rng.random() < 0.7 else []
    vocabulary += special
    model = {"type": "BPE", "dropout": None, "unk_token": None if byte_style or rng.random() < 0.2 else "<unk>",
             "continuing_subword_prefix": rng.choice([None, ""]), "end_of_word_suffix": None,
             "fuse_unk": not byte_style and rng.random() < 0.7, "byte_fallback": not byte_style and rng.random() < 0.8,
             "ignore_merges": rng.random() < 0.2, "vocab": {token: i for i, token in enumerate(vocabulary)},
             "merges": [list(pair) for pair in merges]}
    if rng.random() < 0.2:
        model["merges"] = [" ".join(pair) for pair in merges]
    return model


def spaced_words(rng, space):
    """The corpus in words that carry their space; at times without cuts, so that tokens reach over words."""
    if rng.random() < 0.2:
        return [CORPUS.replace(" ", space)[i:i + 40] for i in range(0, len(CORPUS), 40)]
    return [space + word for word in CORPUS.split(" ")]


def sequence(kind, key, parts):
    parts = [part for part in parts if part]
    return None if not parts else parts[0] if len(parts) == 1 else {"type": kind, key: parts}


def pre_tokenizer_of(rng, byte_style):
    parts = []
    if rng.random() < 0.4:
        kind, pattern = rng.choice([("Regex", rng.choice(PATTERNS)), ("String", rng.choice([" ", "e", "is"]))])
        parts.append({"type": "Split", "pattern": {kind: pattern}, "behavior": rng.choice(BEHAVIORS), "invert": rng.random() < 0.2})
    if rng.random() < 0.2:
        parts.append({"type": "Digits", "individual_digits": rng.random() < 0.5})
    if rng.random() < 0.15:
        parts.append({"type": "Punctuation", "behavior": rng.choice(BEHAVIORS)})
    if rng.random() < 0.05:
        parts.append({"type": rng.choice(["Whitespace", "BertPreTokenizer", "UnicodeScripts"])})
    if byte_style:
        parts.append(byte_level(rng))
    elif rng.random() < 0.6:
        parts.append({"type": "Metaspace", "replacement": "▁", "prepend_scheme": rng.choice(["first", "always", "never"]), "split": rng.random() < 0.5})
    return sequence("Sequence", "pretokenizers", parts)


def added_tokens_of(rng, vocabulary):
    contents = [token for token in ("<unk>", "<s>", "</s>") if token in vocabulary]
    contents += [token for token in ("<|x|>", "  ", "the", "é", "▁▁") if rng.random() < 0.25]
    tokens, following = [], len(vocabulary)
    for content in contents:
        token_id = vocabulary.get(content, following)
        following += content not in vocabulary
        special = content.startswith("<")
        tokens.append({"id": token_id, "content": content, "single_word": rng.random() < 0.1, "lstrip": rng.random() < 0.15,
                       "rstrip": rng.random() < 0.15, "normalized": rng.random() < (0.1 if special else 0.6), "special": special})
    return tokens


def template_of(rng, vocabulary, ends=("<s>", "</s>")):
    single = [{"Sequence": {"id": "A", "type_id": 0}}]
    used = {}
    for content, place in ((ends[0], 0), (ends[1], len(single) + 1)):
        if content in vocabulary and rng.random() < (0.7 if place == 0 else 0.15):
            single.insert(place, {"SpecialToken": {"id": content, "type_id": 0}})
            used[content] = {"id": content, "ids": [vocabulary[content]], "tokens": [content]}
    pair = [*single, {"Sequence": {"id": "B", "type_id": 1}}]
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": used}


def post_processor_of(rng, byte_style, vocabulary):
    parts = []
    if byte_style and rng.random() < 0.5:
        parts.append(byte_level(rng))
    if rng.random() < 0.6:
        parts.append(template_of(rng, vocabulary))
    return sequence("Sequence", "processors", parts)


def tokenizer_file(rng):
    """A tokenizer.json as an object."""
    byte_style = rng.random() < 0.55
    model = model_of(rng, byte_style)
    if byte_style:
        normalizer = rng.choice([None, None, NORMALIZERS[1], rng.choice(NORMALIZERS)])
    else:
        normalizer = sequence("Sequence", "normalizers", rng.choice(
            [[NORMALIZERS[2], NORMALIZERS[3]], [NORMALIZERS[3]], [], [rng.choice(NORMALIZERS), rng.choice(NORMALIZERS)]]))
    decoder = rng.choice([None, {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}]) if byte_style else None
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added_tokens_of(rng, model["vocab"]),
            "normalizer": normalizer, "pre_tokenizer": pre_tokenizer_of(rng, byte_style),
            "post_processor": post_processor_of(rng, byte_style, model["vocab"]), "decoder": decoder, "model": model}


def class_like(rng, file):
    """Makes the file what a class of transformers writes: so that its configuration can agree with it."""
    byte_style = "<0x41>" not in file["model"]["vocab"] and file["model"]["unk_token"] is None
    vocabulary = file["model"]["vocab"]
    if not byte_style and rng.random() < 0.4:
        return gemma_like(rng, file)
    if not byte_style:
        file["normalizer"] = {"type": "Sequence", "normalizers": NORMALIZERS[2:4]}
        file["pre_tokenizer"] = None
        file["post_processor"] = template_of(rng, vocabulary)
        return rng.choice(PIECES[:3])
    name = rng.choice(["GPT2Tokenizer", "GPTNeoXTokenizer", "Qwen2Tokenizer", "PreTrainedTokenizerFast"])
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": name != "Qwen2Tokenizer"}
    split = {"type": "Split", "pattern": {"Regex": rng.choice([PATTERNS[3], PATTERNS[-1]])}, "behavior": "Isolated", "invert": False}
    if name == "PreTrainedTokenizerFast" and rng.random() < 0.6:  # Llama-3's kind
        split["pattern"]["Regex"] = rng.choice(PATTERNS[-3:])
        file["pre_tokenizer"] = sequence("Sequence", "pretokenizers", [split, {**level, "use_regex": False}])
        file["normalizer"] = rng.choice([None, {"type": "NFC"}])
        file["model"]["ignore_merges"] = rng.random() < 0.5
        return name
    digits = {"type": "Digits", "individual_digits": True}
    before = [split] if name == "Qwen2Tokenizer" else [digits] if rng.random() < 0.3 else []
    file["pre_tokenizer"] = sequence("Sequence", "pretokenizers", [*before, level])
    file["normalizer"] = {"type": "NFC"} if name in ("GPTNeoXTokenizer", "Qwen2Tokenizer") else None
    if name == "GPTNeoXTokenizer":
        file["post_processor"] = level
    return name


def gemma_like(rng, file):
    """As Gemma's files are: no space in front, no words cut, a first token for nearly all."""
    model = file["model"]
    model["vocab"] = {GEMMA_TOKENS.get(token, token): number for token, number in model["vocab"].items()}
    for token in file["added_tokens"]:
        token["content"] = GEMMA_TOKENS.get(token["content"], token["content"])
    model.update(unk_token="<unk>", fuse_unk=True, byte_fallback=True, ignore_merges=False)
    file["normalizer"] = NORMALIZERS[3]
    file["pre_tokenizer"] = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
    file["post_processor"] = template_of(rng, model["vocab"], ("<bos>", "<eos>"))
    return rng.choice(PIECES[3:])


def tokenizer_config(rng, file, class_name):
    """A tokenizer_config.json for the file, and a model_type (or nothing)."""
    contents = [token["content"] for token in file["added_tokens"] if token["content"].startswith("<")]
    config = {"model_max_length": 1024, "clean_up_tokenization_spaces": rng.random() < 0.5}
    if rng.random() < 0.9:
        config["tokenizer_class"] = class_name
    gemma = class_name.startswith("Gemma")
    bos, eos = ("<bos>", "<eos>") if gemma else ("<s>", "</s>")
    for key, content in (("bos_token", bos), ("eos_token", eos), ("unk_token", "<unk>")):
        if content in contents:
            config[key] = content if rng.random() < 0.7 else {"__type": "AddedToken", "content": content, "lstrip": False, "normalized": True,
                                                              "rstrip": False, "single_word": False}
    for key, share in (("add_bos_token", 0.5), ("add_eos_token", 0.3)):
        if rng.random() < share:
            ends = str((file["post_processor"] or {}))
            there = repr(bos if key == "add_bos_token" else eos) in ends
            config[key] = there if rng.random() < 0.8 else not there
    if rng.random() < 0.4:
        config["add_prefix_space"] = rng.choice([False, False, None, True])
    if rng.random() < 0.5:
        config["added_tokens_decoder"] = {str(token["id"]): {key: value for key, value in token.items() if key != "id"} for token in file["added_tokens"]}
    if rng.random() < 0.3:
        config["legacy"] = rng.choice([True, False, None])
    if rng.random() < 0.05:
        config["a_key_of_tomorrow"] = True
    return config, rng.choice(GEMMAS if gemma else MODELS)


def text_of(rng):
    if rng.random() < 0.3:
        words = CORPUS.split(" ")
        start = rng.randrange(len(words) - 6)
        return " ".join(words[start:start + rng.randint(3, 6)])
    return "".join(rng.choice(FRAGMENTS) for _ in range(rng.randint(1, 12)))


def generator(seed, number):
    return random.Random(seed * 1_000_003 + number)
