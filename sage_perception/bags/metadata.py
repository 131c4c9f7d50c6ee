# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The metadata of bags: written for `ros2 bag`, and compared with the files, which are read.

The metadata has version 8. The reader of Humble (version 5) ignores the fields that it does not
have, and Jazzy and later releases (version 9) still read QoS profiles as numbers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import yaml

from sage_perception.bags.files import COMPRESSED_SUFFIXES, METADATA
from sage_perception.core.files import write_atomically
from sage_perception.core.yaml_file import read_mapping

METADATA_VERSION = 8
_INFORMATION = 'rosbag2_bagfile_information'


@dataclass(frozen=True)
class FileMetadata:
    """The name of a storage file, its number of messages, and their log times."""

    name: str
    count: int
    first_ns: int
    last_ns: int


@dataclass(frozen=True)
class TopicMetadata:
    """A topic; `profiles` are the offered QoS profiles in the YAML of rosbag2."""

    name: str
    type_name: str
    count: int
    profiles: str
    type_hash: str


def information(
    storage: str, files: Sequence[FileMetadata], topics: Iterable[TopicMetadata]
) -> dict[str, Any]:
    """Return the metadata of a bag; `storage` is 'mcap' or 'sqlite3'."""
    compressed = any(file.name.endswith(COMPRESSED_SUFFIXES) for file in files)
    return {
        'version': METADATA_VERSION,
        'storage_identifier': storage,
        **_span(files),
        'topics_with_message_count': [
            {
                'topic_metadata': {
                    'name': topic.name,
                    'type': topic.type_name,
                    'serialization_format': 'cdr',
                    'offered_qos_profiles': topic.profiles,
                    'type_description_hash': topic.type_hash,
                },
                'message_count': topic.count,
            }
            for topic in topics
        ],
        # These are about whole files and messages; MCAP itself compresses the chunks.
        'compression_format': 'zstd' if compressed else '',
        'compression_mode': 'FILE' if compressed else '',
        'relative_file_paths': [file.name for file in files],
        'files': [{'path': file.name, **_span([file])} for file in files],
        'custom_data': None,
        'ros_distro': os.environ.get('ROS_DISTRO', ''),
    }


def write_metadata(folder: Path, content: dict[str, Any]) -> None:
    """Write what `information` returned into a bag directory. Raises `OSError`."""
    write_atomically(folder / METADATA, yaml.safe_dump({_INFORMATION: content}, sort_keys=False))


def metadata_notes(path: Path, files: Sequence[Path], count: int) -> list[str]:
    """Return what is wrong with the metadata of a bag directory; empty if it fits the files.

    Args:
        path: the bag; a single file has no metadata.
        files: its storage files.
        count: the number of messages in them.
    """
    metadata = path / METADATA
    if not path.is_dir():
        return []
    if not metadata.exists():
        return [f'{path} has no {METADATA}; its files are read without it']
    try:
        content = read_mapping(metadata)[_INFORMATION]
        named = [_plain(PurePath(str(name)).name) for name in content['relative_file_paths']]
        expected = content['message_count']
    except (OSError, ValueError, LookupError, TypeError) as error:
        reason = f'{error} is missing' if isinstance(error, KeyError) else error
        return [f'{metadata} is damaged ({reason}); the files are read without it']
    missing = sorted({*named} - {_plain(file.name) for file in files})
    notes = [f'{metadata} names {name}, which is missing' for name in missing]
    if not missing and expected != count:
        notes.append(f'{metadata} counts {expected} messages, but the files have {count}')
    return notes


def _span(files: Sequence[FileMetadata]) -> dict[str, Any]:
    full = [file for file in files if file.count]
    first = min((file.first_ns for file in full), default=0)
    return {
        'duration': {'nanoseconds': max((file.last_ns for file in full), default=first) - first},
        'starting_time': {'nanoseconds_since_epoch': first},
        'message_count': sum(file.count for file in full),
    }


def _plain(name: str) -> str:
    """Return the name of a storage file before it was compressed as a whole."""
    for suffix in COMPRESSED_SUFFIXES:
        name = name.removesuffix(suffix)
    return name
