# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Images out of rosbag2 bags, without ROS: camera images, and crops that attention sent.

Nothing of `sage_perception.bags` is used, which needs rclpy and the messages installed: a bag
mostly tells its own definitions, and training runs where there is no ROS.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.typesys import Stores, get_typestore

FILES = {'.mcap', '.db3'}
IMAGES = {'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'}
CROPS = 'sage_msgs/msg/CropArray'
DEPTH = ('16UC', '32FC', '64FC', 'mono16')  # encodings, or starts of them, that are no images


def find_bags(root: Path) -> list[Path]:
    """Return the bags under `root`, sorted: folders as `ros2 bag` makes them, and single files."""
    folders = {
        path.parent
        for path in root.rglob('metadata.yaml')
        if 'rosbag2_bagfile_information' in path.read_text(errors='replace')
    }
    files = {path for path in root.rglob('*') if path.suffix in FILES and path.is_file()}
    return sorted(folders | {path for path in files if path.parent not in folders})


def is_bag(path: Path) -> bool:
    """Tell whether a path that was found is a bag."""
    return path.is_dir() or path.suffix in FILES


@contextmanager
def opened(path: Path) -> Iterator[AnyReader]:
    """Open a bag; `ValueError` if it is broken."""
    try:
        with AnyReader([path], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as reader:
            yield reader
    except AnyReaderError as error:
        raise ValueError(
            f'{path} cannot be read: {error} (sage record --repair mends one that was not closed)'
        ) from None


def topics_of(path: Path) -> tuple[list[str], list[str]]:
    """Return the topics of a bag with camera images, and those with crops."""
    with opened(path) as reader:
        images = [
            topic
            for topic, info in reader.topics.items()
            if info.msgtype in IMAGES and _holds_images(reader, topic)
        ]
        crops = [topic for topic, info in reader.topics.items() if info.msgtype == CROPS]
        if crops and CROPS not in reader.typestore.fielddefs:
            raise ValueError(
                f'{path} does not say what {CROPS} is: record it as MCAP, or exclude it'
            )
    return images, crops


def images(path: Path, topic: str) -> Iterator[tuple[np.ndarray, float]]:
    """Yield a topic's images, uint8 BGR `[H, W, 3]`, each with its stamp in seconds.

    The stamp is the header's; where a driver leaves it 0, when the message was recorded.
    """
    with opened(path) as reader:
        for message, time_ns in _messages(reader, topic):
            stamp = message.header.stamp
            stamp_ns = stamp.sec * 10**9 + stamp.nanosec
            yield _image(message, 'bgr8', path), (stamp_ns or time_ns) * 1e-9


def crops(path: Path, topic: str) -> Iterator[np.ndarray]:
    """Yield the crops of a topic, uint8 RGB `[S, S, 3]`."""
    with opened(path) as reader:
        for message, _ in _messages(reader, topic):
            for crop in message.crops:
                yield _image(crop.image, 'rgb8', path)


def _image(message: object, encoding: str, path: Path) -> np.ndarray:
    # Here and not above, so that only who trains on bags needs it.
    from rosbags.image import ImageError, message_to_cvimage

    try:
        return message_to_cvimage(message, encoding)
    except ImageError as error:
        raise ValueError(f'{path} holds an image that cannot be read: {error}') from None


def _messages(reader: AnyReader, topic: str) -> Iterator[tuple[object, int]]:
    wanted = [connection for connection in reader.connections if connection.topic == topic]
    for connection, time_ns, data in reader.messages(wanted):
        yield reader.deserialize(data, connection.msgtype), time_ns


def _holds_images(reader: AnyReader, topic: str) -> bool:
    for message, _ in _messages(reader, topic):
        if hasattr(message, 'encoding'):
            return not message.encoding.startswith(DEPTH)
        return 'compressedDepth' not in message.format
    return False
