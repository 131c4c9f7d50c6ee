# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Reads bags: directories with metadata, or single MCAP and SQLite files."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from rosbags.interfaces import Connection, MessageDefinitionFormat, Qos
from rosbags.rosbag2 import Reader

from sage_perception.bags.definitions import (
    Definition,
    UnreadableType,
    compare,
    compare_sample,
    decode,
    installed_definition,
    message_class,
)
from sage_perception.bags.files import BagError, closed_bag

try:
    from rclpy.serialization import deserialize_message
except ModuleNotFoundError:  # ROS is not installed: `Bag.decode` remains
    deserialize_message = None

_ENCODINGS = {MessageDefinitionFormat.MSG: 'ros2msg', MessageDefinitionFormat.IDL: 'ros2idl'}


class BagMessage(NamedTuple):
    """One recorded message.

    `data` is serialized (CDR); `log_time_ns` is the time at which the recorder received it.
    """

    topic: str
    type_name: str
    log_time_ns: int
    data: bytes


@dataclass(frozen=True)
class BagTopic:
    """A topic of a bag.

    `profiles` are the QoS profiles of its publishers (`bags.profiles.from_recorded` converts
    them). `definition` is None if the bag does not contain it.
    """

    name: str
    type_name: str
    count: int
    profiles: tuple[Qos, ...] = ()
    definition: Definition | None = None


def open_bag(path: Path | str) -> Bag:
    """Open a bag for reading: its directory, or one .mcap or .db3 file.

    Raises:
        BagError: the bag does not exist, is damaged, or was not closed.
    """
    return Bag(Path(path))


class Bag:
    """A bag that is open for reading; a context manager.

    Attributes:
        topics: the topics by name.
        count: the number of messages.
        start_ns, end_ns: the log times of the first and the last message; 0 for an empty bag.
    """

    def __init__(self, path: Path) -> None:
        """Open the bag at `path`; raises as `open_bag` does."""
        self.path = path
        file = closed_bag(path)
        with self._explain('cannot be read as a bag'):
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
        """Return the time from the first message to the last, seconds."""
        return (self.end_ns - self.start_ns) * 1e-9

    def messages(
        self,
        topics: Collection[str] | None = None,
        start_ns: int | None = None,
        stop_ns: int | None = None,
    ) -> Iterator[BagMessage]:
        """Yield messages in the order of their log times.

        Args:
            topics: the topics to read; None for all.
            start_ns: the first log time; None for that of the bag.
            stop_ns: the log time at which to stop, exclusive; None for the end of the bag.

        Raises:
            BagError: the bag is damaged.
        """
        wanted = [c for c in self._reader.connections if topics is None or c.topic in topics]
        if not wanted:
            return
        with self._explain('is damaged'):
            for connection, log_time, data in self._reader.messages(wanted, start_ns, stop_ns):
                yield BagMessage(connection.topic, connection.msgtype, log_time, bytes(data))

    def __iter__(self) -> Iterator[BagMessage]:
        return self.messages()

    @contextmanager
    def _explain(self, fault: str) -> Iterator[None]:
        """Raise `BagError` for any exception: damaged files cause many kinds of them."""
        try:
            yield
        except Exception as error:
            raise BagError(f'{self.path} {fault}: {str(error) or type(error).__name__}') from error

    def check(self, topic: str) -> str:
        """Return harmless differences between the recorded and the installed type of a topic.

        The text is empty if there are none.

        Raises:
            UnreadableType: the type is not installed, or the recorded bytes do not fit it.
        """
        recorded = self.topics[topic].definition
        name = self.topics[topic].type_name
        message_class(name)
        installed = installed_definition(name)
        if recorded is not None and recorded.type_hash:
            return compare(recorded, installed)
        # Bags that Humble wrote in SQLite have no definitions: check whether a message fits.
        for message in islice(self.messages([topic]), 1):
            compare_sample(message.data, installed)
        return ''

    def deserialize(self, topic: str, data: bytes) -> Any:
        """Return the ROS message of serialized `data` of `topic`; raises as `check` does.

        Raises `UnreadableType` also if ROS is not installed.
        """
        if deserialize_message is None:
            raise UnreadableType('ROS is not installed: source it, or use the environment of sage')
        if topic not in self._checked:
            self.check(topic)
            self._checked.add(topic)
        return deserialize_message(data, message_class(self.topics[topic].type_name))

    def decode(self, topic: str, data: bytes) -> Any:
        """Return the message as an object with the recorded fields, also where ROS is missing.

        Arrays of numbers are numpy arrays. The definition is the one in the bag, so that bags of
        other releases are readable.

        Raises:
            UnreadableType: there is no definition, or the bytes do not fit it.
        """
        known = self.topics[topic]
        return decode(data, known.type_name, known.definition)

    def close(self) -> None:
        """Close the files."""
        if self._reader.is_open:
            self._reader.close()

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _topic(connection: Connection, count_before: int) -> BagTopic:
    encoding = _ENCODINGS.get(connection.msgdef.format)
    text = connection.msgdef.data
    offered = getattr(connection.ext, 'offered_qos_profiles', ())
    return BagTopic(
        name=connection.topic,
        type_name=connection.msgtype,
        count=count_before + connection.msgcount,
        profiles=tuple(offered),
        definition=Definition(connection.msgtype, encoding, text) if encoding else None,
    )
