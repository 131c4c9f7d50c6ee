# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Repairs bags: MCAP files that were cut or damaged, and missing or wrong metadata.

A repaired file is a new one; the original is kept beside it.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from mcap.exceptions import McapError
from mcap.reader import make_reader
from mcap.records import Channel, Message, Schema
from mcap.summary import Summary
from rosbags.rosbag2.metadata import dump_qos_v8

from sage_perception.bags.definitions import Definition
from sage_perception.bags.files import MCAP_MAGIC, BagError, is_closed, storage_files
from sage_perception.bags.metadata import (
    FileMetadata,
    TopicMetadata,
    information,
    metadata_notes,
    write_metadata,
)
from sage_perception.bags.reader import Bag, open_bag
from sage_perception.bags.salvage import Salvage, summary_is_intact
from sage_perception.bags.writer import BagWriter

ORIGINAL_SUFFIX = '.original'
"""Suffix of the files that were replaced by repaired ones."""


@dataclass(frozen=True)
class Repair:
    """The result of `repair`.

    Attributes:
        originals: the replaced files under their new names.
        damaged: number of incomplete or damaged records that are left out; a chunk is one record.
    """

    originals: tuple[Path, ...]
    damaged: int


def repair(path: Path | str) -> Repair:
    """Make a bag readable: rewrite damaged MCAP files, and write the metadata of a directory.

    All intact messages are kept (`bags.salvage`), and the original file under its name with
    `ORIGINAL_SUFFIX`. The repair needs disk space for a second copy of the messages; repaired
    files are not compressed. Without a message to keep, nothing is changed.

    Raises:
        BagError: the bag needs no repair, or cannot be repaired.
    """
    path = Path(path)
    originals, damaged = [], 0
    for file in storage_files(path):
        try:
            if file.suffix != '.mcap' or not _needs_repair(file):
                continue
            damaged += _rewrite(file)
        except OSError as error:
            raise BagError(
                f'cannot repair {file}: {error.strerror}; the repair needs as much free '
                'space as the file, and permission to write beside it'
            ) from error
        originals.append(file.with_name(file.name + ORIGINAL_SUFFIX))
    with open_bag(path) as bag:
        if not originals and not metadata_notes(path, storage_files(path), bag.count):
            raise BagError(f'{path} is complete: there is nothing to repair')
        if path.is_dir():
            _write_metadata(path, bag)
    return Repair(tuple(originals), damaged)


def _needs_repair(file: Path) -> bool:
    """Return whether a file was not closed, has no index, or is damaged, by reading all of it."""
    with file.open('rb') as stream:
        if stream.read(len(MCAP_MAGIC)) != MCAP_MAGIC:
            raise BagError(f'cannot repair {file}: it is not an MCAP file')
        if not is_closed(file) or not summary_is_intact(file):
            return True
        stream.seek(0)
        try:
            reader = make_reader(stream)
            if not _is_indexed(reader.get_summary()) or reader.get_header().profile != 'ros2':
                return True
        except (McapError, ValueError, LookupError, OSError, MemoryError):
            return True
    salvage = Salvage(file)
    for _ in salvage.records():
        pass
    return salvage.damaged > 0 or not _opens(file)


def _opens(file: Path) -> bool:
    """Return whether a file can be opened for reading: its index can be damaged by itself."""
    try:
        open_bag(file).close()
    except BagError:
        return False
    return True


def _is_indexed(summary: Summary | None) -> bool:
    """Return whether all messages of a file can be found by their time."""
    if summary is None or summary.statistics is None:
        return False
    if not summary.statistics.message_count:
        return True
    chunks = summary.chunk_indexes
    return bool(chunks) and all(chunk.message_index_offsets for chunk in chunks)


def _rewrite(file: Path) -> int:
    """Replace a file by one with its intact messages; return the number of damaged records."""
    work = file.parent / f'.repaired_{os.getpid()}'
    try:
        with BagWriter(work) as bag:
            salvage = Salvage(file)
            _copy(salvage, bag)
        if not bag.count:
            raise BagError(f'cannot repair {file}: it has no intact message')
        original = file.with_name(file.name + ORIGINAL_SUFFIX)
        if original.exists():
            raise BagError(f'cannot repair {file}: {original} exists; move it away')
        file.rename(original)
        bag.file.rename(file)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return salvage.damaged


def _copy(salvage: Salvage, bag: BagWriter) -> None:
    """Write all intact messages of ROS 2 to `bag`."""
    schemas: dict[int, Schema] = {}
    topics: dict[int, str] = {}
    for record in salvage.records():
        if isinstance(record, Schema):
            schemas[record.id] = record
        elif isinstance(record, Message):
            if record.channel_id in topics:
                topic = topics[record.channel_id]
                bag.write(topic, record.data, record.log_time, record.publish_time)
        elif _is_new(record, schemas, topics):
            schema = schemas[record.schema_id]
            topics[record.id] = record.topic
            if record.topic not in bag.topics:
                text = schema.data.decode(errors='replace')
                bag.add_recorded_topic(
                    record.topic,
                    Definition(schema.name, schema.encoding, text),
                    record.metadata.get('offered_qos_profiles', ''),
                )


def _is_new(channel: Channel, schemas: dict[int, Schema], topics: dict[int, str]) -> bool:
    """Return whether a channel has messages of ROS 2 and is not known yet."""
    is_ros = channel.message_encoding == 'cdr' and channel.schema_id in schemas
    return is_ros and channel.id not in topics


def _write_metadata(path: Path, bag: Bag) -> None:
    files = []
    for file in storage_files(path):
        with open_bag(file) as part:
            files.append(FileMetadata(file.name, part.count, part.start_ns, part.end_ns))
    storage = 'sqlite3' if any('.db3' in file.name for file in files) else 'mcap'
    topics = [
        TopicMetadata(
            topic.name,
            topic.type_name,
            topic.count,
            dump_qos_v8([*topic.profiles]),
            topic.definition.type_hash if topic.definition else '',
        )
        for topic in bag.topics.values()
    ]
    write_metadata(path, information(storage, files, topics))
