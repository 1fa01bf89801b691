"""Compressed bodies: honest ones, and some that are made to hurt."""

import gzip
import zlib

GZIP, ZLIB, BARE = 31, 15, -15


def deflated(data, bits, level=6):
    packer = zlib.compressobj(level, zlib.DEFLATED, bits)
    return packer.compress(data) + packer.flush()


def bomb(megabytes, member_megabytes=None):
    """Zeros, in one gzip member or in many."""
    size = member_megabytes or megabytes
    return gzip.compress(bytes(size << 20), mtime=0) * (megabytes // size)


# The order in which a block tells the lengths of the codes for lengths.
CODE_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]


def number(value, bits):
    return [value >> i & 1 for i in range(bits)]


def empty_block():
    """The bits of a block that says nothing, but has a table that must be built."""
    lengths, codes = {18: 1, 0: 2, 1: 2}, {18: [0], 0: [1, 0], 1: [1, 1]}
    bits = number(0, 1) + number(2, 2) + number(0, 5) + number(0, 5) + number(14, 4)
    for symbol in CODE_ORDER[:18]:
        bits += number(lengths.get(symbol, 0), 3)
    # 256 literals that do not occur, the end of the block, a distance that does not occur.
    bits += codes[18] + number(138 - 11, 7) + codes[18] + number(118 - 11, 7) + codes[1] + codes[0]
    return bits + [0]


def slow(data, size):
    """Bare deflate that takes some 50 ns a byte and comes to nothing but data at its end."""
    bits = empty_block() * 8
    blocks = bytes(sum(bits[i + j] << j for j in range(8)) for i in range(0, len(bits), 8))
    body = blocks * (size // len(blocks)) + deflated(data, BARE)
    assert zlib.decompress(body, BARE) == data
    return body
