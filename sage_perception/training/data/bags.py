# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Read camera images and crops from rosbag2 bags without ROS.

Training runs on machines without ROS, so this module uses only the table of old topic names of
`sage_perception.bags`; the rest of that package requires rclpy. A bag usually contains the
definitions of its messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.typesys import Stores, get_typestore

from sage_perception.bags.legacy import current_name

BAG_SUFFIXES = {'.mcap', '.db3'}
IMAGE_TYPES = {'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'}
CROPS_TYPE = 'sage_msgs/msg/CropArray'
DEPTH_ENCODINGS = ('16UC', '32FC', '64FC', 'mono16')
"""Prefixes of the encodings of depth images, which are left out."""


def find_bags(root: Path) -> list[Path]:
    """Return the bags under `root`, sorted: folders that `ros2 bag` wrote, and single files."""
    folders = {
        path.parent
        for path in root.rglob('metadata.yaml')
        if 'rosbag2_bagfile_information' in path.read_text(errors='replace')
    }
    files = {path for path in root.rglob('*') if path.suffix in BAG_SUFFIXES and path.is_file()}
    return sorted(folders | {path for path in files if path.parent not in folders})


def is_bag(path: Path) -> bool:
    """Return whether a path that `find_bags` or the user chose is a bag."""
    return path.is_dir() or path.suffix in BAG_SUFFIXES


@contextmanager
def open_bag(path: Path) -> Iterator[AnyReader]:
    """Open a bag for reading. Raises `ValueError` if it is broken."""
    try:
        with AnyReader([path], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as reader:
            yield reader
    except AnyReaderError as error:
        raise ValueError(
            f'{path} cannot be read: {error} (sage record --repair repairs a bag that was not '
            'closed)'
        ) from None


def topics_of(path: Path) -> tuple[list[str], list[str]]:
    """Return the topics of a bag with camera images, and those with crops.

    Residuals have the type of crops, but they are not images and are left out.

    Raises `ValueError` if the bag is broken or lacks the definition of the crops.
    """
    with open_bag(path) as reader:
        images = [
            topic
            for topic, info in reader.topics.items()
            if info.msgtype in IMAGE_TYPES and _holds_images(reader, topic)
        ]
        crops = [
            topic
            for topic, info in reader.topics.items()
            if info.msgtype == CROPS_TYPE and not _is_residuals(topic)
        ]
        if crops and CROPS_TYPE not in reader.typestore.fielddefs:
            raise ValueError(
                f'{path} has no definition of {CROPS_TYPE}: record it as MCAP, or exclude it'
            )
    return images, crops


def _is_residuals(topic: str) -> bool:
    return current_name(topic, CROPS_TYPE).rpartition('/')[2] == 'residuals'


def images(path: Path, topic: str) -> Iterator[tuple[np.ndarray, float]]:
    """Yield the images of a topic, uint8 BGR `[H, W, 3]`, each with its stamp in seconds.

    The stamp is that of the header, or the time of recording if a driver leaves the header's at 0.
    Raises `ValueError` for an image that cannot be decoded.
    """
    with open_bag(path) as reader:
        for message, time_ns in _messages(reader, topic):
            stamp = message.header.stamp
            stamp_ns = stamp.sec * 10**9 + stamp.nanosec
            yield _image(message, 'bgr8', path), (stamp_ns or time_ns) * 1e-9


def crops(path: Path, topic: str) -> Iterator[np.ndarray]:
    """Yield the crops of a topic, uint8 RGB `[S, S, 3]`.

    Raises `ValueError` for a crop that cannot be decoded.
    """
    with open_bag(path) as reader:
        for message, _ in _messages(reader, topic):
            for crop in message.crops:
                yield _image(crop.image, 'rgb8', path)


def _image(message: Any, encoding: str, path: Path) -> np.ndarray:
    # Imported here so that training without bags does not require the package.
    from rosbags.image import ImageError, message_to_cvimage

    try:
        return message_to_cvimage(message, encoding)
    except ImageError as error:
        raise ValueError(f'{path} has an image that cannot be decoded: {error}') from None


def _messages(reader: AnyReader, topic: str) -> Iterator[tuple[Any, int]]:
    wanted = [connection for connection in reader.connections if connection.topic == topic]
    for connection, time_ns, data in reader.messages(wanted):
        yield reader.deserialize(data, connection.msgtype), time_ns


def _holds_images(reader: AnyReader, topic: str) -> bool:
    for message, _ in _messages(reader, topic):
        if hasattr(message, 'encoding'):
            return not message.encoding.startswith(DEPTH_ENCODINGS)
        return 'compressedDepth' not in message.format
    return False
