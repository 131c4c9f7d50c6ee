# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Reads the intact records of MCAP files that were cut or damaged.

A recorder that is killed leaves a file that ends in the middle of a record, most often a chunk of
many messages. After a power failure a chunk can have its full length and wrong content. A chunk
with a wrong checksum is left out as a whole, because any of its bytes may be wrong; of a chunk
that is cut, all messages before the cut are intact.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import lz4.frame
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Message, Schema
from mcap.stream_reader import breakup_chunk

from sage_perception.bags.files import MCAP_MAGIC

Record = Schema | Channel | Message
# A record is one byte of kind, eight bytes of length, and the content.
_HEAD = struct.Struct('<BQ')
# The end of a file: the footer, with the start of the summary section, the start of its offsets
# and the checksum, and the magic.
_FOOTER = struct.Struct('<BQQQI')
# The content of a chunk begins with the times of its first and last message, the size and the
# checksum of the decompressed records, and the length of the name of the compression.
_CHUNK = struct.Struct('<QQQII')
_KINDS = (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.MESSAGE, Opcode.CHUNK)
_PIECE = 1 << 12
_READ = 1 << 20
# Exceptions of the libraries for damaged records.
_DAMAGED = (
    McapError,
    zstandard.ZstdError,
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    struct.error,
    OverflowError,
    MemoryError,
)


class Salvage:
    """The intact records of one MCAP file.

    Attributes:
        damaged: number of records that are incomplete or damaged; a chunk is one record.
    """

    def __init__(self, file: Path) -> None:
        """Read from `file`, which begins with the magic of MCAP."""
        self.damaged = 0
        self._file = file

    def records(self) -> Iterator[Record]:
        """Yield the intact records, also those in chunks, in the order of the file."""
        with self._file.open('rb') as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(len(MCAP_MAGIC))
            while head := stream.read(_HEAD.size):
                if len(head) < _HEAD.size:
                    self.damaged += 1
                    return
                kind, length = _HEAD.unpack(head)
                if kind == Opcode.DATA_END:
                    return  # the index follows
                content = stream.read(min(length, size)) if kind in _KINDS else b''
                if kind in _KINDS and len(content) == length:
                    yield from self._parsed(kind, content)
                elif length > size - stream.tell():
                    self.damaged += 1
                    yield from _of_cut_chunk(content) if kind == Opcode.CHUNK else ()
                    return
                else:
                    stream.seek(length, os.SEEK_CUR)

    def _parsed(self, kind: int, content: bytes) -> list[Record]:
        try:
            return _parse(kind, content)
        except _DAMAGED:
            self.damaged += 1
            return []


def summary_is_intact(file: Path) -> bool:
    """Return whether the summary of a closed MCAP file has its checksum, or has none to check.

    The checksum is the CRC-32 of the bytes from the start of the summary to the checksum itself.
    """
    with file.open('rb') as stream:
        size = stream.seek(0, os.SEEK_END)
        end = size - len(MCAP_MAGIC)
        if end < _FOOTER.size:
            return False
        stream.seek(end - _FOOTER.size)
        kind, length, start, _, checksum = _FOOTER.unpack(stream.read(_FOOTER.size))
        if kind != Opcode.FOOTER or length != _FOOTER.size - _HEAD.size:
            return False
        if not checksum:
            return True
        left, found = end - 4 - (start or end - _FOOTER.size), 0
        if left < 0:
            return False
        stream.seek(end - 4 - left)
        while left:
            piece = stream.read(min(left, _READ))
            found, left = zlib.crc32(piece, found), left - len(piece)
        return found == checksum


def _parse(kind: int, content: bytes) -> list[Record]:
    """Return a record, or all records of a chunk; raises one of `_DAMAGED`."""
    stream = ReadDataStream(BytesIO(content))
    if kind == Opcode.SCHEMA:
        return [Schema.read(stream)]
    if kind == Opcode.CHANNEL:
        return [Channel.read(stream)]
    if kind == Opcode.MESSAGE:
        return [Message.read(stream, len(content))]
    if kind == Opcode.CHUNK:
        parts = breakup_chunk(Chunk.read(stream), validate_crc=True)
        return [part for part in parts if isinstance(part, Record)]
    return []


def _of_cut_chunk(content: bytes) -> Iterator[Record]:
    """Yield the complete records of a chunk of which `content` is the beginning."""
    data = _decompressed_beginning(content)
    place = 0
    while place + _HEAD.size <= len(data):
        kind, length = _HEAD.unpack_from(data, place)
        place += _HEAD.size
        if length > len(data) - place:
            return
        try:
            yield from _parse(kind, data[place : place + length])
        except _DAMAGED:
            return
        place += length


def _decompressed_beginning(content: bytes) -> bytes:
    """Return what can be decompressed of a chunk that is cut."""
    if len(content) < _CHUNK.size:
        return b''
    *_, name_length = _CHUNK.unpack_from(content)
    start = _CHUNK.size + name_length
    compression = content[_CHUNK.size : start]
    # The length of the records follows the name.
    packed = content[start + 8 :]
    if not compression:
        return packed
    if compression == b'lz4':
        decompressor = lz4.frame.LZ4FrameDecompressor()
    elif compression == b'zstd':
        decompressor = zstandard.ZstdDecompressor().decompressobj()
    else:
        return b''
    found = bytearray()
    try:
        for place in range(0, len(packed), _PIECE):
            found += decompressor.decompress(packed[place : place + _PIECE])
    except (*_DAMAGED, EOFError):
        pass
    return bytes(found)
