# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Repairs MCAP bags whose recorder was killed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from mcap.exceptions import EndOfFile
from mcap.records import Channel, McapRecord, Message, Schema
from mcap.stream_reader import CRCValidationError, StreamReader
from zstandard import ZstdError

from sage_perception.bags.definitions import Definition
from sage_perception.bags.files import MCAP_MAGIC, METADATA, BagError, is_closed, storage_files
from sage_perception.bags.writer import BagWriter


def repair(path: Path | str) -> BagWriter:
    """Add the missing index and metadata to a bag; return its closed writer.

    All messages before the end of the readable part are kept. The repair needs disk space for a
    second copy of the messages; the result is not compressed.

    Raises:
        BagError: the bag needs no repair, or it is not an MCAP bag with one file.
    """
    path = Path(path)
    files = storage_files(path) if path.exists() else []
    if len(files) != 1 or files[0].suffix != '.mcap':
        raise BagError(f'cannot repair {path}: it does not hold exactly one .mcap file')
    file = files[0]
    with file.open('rb') as stream:
        if stream.read(len(MCAP_MAGIC)) != MCAP_MAGIC:
            raise BagError(f'cannot repair {file}: it is not an MCAP file')
    if is_closed(file) and (path.is_file() or (path / METADATA).exists()):
        raise BagError(f'{path} is complete: there is nothing to repair')
    work = file.parent / f'.repaired_{os.getpid()}'
    try:
        with BagWriter(work) as bag:
            bag.file = bag.file.rename(work / file.name)
            _copy(file, bag)
        bag.path, bag.file = path, bag.file.replace(file)
        if path.is_dir():
            (work / METADATA).replace(path / METADATA)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return bag


def _copy(file: Path, bag: BagWriter) -> None:
    """Write all complete records of a truncated file to `bag`."""
    schemas: dict[int, Schema] = {}
    topics: dict[int, str] = {}
    for record in _complete_records(file):
        if isinstance(record, Schema):
            schemas[record.id] = record
        elif isinstance(record, Channel) and record.id not in topics:
            schema = schemas[record.schema_id]
            topics[record.id] = record.topic
            bag.add_recorded_topic(
                record.topic,
                Definition(schema.name, schema.encoding, schema.data.decode()),
                record.metadata.get('offered_qos_profiles', ''),
            )
        elif isinstance(record, Message):
            topic = topics[record.channel_id]
            bag.write(topic, record.data, record.log_time, record.publish_time)


def _complete_records(file: Path) -> Iterator[McapRecord]:
    """Yield the records of an MCAP file, also those in chunks, up to the first incomplete one."""
    with file.open('rb') as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(len(MCAP_MAGIC))
        while True:
            # A record is one byte of kind, eight bytes of length, and the content.
            head = stream.read(9)
            length = int.from_bytes(head[1:], 'little')
            if len(head) < 9 or length > size - stream.tell():
                return
            record = BytesIO(head + stream.read(length))
            try:
                yield from StreamReader(record, skip_magic=True, validate_crcs=True).records
            except EndOfFile:
                continue
            # After a power failure a chunk can have its full length and wrong content.
            except (CRCValidationError, ZstdError, RuntimeError):
                return
