# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage replay` with subscribers over DDS."""

from __future__ import annotations

import re
import signal
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from bags import (
    BEST_EFFORT,
    LATCHED,
    RELIABLE,
    SAGE,
    SECOND,
    end,
    filled,
    image,
    write_bag,
)
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as RosbagsWriter
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosgraph_msgs.msg import Clock
from sage_msgs.msg import LCTArray, ModelInfo
from sensor_msgs.msg import Image
from std_msgs.msg import Header, Int64, String

from sage_perception.bags.definitions import Definition, UnreadableType, installed_definition
from sage_perception.bags.reader import open_bag
from sage_perception.bags.writer import BagWriter
from sage_perception.cli.replay import main


def recorded_by_rosbags(path: Path, plugin: StoragePlugin, version: int, sent: dict) -> None:
    """Write a bag of ROS messages with the `rosbags` library."""
    store = get_typestore(Stores.EMPTY)
    qos = {
        '/lcts': (QosReliability.RELIABLE, QosDurability.VOLATILE),
        '/image': (QosReliability.BEST_EFFORT, QosDurability.VOLATILE),
        '/info': (QosReliability.RELIABLE, QosDurability.TRANSIENT_LOCAL),
    }
    forever = QosTime(9223372036, 854775807)
    with RosbagsWriter(path, version=version, storage_plugin=plugin) as bag:
        connections = {}
        for topic, messages in sent.items():
            name = f'{type(messages[0]).__module__.split(".")[0]}/msg/{type(messages[0]).__name__}'
            types = get_types_from_msg(installed_definition(name).text, name)
            store.register({k: v for k, v in types.items() if k not in store.fielddefs})
            profile = Qos(
                QosHistory.UNKNOWN,
                0,
                *qos[topic],
                forever,
                forever,
                QosLiveliness.AUTOMATIC,
                forever,
                False,
            )
            connections[topic] = bag.add_connection(
                topic, name, typestore=store, offered_qos_profiles=[profile]
            )
        for i in range(max(map(len, sent.values()))):
            for topic, messages in sent.items():
                if i < len(messages):
                    data = serialize_message(messages[i])
                    bag.write(connections[topic], (100 * SECOND) + i * SECOND // 20, data)


@pytest.mark.parametrize(
    ('plugin', 'version'), [(StoragePlugin.SQLITE3, 9), (StoragePlugin.MCAP, 8)]
)
def test_replays_bag_written_with_rosbags(plugin, version, ros, start, tmp_path):
    rng = np.random.default_rng(4)
    sent = {
        '/lcts': [filled(LCTArray, rng) for _ in range(8)],
        '/image': [image(rng) for _ in range(8)],
        '/info': [filled(ModelInfo, rng)],
    }
    recorded_by_rosbags(tmp_path / 'bag', plugin, version, sent)
    received = {
        '/lcts': ros.collect(LCTArray, '/robot/lcts', RELIABLE),
        '/image': ros.collect(Image, '/image', BEST_EFFORT),
        '/info': ros.collect(ModelInfo, '/info', LATCHED),
    }
    arguments = ['--remap', 'lcts:=/robot/lcts', '--wait-for-subscribers']
    player = start(SAGE, 'replay', tmp_path / 'bag', *arguments)
    offers: dict[str, QoSProfile] = {}

    def all_received() -> bool:
        for name in ('/robot/lcts', '/image', '/info'):
            for info in ros.node.get_publishers_info_by_topic(name):
                offers[name] = info.qos_profile
        return all(len(received[name]) == len(sent[name]) for name in sent)

    ros.wait_for(all_received, 'all messages')
    output, errors = player.communicate(timeout=20)
    assert player.returncode == 0
    assert '17 messages published' in output
    assert 'skipped' not in errors
    assert 'warning' not in errors
    assert received == sent
    assert offers['/robot/lcts'].reliability == ReliabilityPolicy.RELIABLE
    assert offers['/image'].reliability == ReliabilityPolicy.BEST_EFFORT
    assert offers['/info'].durability == DurabilityPolicy.TRANSIENT_LOCAL


@pytest.fixture
def counted(tmp_path) -> Path:
    """A bag of 10 s: a count every 0.1 s on two topics, a latched word every 4 s."""
    counts = [('/count', i / 10, Int64(data=i)) for i in range(101)]
    others = [('/noise', i / 10, Int64(data=i)) for i in range(101)]
    words = [('/word', 4.0 * i, String(data=f'word {i}')) for i in range(3)]
    return write_bag(
        tmp_path / 'counted',
        sorted(counts + others + words, key=lambda row: row[1]),
        {
            '/count': ('std_msgs/msg/Int64', RELIABLE),
            '/noise': ('std_msgs/msg/Int64', RELIABLE),
            '/word': ('std_msgs/msg/String', LATCHED),
        },
    )


def test_replays_part_at_other_rate_under_other_name(ros, counted, capfd):
    counts = ros.collect(Int64, '/tally')
    noises = ros.collect(Int64, '/noise')
    words = ros.collect(String, '/word', LATCHED)
    clocks = ros.collect(Clock, '/clock')
    begin = time.monotonic()
    arguments = ['--start-offset', '5', '--duration', '2', '--rate', '4', '--clock', '100']
    arguments += ['--exclude', 'noi', '--remap', '/count:=/tally', '--wait-for-subscribers']
    assert main([str(counted), *arguments]) == 0
    assert time.monotonic() - begin >= 2 / 4
    assert [message.data for message in counts] == list(range(50, 71))
    assert noises == []
    # The latched messages from before the part are published first.
    assert [message.data for message in words] == ['word 0', 'word 1']
    times = [clock.clock.sec + clock.clock.nanosec * 1e-9 for clock in clocks]
    assert times[0] == 105
    assert times == sorted(times)
    # 100 Hz at four times the speed.
    assert np.allclose(np.diff(np.unique(times)), 4 / 100)
    assert 106.8 < times[-1] <= 107
    assert '23 messages published' in capfd.readouterr().out


def test_late_subscriber_receives_latched_messages(ros, counted, start):
    slowly = ('--topics', '/word', '--start-offset', '9', '--rate', '0.02')
    player = start(SAGE, 'replay', counted, *slowly)
    ros.wait_for(lambda: ros.node.count_publishers('/word') == 1, 'the publisher')
    time.sleep(1.5)
    words = ros.collect(String, '/word', LATCHED)
    ros.wait_for(lambda: len(words) == 3, 'the latched messages')
    assert [word.data for word in words] == ['word 0', 'word 1', 'word 2']
    end(player, signal.SIGTERM)


def test_loop_starts_the_clock_again(ros, counted, start):
    counts = ros.collect(Int64, '/count')
    clocks = ros.collect(Clock, '/clock', BEST_EFFORT)
    arguments = ['--topics', '/count', '/word', '--rate', '20', '--loop', '--clock']
    player = start(SAGE, 'replay', counted, *arguments, '--wait-for-subscribers')
    ros.wait_for(lambda: len(counts) > 220, 'the end of the second round')
    end(player)
    numbers = [message.data for message in counts]
    assert numbers == [i % 101 for i in range(len(numbers))]
    seconds = [clock.clock.sec + clock.clock.nanosec * 1e-9 for clock in clocks]
    rounds = 1 + sum(after < before for before, after in pairwise(seconds))
    assert rounds == -(-len(numbers) // 101)
    assert all(100 <= second <= 110 for second in seconds)


def test_topics_with_missing_or_changed_types_are_skipped(ros, tmp_path, capfd):
    hello = String(data='hello')
    recorded = [
        ('/lost', 'lost_msgs/msg/Thing', 'string name\n', hello),
        ('/changed', 'std_msgs/msg/Header', 'string frame_id\n', hello),
        ('/renamed', 'std_msgs/msg/String', 'string<=100 text\n', hello),
        ('/untold', 'std_msgs/msg/Int64', '', Int64(data=3)),
        ('/untold_and_changed', 'sensor_msgs/msg/Image', '', hello),
    ]
    with BagWriter(tmp_path / 'bag') as bag:
        for topic, name, text, message in recorded:
            definition = Definition(name, 'ros2msg' if text else '', text)
            bag.add_topic(topic, name, [RELIABLE], definition)
            bag.write(topic, serialize_message(message), 100 * SECOND)
    played = {
        '/renamed': ros.collect(String, '/renamed'),
        '/untold': ros.collect(Int64, '/untold'),
    }
    misread = [ros.collect(Header, '/changed'), ros.collect(Image, '/untold_and_changed')]
    assert main([str(tmp_path / 'bag'), '--wait-for-subscribers']) == 0
    lines = [line for line in capfd.readouterr().err.splitlines() if 'replay' in line]
    fix = 'build the version of std_msgs used for the recording, or record again'
    assert lines[0] == (
        'sage replay: /lost is skipped: lost_msgs/msg/Thing is not installed: '
        'build the package lost_msgs and source it'
    )
    assert lines[1] == (
        'sage replay: /changed is skipped: std_msgs/msg/Header was recorded with other fields: '
        f'std_msgs/msg/Header: stamp: {fix}'
    )
    assert lines[2] == (
        'sage replay: warning: /renamed: std_msgs/msg/String was recorded with other fields: '
        'std_msgs/msg/String: text, data; only names or bounds differ'
    )
    assert lines[3].startswith(
        'sage replay: /untold_and_changed is skipped: its messages do not fit the installed type '
    )
    assert lines[3].endswith(fix.replace('std_msgs', 'sensor_msgs'))
    assert len(lines) == 4
    assert played == {'/renamed': [hello], '/untold': [Int64(data=3)]}
    assert misread == [[], []]
    with open_bag(tmp_path / 'bag') as bag:
        for message in bag:
            if message.topic in played:
                assert [bag.deserialize(message.topic, message.data)] == played[message.topic]
            else:
                with pytest.raises(UnreadableType, match='build'):
                    bag.deserialize(message.topic, message.data)


@pytest.mark.parametrize(
    ('arguments', 'line'),
    [
        (['{bag}x'], 'bag .*x does not exist'),
        (['{text}'], 'text.yaml is not a bag: pass a bag directory'),
        (['{junk}'], 'junk.db3 cannot be read as a bag'),
        (['{empty}'], 'empty has no messages'),
        (['{bag}', '--rate', 'fast'], "argument -r/--rate: 'fast' is not a number"),
        (['{bag}', '--rate', '-1'], 'argument -r/--rate: -1 is not a positive number'),
        (['{bag}', '--topics', '/cuont'], 'has no topic /cuont: did you mean /count?'),
        (['{bag}', '--remap', 'a:=b'], 'has no topic /a: it has /count'),
        (['{bag}', '--remap', 'a'], "argument --remap: 'a' is not OLD:=NEW"),
        (['{bag}', '--remap', 'a:=b-c'], "argument --remap: 'b-c' is not a valid topic name: "),
        (['{bag}', '--start-offset', '11'], '--start-offset 11 is past the end .* 10.0 s long'),
        (['{bag}', '--exclude', '.'], 'the options select no topic of'),
    ],
)
def test_invalid_usage_is_reported_in_one_line(arguments, line, counted, tmp_path, capsys):
    (tmp_path / 'junk.db3').write_text('junk')
    (tmp_path / 'text.yaml').write_text('text')
    write_bag(tmp_path / 'empty', [], {'/count': ('std_msgs/msg/Int64', RELIABLE)})
    places = {
        'bag': counted,
        'empty': tmp_path / 'empty',
        'text': tmp_path / 'text.yaml',
        'junk': tmp_path / 'junk.db3',
    }
    try:
        code = main([argument.format(**places) for argument in arguments])
    except SystemExit as exit_request:
        code = exit_request.code
    assert code == 2
    errors = capsys.readouterr().err
    assert len(errors.splitlines()) == 1
    assert re.match(f'sage replay: .*{line}', errors)
