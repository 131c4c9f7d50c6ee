# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Random messages, and bags of them, for the tests of bags."""

from __future__ import annotations

import array
import re
import signal
from pathlib import Path

import numpy as np
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

from sage_perception.bags.writer import BagWriter

SAGE = 'sage_perception.cli.main'
SECOND = 10**9
RELIABLE = QoSProfile(depth=50)
BEST_EFFORT = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def filled(kind: type, rng: np.random.Generator):
    """Return a message with random values in all fields."""
    message = kind()
    for name, field in kind.get_fields_and_field_types().items():
        setattr(message, name, _random(getattr(message, name), field, rng))
    return message


def _random(value, field: str, rng: np.random.Generator):
    many = re.fullmatch(r'sequence<(.+?)(?:, (\d+))?>', field)
    if hasattr(value, 'get_fields_and_field_types'):
        return filled(type(value), rng)
    if isinstance(value, array.array):
        size = min(5, int(many[2] or 5))
        raw = np.frombuffer(rng.bytes(8 * size), value.typecode)[:size]
        return array.array(value.typecode, np.nan_to_num(raw).tolist())
    if isinstance(value, np.ndarray):
        return rng.integers(0, 100, value.shape).astype(value.dtype)
    if many:
        package, _, name = many[1].partition('/')
        kind = getattr(__import__(f'{package}.msg', fromlist=[name]), name)
        return [filled(kind, rng) for _ in range(min(2, int(many[2] or 2)))]
    if isinstance(value, bool):
        return bool(rng.integers(2))
    if isinstance(value, bytes):
        return rng.bytes(1)
    if isinstance(value, float):
        return float(np.float32(rng.normal()))
    if isinstance(value, int):
        return int(rng.integers(0, 100))
    assert isinstance(value, str), field
    return f'grüße {rng.integers(1000)}'


def assert_same(ours, theirs) -> None:
    """Compare a message of ROS with one of another library, value by value."""
    if hasattr(ours, 'get_fields_and_field_types'):
        for name in ours.get_fields_and_field_types():
            assert_same(getattr(ours, name), getattr(theirs, name))
    elif isinstance(ours, (array.array, np.ndarray)):
        theirs = np.frombuffer(theirs, np.uint8) if isinstance(theirs, bytes) else theirs
        assert np.array_equal(np.asarray(ours), np.asarray(theirs))
    elif isinstance(ours, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other)
    elif isinstance(ours, bytes):
        # A `byte` is signed for that library.
        assert ours[0] == theirs % 256
    else:
        assert ours == theirs


def image(rng: np.random.Generator, width: int = 320, height: int = 240) -> Image:
    """Return an image of random pixels."""
    message = filled(Image, rng)
    message.width, message.height, message.step = width, height, 3 * width
    message.encoding = 'bgr8'
    message.data = array.array('B', rng.bytes(message.step * height))
    return message


def end(process, number: signal.Signals = signal.SIGINT) -> tuple[str, str]:
    """Send a signal to a process; return its output and errors after it exited with code 0."""
    process.send_signal(number)
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert 'Traceback' not in errors
    return output, errors


def bag_size(folder: Path) -> int:
    """Return the size of the bag `folder`/bag on the disk, bytes."""
    return (folder / 'bag' / 'bag_0.mcap').stat().st_size


def write_bag(path: Path, messages, topics) -> Path:
    """Write a bag of rows (topic, seconds, message); topics: name to (type name, profile)."""
    with BagWriter(path) as bag:
        for name, (type_name, profile) in topics.items():
            bag.add_topic(name, type_name, [profile])
        for topic, seconds, message in messages:
            bag.write(topic, serialize_message(message), round((100 + seconds) * SECOND))
    return path
