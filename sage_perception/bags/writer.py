# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Writes bags: one MCAP file and the metadata of `ros2 bag`."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from rclpy.qos import QoSProfile

from sage_perception.bags.definitions import Definition, UnreadableType, installed_definition
from sage_perception.bags.files import BagError
from sage_perception.bags.metadata import (
    FileMetadata,
    TopicMetadata,
    information,
    write_metadata,
)
from sage_perception.bags.profiles import to_yaml

COMPRESSIONS = {
    'none': CompressionType.NONE,
    'lz4': CompressionType.LZ4,
    'zstd': CompressionType.ZSTD,
}


@dataclass
class WrittenTopic:
    """A topic of a bag that is being written; `profiles` are in YAML."""

    type_name: str
    channel: int
    profiles: str
    type_hash: str
    count: int = 0


class BagWriter:
    """Writes a bag. A context manager; not thread-safe.

    Data survives the death of the process after `flush`; see `bags.repair`.

    Attributes:
        path: the directory of the bag.
        file: its MCAP file.
        topics: the topics by name.
        count: the number of messages.
    """

    def __init__(self, path: Path | str, compression: str = 'none') -> None:
        """Create the directory of the bag.

        Args:
            path: the directory, which must not exist.
            compression: compression of the chunks, a key of `COMPRESSIONS`.

        Raises:
            BagError: the directory exists or cannot be created.
        """
        self.path = Path(path)
        self.count = 0
        self.topics: dict[str, WrittenTopic] = {}
        self._schemas: dict[str, int] = {}
        self._first_ns, self._last_ns = 2**63 - 1, 0
        self.file = self.path / f'{self.path.resolve().name}_0.mcap'
        try:
            self.path.mkdir(parents=True)
            self._stream = self.file.open('xb')
        except FileExistsError:
            raise BagError(f'{path} already exists: use another name, or remove it') from None
        except OSError as error:
            raise BagError(f'cannot create {path}: {error.strerror}') from None
        self._mcap = McapWriter(self._stream, compression=COMPRESSIONS[compression])
        self._mcap.start('ros2', f'sage {importlib.metadata.version("sage_perception")}')
        self.flush()

    @property
    def size(self) -> int:
        """Return the size of the file, bytes, without buffered data."""
        return self.file.stat().st_size

    @property
    def duration_s(self) -> float:
        """Return the time from the first message to the last, seconds."""
        return (self._last_ns - self._first_ns) * 1e-9 if self.count else 0.0

    def add_topic(
        self,
        name: str,
        type_name: str,
        profiles: Sequence[QoSProfile] = (),
        definition: Definition | None = None,
    ) -> None:
        """Add a topic.

        Args:
            name: the topic.
            type_name: its type, for example 'sensor_msgs/msg/Image'.
            profiles: the QoS profiles that its publishers offer.
            definition: the definition of the type; None for the installed one, if there is one.
        """
        if definition is None:
            try:
                definition = installed_definition(type_name)
            except UnreadableType:
                definition = Definition(type_name, '', '')
        self.add_recorded_topic(name, definition, to_yaml(profiles))

    def add_recorded_topic(self, name: str, definition: Definition, profiles: str) -> None:
        """Add a topic with its QoS profiles in the YAML of another bag."""
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
        self.topics[name] = WrittenTopic(
            definition.type_name, channel, profiles, definition.type_hash
        )

    def write(
        self, topic: str, data: bytes, log_time_ns: int, publish_time_ns: int | None = None
    ) -> None:
        """Write a serialized message of a topic that was added."""
        written = self.topics[topic]
        published = log_time_ns if publish_time_ns is None else publish_time_ns
        self._mcap.add_message(written.channel, log_time_ns, data, published)
        written.count += 1
        self.count += 1
        self._first_ns = min(self._first_ns, log_time_ns)
        self._last_ns = max(self._last_ns, log_time_ns)

    def flush(self) -> None:
        """Pass all buffered data to the operating system."""
        self._mcap.flush()

    def close(self) -> None:
        """Write the index and the metadata, which readers need."""
        first_ns = self._first_ns if self.count else 0
        file = FileMetadata(self.file.name, self.count, first_ns, self._last_ns)
        topics = [
            TopicMetadata(name, t.type_name, t.count, t.profiles, t.type_hash)
            for name, t in self.topics.items()
        ]
        metadata = information('mcap', [file], topics)
        self._mcap.add_metadata('rosbag2', {'serialized_metadata': yaml.safe_dump(metadata)})
        self._mcap.finish()
        self._stream.close()
        write_metadata(self.path, metadata)

    def abandon(self) -> None:
        """Close the file without index and metadata, after a failed write."""
        self._stream.raw.close()

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
