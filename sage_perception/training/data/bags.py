# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Read camera images and crops from rosbag2 bags, also where ROS is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sage_perception.bags.definitions import UnreadableType
from sage_perception.bags.files import METADATA, BagError, is_storage_file
from sage_perception.bags.legacy import current_name
from sage_perception.bags.reader import Bag, open_bag
from sage_perception.vision.compressed_images import DEPTH_TRANSPORT
from sage_perception.vision.image_messages import IMAGE_TYPES, is_compressed, to_bgr
from sage_perception.vision.intensity_range import IntensityRange

CROPS_TYPE = 'sage_msgs/msg/CropArray'
DEPTH_ENCODINGS = ('16UC', '32FC', '64FC')
"""Prefixes of the encodings of depth images, which are left out."""
MAX_HEAD = 4096
"""Number of bytes of a metadata file that are examined."""


def find_bags(root: Path) -> list[Path]:
    """Return the bags under `root`, sorted: folders that `ros2 bag` wrote, and single files."""
    folders = {path.parent for path in root.rglob(METADATA) if _is_metadata(path)}
    files = {path for path in root.rglob('*') if is_storage_file(path)}
    return sorted(folders | {path for path in files if path.parent not in folders})


def _is_metadata(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open('rb') as file:
        return b'rosbag2_bagfile_information' in file.read(MAX_HEAD)


def is_bag(path: Path) -> bool:
    """Return whether a path that `find_bags` or the user chose is a bag."""
    return path.is_dir() or is_storage_file(path)


def topics_of(path: Path) -> tuple[list[str], list[str]]:
    """Return the topics of a bag with camera images, and those with crops.

    Residuals have the type of crops, but they are not images and are left out.

    Raises `ValueError` if the bag is broken or lacks the definition of the crops.
    """
    with open_bag(path) as bag:
        images = [
            topic.name
            for topic in bag.topics.values()
            if topic.type_name in IMAGE_TYPES and _holds_images(bag, topic.name)
        ]
        crops = [
            topic
            for topic in bag.topics.values()
            if topic.type_name == CROPS_TYPE and not _is_residuals(topic.name)
        ]
        for topic in crops:
            if topic.definition is None:
                raise ValueError(
                    f'{path} has no definition of {CROPS_TYPE}: record it as MCAP, or exclude it'
                )
    return images, [topic.name for topic in crops]


def _is_residuals(topic: str) -> bool:
    return current_name(topic, CROPS_TYPE).rpartition('/')[2] == 'residuals'


def images(path: Path, topic: str) -> Iterator[tuple[np.ndarray, float]]:
    """Yield the images of a topic, uint8 BGR `[H, W, 3]`, each with its stamp in seconds.

    The stamp is that of the header, or the time of recording if a driver leaves the header's at 0.
    Raises `ValueError` for an image that cannot be decoded.
    """
    intensity = IntensityRange()
    with open_bag(path) as bag:
        for message, time_ns in _messages(bag, topic):
            stamp = message.header.stamp
            stamp_ns = stamp.sec * 10**9 + stamp.nanosec
            yield _image(message, path, intensity), (stamp_ns or time_ns) * 1e-9


def crops(path: Path, topic: str) -> Iterator[np.ndarray]:
    """Yield the crops of a topic, uint8 RGB `[S, S, 3]`.

    Raises `ValueError` for a crop that cannot be decoded.
    """
    with open_bag(path) as bag:
        for message, _ in _messages(bag, topic):
            for crop in message.crops:
                yield cv2.cvtColor(_image(crop.image, path), cv2.COLOR_BGR2RGB)


def _image(message: Any, path: Path, intensity: IntensityRange | None = None) -> np.ndarray:
    """Return an image message, uint8 BGR `[H, W, 3]`; raises `ValueError` with the path."""
    try:
        return to_bgr(message, intensity)
    except ValueError as error:
        raise ValueError(f'{path} has an image that cannot be decoded: {error}') from None


def _messages(bag: Bag, topic: str) -> Iterator[tuple[Any, int]]:
    for message in bag.messages([topic]):
        try:
            yield bag.decode(topic, message.data), message.log_time_ns
        except UnreadableType as error:
            raise BagError(f'{bag.path}, {topic}: {error}') from None


def _holds_images(bag: Bag, topic: str) -> bool:
    for message, _ in _messages(bag, topic):
        if is_compressed(message):
            return DEPTH_TRANSPORT not in message.format
        return not message.encoding.startswith(DEPTH_ENCODINGS)
    return False
