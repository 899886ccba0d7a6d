#!/usr/bin/env python3
"""Writes pickles/*.bin: files as torch.save writes them, and files as an attacker or a bad disk would.

Needs no torch: stand-ins with torch's names are pickled by Python's own pickler, so the opcodes are the real ones.
Run without arguments after a change; the outputs are committed and always come out the same.
"""
import collections, io, pathlib, pickle, struct, sys, types, zipfile

OUT = pathlib.Path(__file__).parent / "pickles"


def module(name, **members):
    made = types.ModuleType(name)
    for key, value in members.items():
        setattr(made, key, value)
        if isinstance(value, (type, types.FunctionType)):
            value.__module__, value.__qualname__, value.__name__ = name, key, key
    sys.modules[name] = made
    return made


def function():  # a new one each time: module() names it
    return lambda *arguments: None


class Dtype:
    def __init__(self, name):
        self.name = name

    def __reduce__(self):
        return self.name


DTYPES = {name: Dtype(name) for name in ("float32", "float16", "complex64")}
for dtype in DTYPES.values():
    dtype.__module__ = "torch"
STORAGES = {name + "Storage": type(name, (), {}) for name in
            "Double Float Half BFloat16 Long Int Short Char Byte Bool ComplexFloat".split()}


class Size(tuple):
    def __reduce__(self):
        return Size, (tuple(self),)


UTILS = {name: function() for name in
         "_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter _rebuild_parameter_with_state".split()}
torch = module("torch", Size=Size, **STORAGES, **DTYPES)
module("torch._utils", **UTILS)
Untyped = type("UntypedStorage", (), {})
module("torch.storage", UntypedStorage=Untyped)

FORMATS = dict(Double="d", Float="f", Half="e", BFloat16="H", Long="q", Int="i", Short="h", Char="b", Byte="B", Bool="?")


class Storage:
    def __init__(self, kind, values, key, count=None):
        self.cls = Untyped if kind == "Untyped" else STORAGES[kind + "Storage"]
        self.key = key
        self.bytes = bytes(values) if kind == "Untyped" else struct.pack(f"<{len(values)}{FORMATS.get(kind, 'B')}", *values)
        self.count = len(values) if count is None else count


class Call:
    """What pickles as a call of `callee`."""

    def __init__(self, callee, *arguments):
        self.callee, self.arguments = callee, arguments

    def __reduce__(self):
        return self.callee, self.arguments


def tensor(storage, shape, strides=None, offset=0, dtype=None):
    if strides is None:
        strides, step = [], 1
        for size in reversed(shape):
            strides.insert(0, step)
            step *= size
    hooks = collections.OrderedDict()
    base = storage, offset, tuple(shape), tuple(strides), False, hooks
    if dtype:
        return Call(UTILS["_rebuild_tensor_v3"], *base, DTYPES[dtype])
    return Call(UTILS["_rebuild_tensor_v2"], *base)


class Pickler(pickle.Pickler):
    def __init__(self, file, protocol, storages):
        super().__init__(file, protocol)
        self.storages = storages

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        self.storages[value.key] = value.bytes
        return "storage", value.cls, value.key, "cpu", value.count


def archive(root, protocol=2, pickled=None, leave_out=(), **extra):
    """(name, bytes) of the entries. `pickled`: take these bytes as the pickle."""
    storages, file = {}, io.BytesIO()
    if pickled is None:
        Pickler(file, protocol, storages).dump(root)
    entries = {"data.pkl": file.getvalue() if pickled is None else pickled, "byteorder": b"little"}
    entries.update({f"data/{key}": value for key, value in storages.items()})
    entries["version"] = b"3\n"
    entries.update(extra)
    return {name: value for name, value in entries.items() if name not in leave_out}


def zipped(entries, deflate=False, zip64=False, folder="pytorch_model"):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED) as archive_file:
        for name, value in entries.items():
            info = zipfile.ZipInfo(f"{folder}/{name}", (1980, 1, 1, 0, 0, 0))
            info.compress_type = archive_file.compression
            with archive_file.open(info, "w", force_zip64=zip64) as entry:
                entry.write(value)
    return file.getvalue()


def with_zip64_end(data):
    """The same archive with a zip64 end record and 0xffff.. in the old one, as torch writes it."""
    count, size, offset = struct.unpack("<HII", data[-12:-2])
    record = struct.pack("<IQHHIIQQQQ", 0x06064b50, 44, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<IIQI", 0x07064b50, 0, len(data) - 22, 1)
    return data[:-22] + record + locator + struct.pack("<IHHHHIIH", 0x06054b50, 0, 0, 0xffff, 0xffff, 0xffffffff, 0xffffffff, 0)


def directory(data):
    """The archive without its directory, and the directory's entries: (46 fixed bytes, name)."""
    count, _, offset = struct.unpack("<HII", data[-12:-2])
    entries, at = [], offset
    for _ in range(count):
        name, extra, comment = struct.unpack("<HHH", data[at + 28:at + 34])
        entries.append((data[at:at + 46], data[at + 46:at + 46 + name]))
        at += 46 + name + extra + comment
    return data[:offset], entries


def with_directory(data, change, disk=0):
    """The same archive, every directory entry passed through change(fixed, name) -> bytes."""
    body, entries = directory(data)
    changed = [change(bytearray(fixed), name) for fixed, name in entries]
    whole = b"".join(changed)
    end = struct.pack("<IHHHHIIH", 0x06054b50, disk, disk, len(entries), len(entries), len(whole), len(body), 0)
    return body + whole + end


def with_field(data, target, format, at, value):
    """One field of one directory entry overwritten: 8 flags, 10 method, 16 CRC, 24 size, 42 offset."""
    def change(fixed, name):
        if name == target.encode():
            struct.pack_into(format, fixed, at, value)
        fixed[30:34] = bytes(4)
        return bytes(fixed) + name
    return with_directory(data, change)


def with_zip64_directory(data, leave_out_extra=False):
    """Sizes and offsets of every entry moved to the zip64 extra field, as for entries beyond 4 GiB."""
    def change(fixed, name):
        packed, size = struct.unpack_from("<II", fixed, 20)
        offset, = struct.unpack_from("<I", fixed, 42)
        struct.pack_into("<II", fixed, 20, 0xffffffff, 0xffffffff)
        struct.pack_into("<I", fixed, 42, 0xffffffff)
        extra = struct.pack("<HH", 0x5a5a, 0) + struct.pack("<HHQQQ", 1, 24, size, packed, offset)
        extra = b"" if leave_out_extra else extra
        struct.pack_into("<HH", fixed, 30, len(extra), 0)
        return bytes(fixed) + name + extra
    return with_directory(data, change)


def write(name, data):
    (OUT / f"{name}.bin").write_bytes(data)


def all_types():
    shared = Storage("Float", [0.5 * i for i in range(12)], "0")
    state = collections.OrderedDict()
    state["f32"] = tensor(shared, (3, 4))
    state["view"] = tensor(shared, (2, 2), (2, 1), 4)
    state["tied"] = state["f32"]
    state["scalar"] = tensor(shared, (), (), 11)
    state["empty"] = tensor(shared, (0, 4), (4, 1), 0)
    state["one"] = tensor(shared, (1, 2), (99, 1), 3)
    state["f64"] = tensor(Storage("Double", [1.25, -2.5], "1"), (2,))
    state["f16"] = tensor(Storage("Half", [1.5, -0.25], "2"), (2,))
    state["bf16"] = tensor(Storage("BFloat16", [0x3fc0, 0xbe80], "3"), (2,))
    state["i64"] = tensor(Storage("Long", [-1, 2**40], "4"), (2,))
    state["i32"] = tensor(Storage("Int", [-1, 7], "5"), (2,))
    state["i16"] = tensor(Storage("Short", [-1, 7], "6"), (2,))
    state["i8"] = tensor(Storage("Char", [-1, 7], "7"), (2,))
    state["u8"] = tensor(Storage("Byte", [255, 7], "8"), (2,))
    state["bool"] = tensor(Storage("Bool", [True, False], "9"), (2,))
    return state


def good():
    for protocol in (2, 3, 4, 5):
        write(f"protocol{protocol}", with_zip64_end(zipped(archive(all_types(), protocol))))
    write("zip32", zipped(archive(all_types(), leave_out=("byteorder",)), folder="archive"))
    write("zip64_entries", zipped(archive(all_types()), zip64=True))
    write("zip64_directory", with_zip64_end(with_zip64_directory(zipped(archive(all_types())))))
    write("deflated", zipped(archive(all_types()), deflate=True))

    class StateDict(collections.OrderedDict):  # as module.state_dict(): with attributes, hence the opcode BUILD
        def __reduce__(self):
            meta = collections.OrderedDict([("", {"version": 1})])
            return collections.OrderedDict, (), {"_metadata": meta}, None, iter(self.items())

    ones = tensor(Storage("Float", [1, 2], "0"), Size((2,)))
    parameter = Call(UTILS["_rebuild_parameter"], ones, True, collections.OrderedDict())
    # mamba_ssm marks some parameters by an attribute, which named_parameters() keeps
    marked = Call(UTILS["_rebuild_parameter_with_state"], ones, True, collections.OrderedDict(), {"_no_weight_decay": True})
    write("parameter", zipped(archive(StateDict(p=parameter, q=marked))))
    untyped = Storage("Untyped", struct.pack("<4e", 1, 2, 3, 4), "0")
    write("untyped", zipped(archive({"t": tensor(untyped, (2,), offset=1, dtype="float16")})))
    write("strided", zipped(archive({"t": tensor(Storage("Float", range(6), "0"), (3, 2), (1, 3))})))


def dangerous():
    import os
    floats = Storage("Float", [1, 2], "0")
    write("os_system", zipped(archive(None, pickled=b"\x80\x02}X\1\0\0\0tcos\nsystem\nX\4\0\0\0harm\x85Rs.")))
    write("posix_system", zipped(archive({"t": Call(os.system, "harm")}, 4)))  # what Python itself makes of os.system
    nested = Call(UTILS["_rebuild_parameter"], Call(eval, "1"), True, None)
    write("nested_reduce", zipped(archive({"good": tensor(floats, (2,)), "t": nested}, 3)))
    write("inst", zipped(archive(None, pickled=b"\x80\x02(X\x04\0\0\0harmios\nsystem\n.")))
    write("getattr", zipped(archive({"t": Call(getattr, "text", "join")}, 3)))
    write("call_storage", zipped(archive({"t": Call(STORAGES["FloatStorage"], "text")})))
    write("complex", zipped(archive({"t": tensor(Storage("ComplexFloat", [], "0"), (0,))})))
    write("complex_dtype", zipped(archive({"t": tensor(Storage("Untyped", b"", "0"), (0,), dtype="complex64")})))
    lists = [1]
    for _ in range(80):
        lists = [lists, lists]
    write("nested_lists", zipped(archive({"t": lists})))
    bomb = b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(80))  # 2^80 elements, if anything walks it
    write("memo_bomb", zipped(archive(None, pickled=b"\x80\x02]q\0" + bomb + b".")))
    write("small_memo_bomb", zipped(archive(None, pickled=b"\x80\x02]q\0" + bomb[:60 * 9] + b".")))
    cycle = []
    cycle.append(cycle)
    write("cycle", zipped(archive({"t": cycle})))
    write("memo_index", zipped(archive(None, pickled=b"\x80\x02Nr\xff\xff\xff\xff.")))
    write("deep", zipped(archive(None, pickled=b"\x80\x02" + 100 * b"(" + 100 * b"t" + b".")))
    deflated = zipped(archive({"t": tensor(Storage("Float", [0] * 64, "0"), (64,))}), deflate=True)
    large = zipped(archive({"t": tensor(Storage("Float", [0] * 64, "0", 0x3ffffff0), (64,))}), deflate=True)
    write("zip_bomb", with_field(large, "pytorch_model/data/0", "<I", 24, 0xffffffc0))
    write("zip_wrong_size", with_field(deflated, "pytorch_model/data.pkl", "<I", 24, 17))
    write("zip_wrong_crc", with_field(deflated, "pytorch_model/data.pkl", "<I", 16, 1))


def bad_archives():
    plain = zipped(archive({"t": tensor(Storage("Float", [1, 2], "0"), (2,))}))
    target = "pytorch_model/data/0"
    write("zip_encrypted", with_field(plain, target, "<H", 8, 1))
    write("zip_method", with_field(plain, target, "<H", 10, 12))
    write("zip_other_header", with_field(plain, target, "<I", 42, 0))
    write("zip_no_header", with_field(plain, target, "<I", 42, 7))
    write("zip_stored_sizes", with_field(plain, target, "<I", 20, 4))
    write("zip_no_zip64", with_zip64_directory(plain, leave_out_extra=True))
    write("zip_disks", with_directory(plain, lambda fixed, name: bytes(fixed) + name, disk=1))
    def all_alike(fixed, name):  # every entry named as the first
        struct.pack_into("<H", fixed, 28, len("pytorch_model/data.pkl"))
        return bytes(fixed) + b"pytorch_model/data.pkl"
    write("zip_twice", with_directory(plain, all_alike))
    two = io.BytesIO(plain)
    with zipfile.ZipFile(two, "a") as archive_file:
        archive_file.writestr(zipfile.ZipInfo("other/data.pkl", (1980, 1, 1, 0, 0, 0)), b"")
    write("zip_two_folders", two.getvalue())
    write("zip_count", plain[:-12] + struct.pack("<H", 1) + plain[-10:])
    write("zip_damaged_entry", plain.replace(b"PK\1\2", b"PK\1\3"))


def broken():
    floats = Storage("Float", [1, 2], "0")
    write("expanded", zipped(archive({"t": tensor(floats, (1000, 1000), (0, 0))})))
    write("past_end", zipped(archive({"t": tensor(floats, (2,), offset=1)})))
    write("negative_offset", zipped(archive({"t": tensor(floats, (1,), offset=-1)})))
    write("negative_stride", zipped(archive({"t": tensor(floats, (2,), (-1,), 1)})))
    write("negative_size", zipped(archive({"t": tensor(floats, (-2,), (1,))})))
    write("overflow", zipped(archive({"t": tensor(floats, (2**40, 2**40), (1, 1))})))
    write("far_stride", zipped(archive({"t": tensor(floats, (3,), (2**62,))})))
    write("uneven_strides", zipped(archive({"t": tensor(floats, (2,), (1, 1))})))
    write("many_dimensions", zipped(archive({"t": tensor(floats, (1,) * 17)})))
    write("storage_count", zipped(archive({"t": tensor(Storage("Float", [1, 2], "0", 3), (2,))})))
    write("negative_count", zipped(archive({"t": tensor(Storage("Float", [], "0", -1), (0,))})))
    write("huge_integer", zipped(archive({"t": tensor(floats, (2**70,), (1,))})))
    write("missing_entry", zipped(archive({"t": tensor(floats, (2,))}, leave_out=("data/0",))))
    write("missing_pickle", zipped(archive({}, leave_out=("data.pkl",))))
    write("big_endian", zipped(archive({"t": tensor(floats, (2,))}, byteorder=b"big")))
    write("torchscript", zipped(archive({"t": tensor(floats, (2,))}, **{"constants.pkl": b""})))
    write("training_state", zipped(archive({"t": tensor(floats, (2,)), "epoch": 3})))
    write("list_root", zipped(archive([tensor(floats, (2,))])))
    write("integer_name", zipped(archive({7: tensor(floats, (2,))})))
    write("old_format", pickle.dumps(0x1950a86a20f9469cfc6c, 2) + pickle.dumps(1001, 2))
    write("protocol0", zipped(archive(None, pickled=pickle.dumps({}, 0))))
    write("protocol6", zipped(archive(None, pickled=b"\x80\x06}.")))
    write("unknown_opcode", zipped(archive(None, pickled=b"\x80\x02\xff.")))
    write("set_opcode", zipped(archive({"t": {1}}, 4)))
    for name, pickled in dict(cut_short=b"\x80\x02X\xff\0\0\0abc", no_stop=b"\x80\x02}", empty_stack=b"\x80\x020.",
                              no_mark=b"\x80\x02t.", unset_memo=b"\x80\x02h\x05.", odd_items=b"\x80\x02}(Nu.",
                              not_a_dict=b"\x80\x02N(NNu.", not_callable=b"\x80\x02N)R.", build_none=b"\x80\x02N}b.",
                              bad_id=b"\x80\x02NQ.", unended_name=b"\x80\x02c" + 300 * b"a").items():
        write(name, zipped(archive(None, pickled=pickled)))
    once = archive({"t": tensor(floats, (2,))})
    body = once["data.pkl"]
    member = body[body.index(b"X\1\0\0\0t"):-2]  # the key and its tensor
    body = body[:body.index(b"X\1\0\0\0t")] + b"(" + member + member + b"u."
    write("twice", zipped({**once, "data.pkl": body}))


def rwkv():
    """RWKV-7 as its authors save it: two layers, two heads of two, matrices that are their own number counted up."""
    hidden, vocabulary, inner, shapes = 4, 5, 6, {}
    norms = lambda name: {f"{name}.weight": (hidden,), f"{name}.bias": (hidden,)}
    shapes |= {"emb.weight": (vocabulary, hidden), "head.weight": (vocabulary, hidden), **norms("ln_out"), **norms("blocks.0.ln0")}
    for block in ("blocks.0.", "blocks.1."):
        shapes |= {**norms(block + "ln1"), **norms(block + "ln2"), **norms(block + "att.ln_x")}
        shapes |= {f"{block}att.{name}": (1, 1, hidden) for name in "x_r x_w x_k x_v x_a x_g w0 a0 v0 k_k k_a".split()}
        shapes |= {f"{block}att.{name}.weight": (hidden, hidden) for name in "receptance key value output".split()}
        shapes |= {block + "att.r_k": (2, 2), block + "ffn.x_k": (1, 1, hidden)}
        shapes |= {block + "ffn.key.weight": (inner, hidden), block + "ffn.value.weight": (hidden, inner)}
        for name, rank in (("w", 2), ("a", 3), ("v", 1), ("g", 2)):
            shapes |= {f"{block}att.{name}1": (hidden, rank), f"{block}att.{name}2": (rank, hidden)}
    tensors = {}
    for number, (name, shape) in enumerate(shapes.items()):
        count = 1
        for size in shape:
            count *= size
        tensors[name] = tensor(Storage("Float", [number + i / 64 for i in range(count)], str(number)), shape)
    write("rwkv7", zipped(archive(tensors)))
    write("rwkv6", zipped(archive({**tensors, "blocks.0.att.time_decay": tensors["ln_out.bias"]})))
    write("rwkv7_deep", zipped(archive({**tensors, "blocks.1.ffn.s_emb.weight": tensors["emb.weight"]})))
    repeated = tensor(Storage("Float", range(64), "all"), (8, 8))
    write("rwkv7_repeated", zipped(archive({f"blocks.{i}.att.w1": repeated for i in range(400)}, 4)))


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    for old in OUT.glob("*.bin"):
        old.unlink()
    good()
    dangerous()
    bad_archives()
    broken()
    rwkv()
