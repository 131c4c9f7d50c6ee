# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The files of a bag: written as MCAP, read as MCAP or SQLite, mended when a recorder was killed.

A bag is a directory with `metadata.yaml` and storage files, as `ros2 bag` makes it. The metadata
is of version 8: Humble's reader takes what it knows of it (it was at version 5), and Jazzy and
newer (version 9) still read the numbers it gives for quality of service.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import yaml
from mcap.exceptions import EndOfFile
from mcap.records import Channel, McapRecord, Message, Schema
from mcap.stream_reader import CRCValidationError, StreamReader
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from rosbags.interfaces import MessageDefinitionFormat
from rosbags.rosbag2 import Reader
from zstandard import ZstdError

from sage_perception.bags.definitions import (
    Definition,
    UnreadableType,
    compare,
    compare_sample,
    installed_definition,
    message_class,
)
from sage_perception.bags.profiles import from_recorded, to_yaml

COMPRESSIONS = {
    'none': CompressionType.NONE,
    'lz4': CompressionType.LZ4,
    'zstd': CompressionType.ZSTD,
}

_METADATA_VERSION = 8
_MAGIC = b'\x89MCAP0\r\n'
_STORAGE = re.compile(r'.*\.(mcap|db3)(\.zstd)?')
_ENCODINGS = {MessageDefinitionFormat.MSG: 'ros2msg', MessageDefinitionFormat.IDL: 'ros2idl'}


class BagError(ValueError):
    """A bag cannot be read or written; the message names it and says what to do."""


class BagMessage(NamedTuple):
    """One recorded message; `data` is serialized (CDR), `log_time_ns` when it was received."""

    topic: str
    type_name: str
    log_time_ns: int
    data: bytes


@dataclass(frozen=True)
class BagTopic:
    """A topic of a bag; `definition` is None where the bag does not tell it."""

    name: str
    type_name: str
    count: int
    profiles: tuple[QoSProfile, ...] = ()
    definition: Definition | None = None


def open_bag(path: Path | str) -> Bag:
    """Open a bag for reading: its directory, or one .mcap or .db3 file.

    Raises:
        BagError: there is none, it is broken, or it was never closed.
    """
    return Bag(Path(path))


class Bag:
    """A bag that is open for reading; a context manager.

    `topics` are by name. `start_ns` and `end_ns` are the log times of the first and the last
    message, both 0 when there is none.
    """

    def __init__(self, path: Path) -> None:
        """Open the bag at `path`; raises as `open_bag` does."""
        self.path = path
        file = _readable(path)
        with self._explained('cannot be read as a bag'):
            self._reader = Reader(file)
            self._reader.open()
        reader = self._reader
        self.count = reader.message_count
        self.start_ns = reader.start_time if self.count else 0
        self.end_ns = reader.end_time - 1 if self.count else 0
        self._checked: set[str] = set()
        self.topics: dict[str, BagTopic] = {}
        for connection in reader.connections:
            before = self.topics.get(connection.topic)
            self.topics[connection.topic] = _topic(connection, before.count if before else 0)

    @property
    def duration_s(self) -> float:
        """Seconds from the first message to the last."""
        return (self.end_ns - self.start_ns) * 1e-9

    def messages(
        self,
        topics: Collection[str] | None = None,
        start_ns: int | None = None,
        stop_ns: int | None = None,
    ) -> Iterator[BagMessage]:
        """Yield the messages of `topics` (None: of all) in the order of their log times.

        Log times are in [start_ns, stop_ns).

        Raises:
            BagError: where the bag is damaged.
        """
        wanted = [c for c in self._reader.connections if topics is None or c.topic in topics]
        if not wanted:
            return
        with self._explained('is damaged'):
            for connection, log_time, data in self._reader.messages(wanted, start_ns, stop_ns):
                yield BagMessage(connection.topic, connection.msgtype, log_time, bytes(data))

    def __iter__(self) -> Iterator[BagMessage]:
        return self.messages()

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turn whatever reading nonsense leads to, of which there is much, into a BagError."""
        try:
            yield
        except Exception as error:
            why = str(error) or type(error).__name__
            raise BagError(f'{self.path} {what}: {why}') from error

    def check(self, topic: str) -> str:
        """Return how a topic's type differs from the installed one, without harm; '' if not.

        Raises:
            UnreadableType: it is not installed, or its messages would be read wrongly.
        """
        recorded = self.topics[topic].definition
        name = self.topics[topic].type_name
        message_class(name)
        installed = installed_definition(name)
        if recorded is not None and recorded.type_hash:
            return compare(recorded, installed)
        # As in bags that Humble wrote in SQLite: see whether a message fits.
        for message in islice(self.messages([topic]), 1):
            compare_sample(message.data, installed)
        return ''

    def deserialize(self, topic: str, data: bytes) -> object:
        """Return the ROS message that `data` of `topic` stands for; raises as `check` does."""
        if topic not in self._checked:
            self.check(topic)
            self._checked.add(topic)
        return deserialize_message(data, message_class(self.topics[topic].type_name))

    def close(self) -> None:
        """Close the files."""
        if self._reader.is_open:
            self._reader.close()

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *exception) -> None:
        self.close()


def _topic(connection, count_before: int) -> BagTopic:
    encoding = _ENCODINGS.get(connection.msgdef.format)
    text = connection.msgdef.data
    return BagTopic(
        name=connection.topic,
        type_name=connection.msgtype,
        count=count_before + connection.msgcount,
        profiles=tuple(from_recorded(qos) for qos in connection.ext.offered_qos_profiles),
        definition=Definition(connection.msgtype, encoding, text) if encoding else None,
    )


def _readable(path: Path) -> Path:
    """Return what to hand to the reader, or raise BagError when the bag was never closed."""
    if not path.exists():
        raise BagError(f'there is no bag {path}')
    files = _storage_files(path)
    if not files:
        raise BagError(f'{path} is no bag: give the directory of one, a .mcap or a .db3 file')
    closed = path.is_file() or (path / 'metadata.yaml').exists()
    if not closed and len(files) == 1:
        path, closed = files[0], True
    if not closed or any(file.suffix == '.mcap' and not _is_closed(file) for file in files):
        raise BagError(
            f'{path} was not closed, its recorder was killed: run "sage record --repair {path}"'
        )
    return path


def _storage_files(path: Path) -> list[Path]:
    files = [path] if path.is_file() else sorted(path.iterdir())
    return [file for file in files if _STORAGE.fullmatch(file.name)]


def _is_closed(file: Path) -> bool:
    with file.open('rb') as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - len(_MAGIC)))
        return size > len(_MAGIC) and stream.read() == _MAGIC


@dataclass
class _Written:
    """A topic that is being written."""

    type_name: str
    channel: int
    profiles: str
    type_hash: str
    count: int = 0


class BagWriter:
    """Writes a bag: one MCAP file, and the metadata when it is closed. A context manager.

    What `flush` has written survives the death of the process (see `repair`). Not thread-safe.
    """

    def __init__(self, path: Path | str, compression: str = 'none') -> None:
        """Create the bag's directory.

        Args:
            path: the directory; it must not exist.
            compression: of the chunks, a key of `COMPRESSIONS`.

        Raises:
            BagError: the directory exists or cannot be made.
        """
        self.path = Path(path)
        self.count = 0
        self.topics: dict[str, _Written] = {}
        self._schemas: dict[str, int] = {}
        self._first_ns, self._last_ns = 2**63 - 1, 0
        self.file = self.path / f'{self.path.resolve().name}_0.mcap'
        try:
            self.path.mkdir(parents=True)
            self._stream = self.file.open('xb')
        except FileExistsError:
            raise BagError(f'{path} exists already: name another, or remove it') from None
        except OSError as error:
            raise BagError(f'{path} cannot be made: {error.strerror}') from None
        self._mcap = McapWriter(self._stream, compression=COMPRESSIONS[compression])
        self._mcap.start('ros2', f'sage {importlib.metadata.version("sage_perception")}')
        self.flush()

    @property
    def size(self) -> int:
        """How many bytes are written and not only buffered."""
        return self.file.stat().st_size

    @property
    def duration_s(self) -> float:
        """Seconds from the first message to the last."""
        return (self._last_ns - self._first_ns) * 1e-9 if self.count else 0.0

    def add_topic(
        self,
        name: str,
        type_name: str,
        profiles: Sequence[QoSProfile] = (),
        definition: Definition | None = None,
    ) -> None:
        """Announce a topic, with what its publishers offered.

        `definition` is that of the installed type when it is None; a type that is not installed
        goes without.
        """
        if definition is None:
            try:
                definition = installed_definition(type_name)
            except UnreadableType:
                definition = Definition(type_name, '', '')
        self._add_topic(name, definition, to_yaml(profiles))

    def _add_topic(self, name: str, definition: Definition, profiles: str) -> None:
        if definition.type_name not in self._schemas:
            self._schemas[definition.type_name] = self._mcap.register_schema(
                definition.type_name, definition.encoding, definition.text.encode()
            )
        channel = self._mcap.register_channel(
            name,
            'cdr',
            self._schemas[definition.type_name],
            {'offered_qos_profiles': profiles, 'topic_type_hash': definition.type_hash},
        )
        self.topics[name] = _Written(definition.type_name, channel, profiles, definition.type_hash)

    def write(
        self, topic: str, data: bytes, log_time_ns: int, publish_time_ns: int | None = None
    ) -> None:
        """Add a serialized message of a topic that was announced."""
        written = self.topics[topic]
        published = log_time_ns if publish_time_ns is None else publish_time_ns
        self._mcap.add_message(written.channel, log_time_ns, data, published)
        written.count += 1
        self.count += 1
        self._first_ns = min(self._first_ns, log_time_ns)
        self._last_ns = max(self._last_ns, log_time_ns)

    def flush(self) -> None:
        """Hand everything to the operating system."""
        self._mcap.flush()

    def close(self) -> None:
        """Write what lets the bag be read: the index and the metadata."""
        metadata = self._metadata()
        self._mcap.add_metadata('rosbag2', {'serialized_metadata': yaml.safe_dump(metadata)})
        self._mcap.finish()
        self._stream.close()
        text = yaml.safe_dump({'rosbag2_bagfile_information': metadata}, sort_keys=False)
        (self.path / 'metadata.yaml').write_text(text, encoding='utf-8')

    def abandon(self) -> None:
        """Close the file as it is, unfinished; for when it cannot be written to any more."""
        self._stream.raw.close()

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, kind, *exception) -> None:
        self.close()

    def _span(self) -> dict:
        first = self._first_ns if self.count else 0
        return {
            'duration': {'nanoseconds': self._last_ns - first},
            'starting_time': {'nanoseconds_since_epoch': first},
            'message_count': self.count,
        }

    def _metadata(self) -> dict:
        return {
            'version': _METADATA_VERSION,
            'storage_identifier': 'mcap',
            **self._span(),
            'topics_with_message_count': [
                {
                    'topic_metadata': {
                        'name': name,
                        'type': topic.type_name,
                        'serialization_format': 'cdr',
                        'offered_qos_profiles': topic.profiles,
                        'type_description_hash': topic.type_hash,
                    },
                    'message_count': topic.count,
                }
                for name, topic in self.topics.items()
            ],
            # Of whole files or messages; that of chunks is MCAP's own affair.
            'compression_format': '',
            'compression_mode': '',
            'relative_file_paths': [self.file.name],
            'files': [{'path': self.file.name, **self._span()}],
            'custom_data': None,
            'ros_distro': os.environ.get('ROS_DISTRO', ''),
        }


def repair(path: Path | str) -> BagWriter:
    """Make a bag whole whose recorder was killed; return what it now holds.

    Every message is kept up to where the file breaks off. Needs room for the messages once more
    while it works; they are not compressed afterwards.

    Raises:
        BagError: the bag is whole, or there is nothing to make whole.
    """
    path = Path(path)
    files = _storage_files(path) if path.exists() else []
    if len(files) != 1 or files[0].suffix != '.mcap':
        raise BagError(f'{path} does not hold one .mcap file: nothing else can be repaired')
    file = files[0]
    with file.open('rb') as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise BagError(f'{file} is no MCAP file')
    if _is_closed(file) and (path.is_file() or (path / 'metadata.yaml').exists()):
        raise BagError(f'{path} is whole: nothing to repair')
    mended = file.parent / f'.repaired_{os.getpid()}'
    try:
        with BagWriter(mended) as bag:
            bag.file = bag.file.rename(mended / file.name)
            _copy(file, bag)
        bag.path, bag.file = path, bag.file.replace(file)
        if path.is_dir():
            (mended / 'metadata.yaml').replace(path / 'metadata.yaml')
    finally:
        shutil.rmtree(mended, ignore_errors=True)
    return bag


def _copy(file: Path, bag: BagWriter) -> None:
    """Write again what is whole in a file that breaks off somewhere."""
    schemas: dict[int, Schema] = {}
    topics: dict[int, str] = {}
    for record in _whole_records(file):
        if isinstance(record, Schema):
            schemas[record.id] = record
        elif isinstance(record, Channel) and record.id not in topics:
            schema = schemas[record.schema_id]
            topics[record.id] = record.topic
            bag._add_topic(
                record.topic,
                Definition(schema.name, schema.encoding, schema.data.decode()),
                record.metadata.get('offered_qos_profiles', ''),
            )
        elif isinstance(record, Message):
            topic = topics[record.channel_id]
            bag.write(topic, record.data, record.log_time, record.publish_time)


def _whole_records(file: Path) -> Iterator[McapRecord]:
    """Yield the records of an MCAP file, those in chunks too, up to where it breaks off."""
    with file.open('rb') as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(len(_MAGIC))
        while True:
            # One byte for the kind, eight for the length, then the content.
            head = stream.read(9)
            length = int.from_bytes(head[1:], 'little')
            if len(head) < 9 or length > size - stream.tell():
                return
            record = BytesIO(head + stream.read(length))
            try:
                yield from StreamReader(record, skip_magic=True, validate_crcs=True).records
            except EndOfFile:
                continue
            # After a loss of power a chunk can be there and yet hold something else.
            except (CRCValidationError, ZstdError, RuntimeError):
                return
