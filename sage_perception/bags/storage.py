# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Reads the storage files of a bag as one stream of messages, without ROS.

The library `rosbags` reads each file. Counts, times and topics are those of the files: the
`metadata.yaml` of a bag can be missing, damaged, or wrong about split files. Files that were
compressed as a whole, and SQLite files with a write-ahead log, are read from a temporary copy.
"""

from __future__ import annotations

import heapq
import shutil
import sqlite3
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import lz4.frame
import zstandard
from mcap.exceptions import McapError
from mcap.reader import make_reader
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader

from sage_perception.bags.files import (
    BagError,
    is_compressed,
    readable_files,
)
from sage_perception.core.text import one_line

MAX_MESSAGE_BYTES = 1 << 30
"""Maximum size of a decompressed message."""
RESERVED_BYTES = 1 << 28
"""Free space that decompression leaves in the temporary folder."""
COPY_BYTES = 1 << 20
SIDE_FILES = ('-wal', '-journal')
"""Suffixes of the files in which SQLite keeps changes that are not yet in the database."""
_ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'

Record = tuple[Connection, int, bytes]
"""A message: its connection, its log time in nanoseconds, and the serialized data."""


class Storage:
    """The storage files of a bag, open for reading; a context manager.

    Attributes:
        connections: the topics of each file, so that a topic occurs once per file.
        count: the number of messages.
        start_ns, end_ns: the log times of the first and the last message; 0 without messages.
    """

    def __init__(self, path: Path) -> None:
        """Open the files of the bag at `path`.

        Raises:
            BagError: there is no bag, or a file is damaged, was not closed, or is not of ROS 2.
        """
        self._stack = ExitStack()
        self._readers: list[Reader] = []
        try:
            for file in readable_files(path):
                self._readers.append(self._open(file))
        except BaseException:
            self.close()
            raise
        self._readers.sort(key=lambda reader: reader.start_time)
        self.connections = [c for reader in self._readers for c in reader.connections]
        full = [reader for reader in self._readers if reader.message_count]
        self.count = sum(reader.message_count for reader in full)
        self.start_ns = min((reader.start_time for reader in full), default=0)
        self.end_ns = max((reader.end_time for reader in full), default=1) - 1

    def messages(
        self, topics: Collection[str], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[Record]:
        """Yield the messages of topics in the order of their log times, across all files.

        `stop_ns` is exclusive. Damaged files raise exceptions of many kinds.
        """
        for group in self._overlapping():
            parts = [self._read(reader, topics, start_ns, stop_ns) for reader in group]
            yield from heapq.merge(*parts, key=lambda record: record[1])

    def close(self) -> None:
        """Close the files and remove temporary copies."""
        self._stack.close()

    def __enter__(self) -> Storage:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _open(self, file: Path) -> Reader:
        """Open one storage file; its reader is closed with the stack."""
        try:
            reader = Reader(self._plain(file))
            reader.open()
        except BagError:
            raise
        except Exception as error:
            raise BagError(f'{file} cannot be read as a bag: {_reason(file, error)}') from error
        self._stack.callback(reader.close)
        # Without message indexes the library finds no messages in chunks; it can scan them.
        chunks = getattr(reader.storage, 'chunks', [])
        if not all(chunk.message_index_offsets for chunk in chunks):
            chunks.clear()
        return reader

    def _plain(self, file: Path) -> Path:
        """Return a file that the library can read: `file`, or a temporary copy of its content."""
        side_files = [file.with_name(file.name + suffix) for suffix in SIDE_FILES]
        has_log = any(side.exists() and side.stat().st_size for side in side_files)
        if not is_compressed(file) and not has_log:
            return file
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix='sage_bag_')))
        if is_compressed(file):
            target = folder / file.stem
            _decompress(file, target)
        else:
            target = folder / file.name
            _apply_log(file, side_files, target)
        return target

    def _overlapping(self) -> Iterator[list[Reader]]:
        """Yield groups of files that overlap in time, so that few files are read at once."""
        group: list[Reader] = []
        end_ns = 0
        for reader in self._readers:
            if group and reader.start_time >= end_ns:
                yield group
                group = []
            group.append(reader)
            end_ns = max(end_ns, reader.end_time)
        yield group

    @staticmethod
    def _read(
        reader: Reader, topics: Collection[str], start_ns: int | None, stop_ns: int | None
    ) -> Iterator[Record]:
        wanted = [c for c in reader.connections if c.topic in topics]
        if not wanted:
            return
        for connection, time_ns, data in reader.messages(wanted, start_ns, stop_ns):
            yield connection, time_ns, _decompressed(bytes(data))


def _decompressed(data: bytes) -> bytes:
    """Return a message; one that was compressed by itself begins with the magic of Zstandard."""
    if not data.startswith(_ZSTD_MAGIC):
        return data
    size = zstandard.frame_content_size(data)
    if size > MAX_MESSAGE_BYTES:
        raise BagError(f'a message has {size} bytes, at most {MAX_MESSAGE_BYTES}')
    return zstandard.ZstdDecompressor().decompress(data, max_output_size=MAX_MESSAGE_BYTES)


def _decompress(file: Path, target: Path) -> None:
    """Decompress a storage file; raises `BagError` if the disk would become full."""
    free = shutil.disk_usage(target.parent).free - RESERVED_BYTES
    with file.open('rb') as source, target.open('wb') as sink:
        if file.suffix == '.lz4':
            stream = lz4.frame.open(source)
        else:
            stream = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
        with stream:
            while data := stream.read(COPY_BYTES):
                free -= len(data)
                if free < 0:
                    raise BagError(
                        f'{file} needs more space than is free in {tempfile.gettempdir()}: '
                        'set TMPDIR to a larger disk'
                    )
                sink.write(data)


def _apply_log(file: Path, side_files: list[Path], target: Path) -> None:
    """Copy a SQLite file together with the changes in its write-ahead log or journal."""
    try:
        source = sqlite3.connect(f'{file.absolute().as_uri()}?mode=ro', uri=True)
        with closing(source), closing(sqlite3.connect(target)) as copy:
            source.backup(copy)
    except sqlite3.Error:
        # The folder may be read-only, where SQLite cannot lock the file: recover a copy of it.
        for part in (file, *(side for side in side_files if side.exists())):
            shutil.copyfile(part, target.with_name(part.name))
    with closing(sqlite3.connect(target)) as copy:
        copy.execute('PRAGMA journal_mode = DELETE').fetchall()


def _reason(file: Path, error: Exception) -> str:
    """Return why a file cannot be opened, with the fix if there is one."""
    if '.mcap' in file.name and 'rofile' in str(error):
        with suppress(OSError, McapError, UnicodeDecodeError), file.open('rb') as stream:
            profile = make_reader(stream).get_header().profile
            return (
                f'its profile is {profile!r}, not ros2; if it has messages of ROS 2, run '
                f'"sage record --repair {file}"'
            )
    reason = one_line(error) or type(error).__name__
    if file.suffix == '.mcap':
        reason += f'; run "sage record --repair {file}" to keep what is readable'
    if 'malformed' in reason:
        reason += f'; recover what is left with: sqlite3 {file} .recover | sqlite3 NEW.db3'
    return reason
