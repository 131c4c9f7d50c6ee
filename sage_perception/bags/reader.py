# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Reads bags: directories of MCAP or SQLite files, or single files."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinitionFormat, Qos

from sage_perception.bags.definitions import (
    Definition,
    UnreadableType,
    compare,
    compare_sample,
    decode,
    installed_definition,
    message_class,
)
from sage_perception.bags.files import BagError, storage_files
from sage_perception.bags.legacy import converted, is_convertible
from sage_perception.bags.metadata import metadata_notes
from sage_perception.bags.storage import Storage
from sage_perception.core.text import one_line

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
        notes: sentences about parts that are missing, damaged or skipped.
    """

    def __init__(self, path: Path) -> None:
        """Open the bag at `path`; raises as `open_bag` does."""
        self.path = path
        self._storage = Storage(path)
        storage = self._storage
        self.start_ns, self.end_ns = storage.start_ns, storage.end_ns
        self.notes = metadata_notes(path, storage_files(path), storage.count)
        self._checked: set[str] = set()
        self.topics: dict[str, BagTopic] = {}
        try:
            with self._explain('is damaged'):
                for connection in storage.connections:
                    self._add(connection._replace(msgtype=_full_name(connection.msgtype)))
        except BagError:
            storage.close()
            raise
        self.count = sum(topic.count for topic in self.topics.values())

    def _add(self, connection: Connection) -> None:
        """Add the topic of a connection, or note why it is not read."""
        name, extension = connection.topic, connection.ext
        before = self.topics.get(name)
        serialization = getattr(extension, 'serialization_format', 'cdr')
        if serialization != 'cdr':
            self.notes.append(f'{name} is skipped: its messages are in {serialization!r}, not CDR')
        elif before is not None and before.type_name != connection.msgtype:
            self.notes.append(
                f'{name} has messages of {connection.msgtype}, which are skipped, and of '
                f'{before.type_name}'
            )
        else:
            self.topics[name] = _topic(connection, before)

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
        wanted = self.topics.keys() if topics is None else self.topics.keys() & {*topics}
        records = self._storage.messages(wanted, start_ns, stop_ns)
        with self._explain('is damaged'):
            for connection, log_time, data in records:
                type_name = _full_name(connection.msgtype)
                if type_name == self.topics[connection.topic].type_name:
                    current = self._current(connection.topic, data)
                    yield BagMessage(connection.topic, type_name, log_time, current)

    def __iter__(self) -> Iterator[BagMessage]:
        return self.messages()

    @contextmanager
    def _explain(self, fault: str) -> Iterator[None]:
        """Raise `BagError` for any exception: damaged files cause many kinds of them."""
        try:
            yield
        except BagError:
            raise
        except Exception as error:
            fix = ''
            if any(file.suffix == '.mcap' for file in storage_files(self.path)):
                fix = f'; run "sage record --repair {self.path}" to keep what is readable'
            reason = one_line(error) or type(error).__name__
            raise BagError(f'{self.path} {fault}: {reason}{fix}') from error

    def _is_converted(self, topic: str) -> bool:
        """Return whether the messages of a topic are converted to the installed type."""
        definition = self.topics[topic].definition
        return definition is not None and is_convertible(definition.type_hash)

    def _current(self, topic: str, data: bytes) -> bytes:
        """Return a recorded message, converted if it is of an earlier release."""
        if not self._is_converted(topic):
            return data
        known = self.topics[topic]
        try:
            message = decode(data, known.type_name, known.definition)
            return converted(message, message_class(known.type_name), message_class)
        except (UnreadableType, AssertionError):
            return b''  # damaged: no message of any type

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
        if self._is_converted(topic):
            return f'{name} was recorded with an earlier release: its messages are converted'
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
        kind = message_class(self.topics[topic].type_name)
        try:
            return deserialize_message(data, kind)
        except Exception as error:
            raise UnreadableType(f'a message of {topic} is damaged: {one_line(error)}') from error

    def decode(self, topic: str, data: bytes) -> Any:
        """Return the message as an object with the recorded fields, also where ROS is missing.

        Arrays of numbers are numpy arrays. The definition is the one in the bag, so that bags of
        other releases are readable; that of converted messages is the installed one.

        Raises:
            UnreadableType: there is no definition, or the bytes do not fit it.
        """
        known = self.topics[topic]
        recorded = None if self._is_converted(topic) else known.definition
        return decode(data, known.type_name, recorded)

    def close(self) -> None:
        """Close the files."""
        self._storage.close()

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _full_name(type_name: str) -> str:
    """Return a type name with its namespace, which early bags omit: std_msgs/Header."""
    package, _, rest = type_name.partition('/')
    return type_name if '/' in rest or not rest else f'{package}/msg/{rest}'


def _topic(connection: Connection, before: BagTopic | None) -> BagTopic:
    """Return the topic of a connection; `before` is the same topic in the files before."""
    encoding = _ENCODINGS.get(connection.msgdef.format)
    definition = None
    if encoding:
        definition = Definition(connection.msgtype, encoding, connection.msgdef.data)
    offered: list[Qos] = []
    if isinstance(connection.ext, ConnectionExtRosbag2):
        offered = [*connection.ext.offered_qos_profiles]
    known = before.profiles if before else ()
    return BagTopic(
        name=connection.topic,
        type_name=connection.msgtype,
        count=connection.msgcount + (before.count if before else 0),
        profiles=known + tuple(qos for qos in offered if qos not in known),
        definition=(before.definition if before else None) or definition,
    )
