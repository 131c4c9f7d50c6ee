# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Bag files without a graph: truncated and damaged bags, definitions, QoS profiles."""

from __future__ import annotations

import os
import re
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from bags import BEST_EFFORT, LATCHED, RELIABLE, SECOND, filled, image
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from sage_msgs.msg import LCTArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sage_perception.bags.definitions import installed_definition
from sage_perception.bags.files import BagError
from sage_perception.bags.profiles import offer_for, request_for
from sage_perception.bags.reader import open_bag
from sage_perception.bags.repair import repair
from sage_perception.bags.writer import BagWriter


@pytest.mark.parametrize('compression', ['none', 'lz4', 'zstd'])
def test_repair_keeps_all_flushed_messages_of_truncated_bag(compression, tmp_path):
    rng = np.random.default_rng(2)
    messages = [filled(DiagnosticArray, rng) for _ in range(30)]
    flushed = [0]
    with BagWriter(tmp_path / 'bag', compression) as bag:
        bag.add_topic('/health', 'diagnostic_msgs/msg/DiagnosticArray', [RELIABLE])
        for i, message in enumerate(messages):
            bag.write('/health', serialize_message(message), i)
            if i % 5 == 4:
                bag.flush()
                flushed.append(bag.size)
    whole = bag.file.read_bytes()
    for cut in [
        8,
        20,
        *rng.integers(flushed[1], flushed[-1], 12),
        flushed[-1],
        len(whole) - 5,
    ]:
        broken = tmp_path / f'broken_{cut}.mcap'
        broken.write_bytes(whole[:cut])
        if cut < 30:
            with pytest.raises(BagError, match='it has no intact message'):
                repair(broken)
            continue
        repair(broken)
        with open_bag(broken) as again:
            read = [again.deserialize(m.topic, m.data) for m in again]
        least = 5 * max(i for i, size in enumerate(flushed) if size <= cut or i == 0)
        assert least <= len(read) < least + 5  # a chunk that is cut has whole messages, too
        assert read == messages[: len(read)]
    # A chunk with a part that was not written, as after a power failure.
    damaged = tmp_path / 'damaged.mcap'
    middle = (flushed[2] + flushed[3]) // 2
    damaged.write_bytes(whole[:middle] + bytes(64) + whole[middle + 64 : flushed[-1]])
    repair(damaged)
    with open_bag(damaged) as again:
        read = [again.deserialize(m.topic, m.data) for m in again]
    assert read == messages[:10] + messages[15:]


@pytest.mark.parametrize('compression', ['none', 'lz4', 'zstd'])
def test_damage_in_the_middle_is_a_bag_error(compression, tmp_path):
    rng = np.random.default_rng(3)
    with BagWriter(tmp_path / 'bag', compression) as bag:
        bag.add_topic('/health', 'diagnostic_msgs/msg/DiagnosticArray', [RELIABLE])
        for i in range(30):
            bag.write('/health', serialize_message(filled(DiagnosticArray, rng)), i)
            if i % 5 == 4:
                bag.flush()
    whole, reported = bag.file.read_bytes(), []
    for place in rng.integers(100, len(whole) - 500, 40):
        bag.file.write_bytes(whole[:place] + rng.bytes(64) + whole[place + 64 :])
        try:
            with open_bag(tmp_path / 'bag') as damaged:
                list(damaged)
        except BagError as error:
            reported.append(str(error))
    assert len(reported) > 20  # the others are in parts that are not read, such as an index
    named = rf'{tmp_path}/bag(/bag_0.mcap)? (is damaged|cannot be read as a bag): .'
    assert all(re.match(named, line) for line in reported)


def test_type_hashes_match_the_middleware(ros):
    for i, kind in enumerate((LCTArray, Image, DiagnosticArray, Header)):
        ros.node.create_publisher(kind, f'/topic{i}', RELIABLE)
        (info,) = ros.node.get_publishers_info_by_topic(f'/topic{i}')
        if not hasattr(info, 'topic_type_hash'):
            pytest.skip('this release of ROS has no type hashes')
        assert installed_definition(info.topic_type).type_hash == str(info.topic_type_hash)


def test_definition_of_package_with_idl_files_only(tmp_path, monkeypatch):
    expected = installed_definition('sensor_msgs/msg/Image')
    for package in ('sensor_msgs', 'std_msgs', 'builtin_interfaces'):
        marker = tmp_path / 'share/ament_index/resource_index/packages' / package
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
        source = Path(os.environ['AMENT_PREFIX_PATH'].split(os.pathsep)[0]) / 'share' / package
        target = tmp_path / 'share' / package / 'msg'
        shutil.copytree(source / 'msg', target, ignore=shutil.ignore_patterns('*.msg', '*.json'))
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    definition = installed_definition.__wrapped__('sensor_msgs/msg/Image')
    assert definition.encoding == 'ros2idl'
    assert definition.type_hash == expected.type_hash
    assert definition.wire == expected.wire
    with BagWriter(tmp_path / 'bag') as bag:
        bag.add_topic('/image', 'sensor_msgs/msg/Image', [RELIABLE], definition)
        message = image(np.random.default_rng(5), 4, 3)
        bag.write('/image', serialize_message(message), SECOND)
    with open_bag(tmp_path / 'bag') as bag:
        assert bag.topics['/image'].definition == definition
        assert [bag.deserialize(m.topic, m.data) for m in bag] == [message]


def test_profiles_are_compatible_with_all_publishers():
    assert request_for([RELIABLE, LATCHED]).reliability == ReliabilityPolicy.RELIABLE
    assert request_for([RELIABLE, LATCHED]).durability == DurabilityPolicy.VOLATILE
    assert request_for([RELIABLE, BEST_EFFORT]).reliability == ReliabilityPolicy.BEST_EFFORT
    assert request_for([LATCHED, LATCHED]).durability == DurabilityPolicy.TRANSIENT_LOCAL
    mixed = offer_for([BEST_EFFORT, LATCHED])
    assert mixed.reliability == ReliabilityPolicy.RELIABLE
    assert mixed.durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert offer_for([BEST_EFFORT]).reliability == ReliabilityPolicy.BEST_EFFORT
    everything = QoSProfile(history=HistoryPolicy.KEEP_ALL)
    assert offer_for([everything]).history == HistoryPolicy.KEEP_ALL
    assert offer_for([]).reliability == ReliabilityPolicy.RELIABLE


def test_reads_empty_bag(tmp_path):
    with BagWriter(tmp_path / 'bag') as bag:
        bag.add_topic('/count', 'std_msgs/msg/Int64', [RELIABLE])
    with open_bag(tmp_path / 'bag') as bag:
        assert list(bag) == []
        assert bag.topics['/count'].count == bag.count == 0
        assert bag.duration_s == 0


def test_messages_are_read_in_order_of_log_times(tmp_path):
    times = np.random.default_rng(6).permutation(200)
    with BagWriter(tmp_path / 'bag') as bag:
        bag.add_topic('/count', 'std_msgs/msg/Int64', [RELIABLE])
        for number in times:
            bag.write('/count', b'\0\1\0\0' + struct.pack('<q', number), int(number))
            bag.flush()
    with open_bag(tmp_path / 'bag') as bag:
        assert [bag.deserialize(m.topic, m.data).data for m in bag] == list(range(200))
        part = [m.log_time_ns for m in bag.messages(['/count'], 50, 60)]
        assert part == list(range(50, 60))
