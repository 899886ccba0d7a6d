"""The check sum behind the last byte of a results file (docs/results.md, "The seal").

HDF5 has no check sums for the heaps that hold texts, and damage there makes the library crash, so a file is checked
whole before HDF5 sees it. The sum is XXH3 of 64 bits (Y. Collet, xxhash.com), here in numpy: the products of a block of
1,024 bytes are added up at once, 16 lanes wide in time and 8 in space, and only what happens between blocks goes one by one.
"""

from __future__ import annotations

import mmap
import os

import numpy as np
from numpy.typing import NDArray

from .errors import DamagedFileError, ForeignFileError, MissingResultsError

_U64 = np.uint64
Words = NDArray[np.uint64]

_SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221b8084674f743248e"
    "e03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8a8fa763fe39c343ff9dcbbc7c70b4f1d"
    "8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc"
    "8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)
_MASK = (1 << 64) - 1
_P32 = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)
_P64 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)
_STRIPE, _STRIPES = 64, 16  # bytes; of a block
_BLOCK = _STRIPE * _STRIPES
_CHUNK = 4096  # blocks whose sums are made at once: 4 MiB
_SEAL = b"factflow seal xxh3 "
_SEAL_LENGTH = len(_SEAL) + 16 + 1 + 20 + 1
_REMEDY = "take an intact copy, or run the experiment again: finished units are not repeated"


def _secret(offset: int, words: int) -> Words:
    return np.frombuffer(_SECRET, dtype="<u8", count=words, offset=offset).astype(_U64)


def _sums(stripes: Words, keys: Words) -> Words:
    """What stripes [.., stripe, 8] add to the accumulators [.., 8]; keys [stripe, 8]."""
    keyed = stripes ^ keys
    products = (keyed & _U64(0xFFFFFFFF)) * (keyed >> _U64(32))
    swapped = stripes.reshape(*stripes.shape[:-1], 4, 2)[..., ::-1].reshape(stripes.shape)
    total: Words = (products + swapped).sum(axis=-2, dtype=_U64)
    return total


def _merge(accumulators: Words, offset: int, start: int) -> int:
    keyed = [int(word) for word in accumulators ^ _secret(offset, 8)]
    total = start
    for i in range(0, 8, 2):
        product = keyed[i] * keyed[i + 1]
        total += (product & _MASK) ^ (product >> 64)
    total &= _MASK
    total ^= total >> 37
    total = (total * 0x165667919E3779F9) & _MASK
    return total ^ (total >> 32)


def xxh3(data: memoryview | bytes) -> int:
    """XXH3 of 64 bits of more than 240 bytes (shorter ones are summed by another rule, which no results file needs)."""
    length = len(data)
    if length <= 240:
        raise ValueError("xxh3: more than 240 bytes are expected")
    accumulators = np.array([_P32[2], _P64[0], _P64[1], _P64[2], _P64[3], _P32[1], _P64[4], _P32[0]], dtype=_U64)
    keys = np.stack([_secret(8 * stripe, 8) for stripe in range(_STRIPES)])
    scramble, prime = _secret(128, 8), _U64(_P32[0])
    blocks = (length - 1) // _BLOCK
    for first in range(0, blocks, _CHUNK):
        count = min(_CHUNK, blocks - first)
        words = np.frombuffer(data, dtype="<u8", count=count * _BLOCK // 8, offset=first * _BLOCK)
        for total in _sums(words.reshape(count, _STRIPES, 8), keys):
            accumulators += total
            accumulators = (accumulators ^ (accumulators >> _U64(47)) ^ scramble) * prime
    left = (length - 1 - blocks * _BLOCK) // _STRIPE
    if left:
        words = np.frombuffer(data, dtype="<u8", count=left * 8, offset=blocks * _BLOCK)
        accumulators += _sums(words.reshape(left, 8), keys[:left])
    last = np.frombuffer(bytes(data[length - _STRIPE :]), dtype="<u8").reshape(1, 8)
    accumulators += _sums(last, _secret(121, 8).reshape(1, 8))
    return _merge(accumulators, 11, (length * _P64[0]) & _MASK)


def check_seal(path: str | os.PathLike[str]) -> str:
    """The digest of the sealed bytes, "xxh3:..." as `factflow analyse` says it.

    Raises MissingResultsError, ForeignFileError or DamagedFileError.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - _SEAL_LENGTH))
            line = file.read()
            if not line.startswith(_SEAL):
                raise ForeignFileError(
                    path, "does not end with factflow's check sum: it is truncated, changed, or no results file", _REMEDY
                )
            sealed = size - _SEAL_LENGTH
            if sealed <= 240:
                raise ForeignFileError(path, "is too short for a results file", _REMEDY)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as map_, memoryview(map_) as view:
                with view[:sealed] as bytes_:
                    digest = xxh3(bytes_)
    except FileNotFoundError:
        raise MissingResultsError(path, "there is no such file", "give a run directory or its results.h5") from None
    expected = _SEAL + b"%016x %020d\n" % (digest, sealed)
    if line != expected:
        raise DamagedFileError(
            path, "does not match its check sum: it was damaged or changed after it was written", _REMEDY
        )
    return f"xxh3:{digest:016x}"
