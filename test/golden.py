# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The golden bags of `tools/make_golden_bags.py`, for tests."""

import importlib
import sys
from pathlib import Path

from rclpy.serialization import serialize_message

from sage_perception.bags.profiles import from_recorded
from sage_perception.bags.reader import open_bag
from sage_perception.bags.writer import BagWriter
from sage_perception.ros.images import image_to_msg
from sage_perception.vision.image_messages import to_bgr

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / 'tools'))
make_golden_bags = importlib.import_module('make_golden_bags')


def copy_bag(source: Path, target: Path, *without: str, seconds: float = 1e6) -> Path:
    """Copy the first seconds of a bag, without the topics that contain some words."""
    with open_bag(source) as bag, BagWriter(target) as copied:
        kept = [t for t in bag.topics.values() if not any(word in t.name for word in without)]
        for topic in kept:
            profiles = list(map(from_recorded, topic.profiles))
            copied.add_topic(topic.name, topic.type_name, profiles)
        stop_ns = bag.start_ns + round(seconds * 1e9)
        for message in bag.messages([topic.name for topic in kept], stop_ns=stop_ns):
            copied.write(message.topic, message.data, message.log_time_ns)
    return target


def raw_bag(name: str, target: Path, seconds: float) -> Path:
    """Make the first seconds of a golden bag with raw images, as nodes subscribe to them."""
    compressed = target.with_name(f'{target.name}_compressed')
    make_golden_bags.BAGS[name](compressed)
    with open_bag(compressed) as source, BagWriter(target, 'zstd') as copied:
        for topic in source.topics.values():
            raw = topic.name.removesuffix('/compressed')
            profiles = list(map(from_recorded, topic.profiles))
            copied.add_topic(raw, 'sensor_msgs/msg/Image', profiles)
        for message in source.messages(stop_ns=source.start_ns + round(seconds * 1e9)):
            image = source.deserialize(message.topic, message.data)
            data = serialize_message(image_to_msg(to_bgr(image), 'bgr8', image.header))
            raw = message.topic.removesuffix('/compressed')
            copied.write(raw, data, message.log_time_ns)
    return target
