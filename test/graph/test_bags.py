# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage record` and `sage replay` over real DDS, against the independent libraries."""

from __future__ import annotations

import array
import os
import re
import resource
import shutil
import signal
import struct
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from mcap.reader import make_reader
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from rosbags.highlevel import AnyReader
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

from sage_perception.bags import BagError, BagWriter, open_bag, record, replay
from sage_perception.bags.definitions import Definition, UnreadableType, installed_definition
from sage_perception.bags.profiles import offer_for, request_for
from sage_perception.bags.storage import repair

RECORD, REPLAY = 'sage_perception.bags.record', 'sage_perception.bags.replay'
SECOND = 10**9
RELIABLE = QoSProfile(depth=50)
BEST_EFFORT = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def filled(kind: type, rng: np.random.Generator):
    """Return a message of which every field has a random value."""
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
    """Compare a message of ROS with one of the `rosbags` library, value by value."""
    if hasattr(ours, 'get_fields_and_field_types'):
        for name in ours.get_fields_and_field_types():
            assert_same(getattr(ours, name), getattr(theirs, name))
    elif isinstance(ours, (array.array, np.ndarray)):
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
    """Return an image of noise."""
    message = filled(Image, rng)
    message.width, message.height, message.step = width, height, 3 * width
    message.encoding = 'bgr8'
    message.data = array.array('B', rng.bytes(message.step * height))
    return message


def end(process, number: signal.Signals = signal.SIGINT) -> tuple[str, str]:
    """Tell a process to end; return what it said, after it ended well."""
    process.send_signal(number)
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert 'Traceback' not in errors
    return output, errors


def bag_size(folder: Path) -> int:
    """Return how many bytes of the bag `folder`/bag are on the disk."""
    return (folder / 'bag' / 'bag_0.mcap').stat().st_size


def made_bag(path: Path, messages, topics) -> Path:
    """Write a bag of (topic, seconds, message); topics: name to (type name, profile)."""
    with BagWriter(path) as bag:
        for name, (type_name, profile) in topics.items():
            bag.add_topic(name, type_name, [profile])
        for topic, seconds, message in messages:
            bag.write(topic, serialize_message(message), round((100 + seconds) * SECOND))
    return path


def test_what_is_recorded_is_read_by_the_independent_library(peer, start, tmp_path):
    rng = np.random.default_rng(1)
    sent = {'/info': [filled(ModelInfo, rng)]}
    peer.node.create_publisher(ModelInfo, '/info', LATCHED).publish(sent['/info'][0])
    recorder = start(RECORD, '--all', '--exclude', '^/secret', '-o', tmp_path / 'bag')
    kinds = {
        '/cam0/lcts': (LCTArray, RELIABLE, lambda: filled(LCTArray, rng)),
        '/cam0/image_raw': (Image, BEST_EFFORT, lambda: image(rng)),
        '/health': (DiagnosticArray, RELIABLE, lambda: filled(DiagnosticArray, rng)),
        '/secret/lcts': (LCTArray, RELIABLE, lambda: filled(LCTArray, rng)),
    }
    publishers = {
        name: peer.node.create_publisher(kind, name, qos) for name, (kind, qos, _) in kinds.items()
    }
    heard = [publisher for name, publisher in publishers.items() if name != '/secret/lcts']
    peer.wait_for(
        lambda: all(p.get_subscription_count() for p in heard), 'the recorder subscribes'
    )
    # One that offers less comes later: both must be heard.
    late = peer.node.create_publisher(LCTArray, '/cam0/lcts', BEST_EFFORT)
    peer.wait_for(lambda: late.get_subscription_count() == 1, 'the recorder asks for less')
    peer.wait_for(
        lambda: publishers['/cam0/lcts'].get_subscription_count() == 1,
        'the recorder is heard by the first publisher still',
    )
    for i in range(5):
        for name, (_, _, make) in kinds.items():
            message = make()
            sent.setdefault(name, []).append(message)
            (late if name == '/cam0/lcts' and i == 4 else publishers[name]).publish(message)
        time.sleep(0.05)
    del sent['/secret/lcts']
    peer.wait_for(lambda: bag_size(tmp_path) > 10**6, 'it is written')
    time.sleep(0.7)
    output, _ = end(recorder)
    assert re.search(r'^  /cam0/lcts \(sage_msgs/msg/LCTArray\): 5$', output, re.MULTILINE)

    with AnyReader([tmp_path / 'bag']) as reader:
        read: dict[str, list] = {}
        for connection, log_time, data in reader.messages():
            assert abs(log_time - time.time_ns()) < 600 * SECOND
            message = reader.deserialize(data, connection.msgtype)
            read.setdefault(connection.topic, []).append(message)
        offers = {c.topic: c.ext.offered_qos_profiles[0] for c in reader.connections}
    assert '/secret/lcts' not in offers
    for name, messages in sent.items():
        assert len(read[name]) == len(messages), name
        for ours, theirs in zip(messages, read[name], strict=True):
            assert_same(ours, theirs)
    assert offers['/info'].durability.name == 'TRANSIENT_LOCAL'
    assert offers['/cam0/image_raw'].reliability.name == 'BEST_EFFORT'

    with (tmp_path / 'bag' / 'bag_0.mcap').open('rb') as stream:
        for schema, channel, message in make_reader(stream, validate_crcs=True).iter_messages():
            assert 0 < message.publish_time <= message.log_time
            assert schema.encoding == 'ros2msg'
            assert channel.message_encoding == 'cdr'
    with open_bag(tmp_path / 'bag') as bag:
        ours = [(m.topic, bag.deserialize(m.topic, m.data)) for m in bag if m.topic in sent]
        assert len(ours) == sum(map(len, sent.values())) <= bag.count
        for name, messages in sent.items():
            assert [message for topic, message in ours if topic == name] == messages
    assert_humble_reads(tmp_path / 'bag' / 'metadata.yaml')


def assert_humble_reads(path: Path) -> None:
    """Check what the reader of Humble (metadata version 5) takes from a file, as it takes it."""
    metadata = yaml.safe_load(path.read_text())['rosbag2_bagfile_information']
    assert metadata['version'] == 8
    assert metadata['storage_identifier'] == 'mcap'
    assert metadata['compression_format'] == metadata['compression_mode'] == ''
    for part in (metadata, *metadata['files']):
        assert part['duration']['nanoseconds'] > 0
        assert part['starting_time']['nanoseconds_since_epoch'] > 0
        assert part['message_count'] > 0
    assert [file['path'] for file in metadata['files']] == metadata['relative_file_paths']
    for topic in metadata['topics_with_message_count']:
        assert isinstance(topic['message_count'], int)
        described = topic['topic_metadata']
        assert described['serialization_format'] == 'cdr'
        assert re.fullmatch(r'\w+/msg/\w+', described['type'])
        # A string in the YAML, that is YAML again, with numbers.
        for profile in yaml.safe_load(described['offered_qos_profiles']):
            for policy in ('history', 'depth', 'reliability', 'durability', 'liveliness'):
                assert isinstance(profile[policy], int)
            for span in ('deadline', 'lifespan', 'liveliness_lease_duration'):
                assert set(profile[span]) == {'sec', 'nsec'}
            assert profile['avoid_ros_namespace_conventions'] is False


def test_a_killed_recorder_leaves_a_bag_that_can_be_repaired(peer, start, tmp_path):
    bag = tmp_path / 'bag'
    recorder = start(RECORD, '/count', '-o', bag)
    publisher = peer.node.create_publisher(Int64, '/count', RELIABLE)
    peer.wait_for(lambda: publisher.get_subscription_count() == 1, 'the recorder subscribes')
    empty, sent = bag_size(tmp_path), []

    def is_written() -> bool:
        publisher.publish(Int64(data=len(sent)))
        sent.append(len(sent))
        return bag_size(tmp_path) > empty

    peer.wait_for(is_written, 'something is on the disk')
    recorder.kill()
    recorder.wait()
    with pytest.raises(BagError, match=rf'was not closed.*sage record --repair {bag}'):
        open_bag(bag)
    assert record.main(['--repair', str(bag)]) == 0
    with AnyReader([bag]) as reader:
        read = [reader.deserialize(m[2], m[0].msgtype).data for m in reader.messages()]
    assert read
    assert read == sent[: len(read)]
    with pytest.raises(BagError, match='is whole: nothing to repair'):
        repair(bag)


@pytest.mark.parametrize('compression', ['none', 'lz4', 'zstd'])
def test_a_bag_that_breaks_off_anywhere_keeps_what_comes_before(compression, tmp_path):
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
    for cut in [8, 20, *rng.integers(flushed[1], flushed[-1], 12), flushed[-1], len(whole) - 5]:
        broken = tmp_path / f'broken_{cut}.mcap'
        broken.write_bytes(whole[:cut])
        repair(broken)
        with open_bag(broken) as again:
            read = [again.deserialize(m.topic, m.data) for m in again]
        least = 5 * max(i for i, size in enumerate(flushed) if size <= cut or i == 0)
        assert read == messages[:least]
    # A chunk of which a part was never written, as after a loss of power.
    damaged = tmp_path / 'damaged.mcap'
    middle = (flushed[2] + flushed[3]) // 2
    damaged.write_bytes(whole[:middle] + bytes(64) + whole[middle + 64 : flushed[-1]])
    repair(damaged)
    with open_bag(damaged) as again:
        assert [again.deserialize(m.topic, m.data) for m in again] == messages[:10]


@pytest.mark.parametrize('compression', ['none', 'lz4', 'zstd'])
def test_a_bag_that_is_damaged_in_the_middle_is_named(compression, tmp_path):
    rng = np.random.default_rng(3)
    with BagWriter(tmp_path / 'bag', compression) as bag:
        bag.add_topic('/health', 'diagnostic_msgs/msg/DiagnosticArray', [RELIABLE])
        for i in range(30):
            bag.write('/health', serialize_message(filled(DiagnosticArray, rng)), i)
            if i % 5 == 4:
                bag.flush()
    whole, told = bag.file.read_bytes(), []
    for place in rng.integers(100, len(whole) - 500, 40):
        bag.file.write_bytes(whole[:place] + rng.bytes(64) + whole[place + 64 :])
        try:
            with open_bag(tmp_path / 'bag') as damaged:
                list(damaged)
        except BagError as error:
            told.append(str(error))
    assert len(told) > 20  # the others hit what is not read, such as an index
    named = rf'{tmp_path}/bag (is damaged|cannot be read as a bag): .'
    assert all(re.match(named, line) for line in told)


def test_a_full_disk_ends_the_recorder_with_a_line(peer, start, tmp_path):
    recorder = start(RECORD, '/image', '-o', tmp_path / 'bag')
    publisher = peer.node.create_publisher(Image, '/image', RELIABLE)
    message = image(np.random.default_rng(3))
    peer.wait_for(lambda: publisher.get_subscription_count() == 1, 'the recorder subscribes')
    resource.prlimit(recorder.pid, resource.RLIMIT_FSIZE, (300_000, 300_000))

    def has_ended() -> bool:
        publisher.publish(message)
        return recorder.poll() is not None

    peer.wait_for(has_ended, 'the recorder gives up')
    _, errors = recorder.communicate()
    assert recorder.returncode == 1
    assert re.search(r'^sage record: cannot write to .*bag: File too large; when', errors)
    assert len(errors.splitlines()) == 1


def test_a_disk_that_halts_costs_messages_and_not_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(record, 'MAX_WAITING_BYTES', 1000)
    bag = BagWriter(tmp_path / 'bag')
    disk = record.Disk(bag)
    disk.call(bag.add_topic, '/count', 'std_msgs/msg/Int64')
    kept = [disk.write('/count', bytes(100), i, i) for i in range(20)]
    assert kept == [True] * 11 + [False] * 9
    disk.start()
    disk.finish()
    with open_bag(tmp_path / 'bag') as written:
        assert [message.log_time_ns for message in written] == list(range(11))


def recorded_by_rosbags(path: Path, plugin: StoragePlugin, version: int, sent: dict) -> None:
    """Write a bag with the independent library, from messages of ROS."""
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
def test_a_bag_of_the_independent_library_is_replayed(plugin, version, peer, start, tmp_path):
    rng = np.random.default_rng(4)
    sent = {
        '/lcts': [filled(LCTArray, rng) for _ in range(8)],
        '/image': [image(rng) for _ in range(8)],
        '/info': [filled(ModelInfo, rng)],
    }
    recorded_by_rosbags(tmp_path / 'bag', plugin, version, sent)
    received = {
        '/lcts': peer.collect(LCTArray, '/robot/lcts', RELIABLE),
        '/image': peer.collect(Image, '/image', BEST_EFFORT),
        '/info': peer.collect(ModelInfo, '/info', LATCHED),
    }
    arguments = ['--remap', 'lcts:=/robot/lcts', '--wait-for-subscribers']
    player = start(REPLAY, tmp_path / 'bag', *arguments)
    offers: dict[str, QoSProfile] = {}

    def all_came() -> bool:
        for name in ('/robot/lcts', '/image', '/info'):
            for info in peer.node.get_publishers_info_by_topic(name):
                offers[name] = info.qos_profile
        return all(len(received[name]) == len(sent[name]) for name in sent)

    peer.wait_for(all_came, 'all messages come')
    output, errors = player.communicate(timeout=20)
    assert player.returncode == 0
    assert '17 messages played' in output
    assert 'left out' not in errors
    assert 'warning' not in errors
    assert received == sent
    assert offers['/robot/lcts'].reliability == ReliabilityPolicy.RELIABLE
    assert offers['/image'].reliability == ReliabilityPolicy.BEST_EFFORT
    assert offers['/info'].durability == DurabilityPolicy.TRANSIENT_LOCAL


@pytest.fixture
def counted(tmp_path) -> Path:
    """Give a bag of 10 s: a count each 0.1 s, a copy of it, a latched word each 4 s."""
    counts = [('/count', i / 10, Int64(data=i)) for i in range(101)]
    others = [('/noise', i / 10, Int64(data=i)) for i in range(101)]
    words = [('/word', 4.0 * i, String(data=f'word {i}')) for i in range(3)]
    return made_bag(
        tmp_path / 'counted',
        sorted(counts + others + words, key=lambda row: row[1]),
        {
            '/count': ('std_msgs/msg/Int64', RELIABLE),
            '/noise': ('std_msgs/msg/Int64', RELIABLE),
            '/word': ('std_msgs/msg/String', LATCHED),
        },
    )


def test_a_part_is_replayed_at_another_rate_under_another_name(peer, counted, capfd):
    counts = peer.collect(Int64, '/tally')
    noises = peer.collect(Int64, '/noise')
    words = peer.collect(String, '/word', LATCHED)
    clocks = peer.collect(Clock, '/clock')
    begun = time.monotonic()
    arguments = ['--start-offset', '5', '--duration', '2', '--rate', '4', '--clock', '100']
    arguments += ['--exclude', 'noi', '--remap', '/count:=/tally', '--wait-for-subscribers']
    assert replay.main([str(counted), *arguments]) == 0
    # Sooner than that would be too fast, however slow the machine.
    assert time.monotonic() - begun >= 2 / 4
    assert [message.data for message in counts] == list(range(50, 71))
    assert noises == []
    # What the latched topic held then comes first, though it was said before the part begins.
    assert [message.data for message in words] == ['word 0', 'word 1']
    times = [clock.clock.sec + clock.clock.nanosec * 1e-9 for clock in clocks]
    assert times[0] == 105
    assert times == sorted(times)
    # A hundred times a second at four times the speed.
    assert np.allclose(np.diff(np.unique(times)), 4 / 100)
    assert 106.8 < times[-1] <= 107
    assert '23 messages played' in capfd.readouterr().out


def test_a_late_subscriber_gets_latched_topics(peer, counted, start):
    slowly = ('--topics', '/word', '--start-offset', '9', '--rate', '0.02')
    player = start(REPLAY, counted, *slowly)
    peer.wait_for(lambda: peer.node.count_publishers('/word') == 1, 'it plays')
    time.sleep(1.5)
    words = peer.collect(String, '/word', LATCHED)
    peer.wait_for(lambda: len(words) == 3, 'the latched messages come')
    assert [word.data for word in words] == ['word 0', 'word 1', 'word 2']
    end(player, signal.SIGTERM)


def test_a_loop_turns_the_clock_back(peer, counted, start):
    counts = peer.collect(Int64, '/count')
    clocks = peer.collect(Clock, '/clock', BEST_EFFORT)
    arguments = ['--topics', '/count', '/word', '--rate', '20', '--loop', '--clock']
    player = start(REPLAY, counted, *arguments, '--wait-for-subscribers')
    peer.wait_for(lambda: len(counts) > 220, 'the second round ends')
    end(player)
    numbers = [message.data for message in counts]
    assert numbers == [i % 101 for i in range(len(numbers))]
    seconds = [clock.clock.sec + clock.clock.nanosec * 1e-9 for clock in clocks]
    rounds = 1 + sum(after < before for before, after in pairwise(seconds))
    assert rounds == -(-len(numbers) // 101)
    assert all(100 <= second <= 110 for second in seconds)


def test_types_that_are_missing_or_changed_are_named(peer, tmp_path, capfd):
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
        '/renamed': peer.collect(String, '/renamed'),
        '/untold': peer.collect(Int64, '/untold'),
    }
    misread = [peer.collect(Header, '/changed'), peer.collect(Image, '/untold_and_changed')]
    assert replay.main([str(tmp_path / 'bag'), '--wait-for-subscribers']) == 0
    lines = [line for line in capfd.readouterr().err.splitlines() if 'replay' in line]
    fix = 'build std_msgs as it was then, or record again'
    assert lines[0] == (
        'sage replay: /lost is left out: lost_msgs/msg/Thing is not installed: '
        'build the package lost_msgs and source it'
    )
    assert lines[1] == (
        'sage replay: /changed is left out: std_msgs/msg/Header was recorded with other fields: '
        f'std_msgs/msg/Header: stamp: {fix}'
    )
    assert lines[2] == (
        'sage replay: warning: /renamed: std_msgs/msg/String was recorded with other fields: '
        'std_msgs/msg/String: text, data; only names or bounds differ'
    )
    assert lines[3].startswith(
        'sage replay: /untold_and_changed is left out: its messages are no sensor_msgs/msg/Image '
    )
    assert lines[3].endswith('build sensor_msgs as it was then, or record again')
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


def test_an_interface_package_that_is_missing_is_named_by_the_recorder(start, peer, tmp_path):
    """A publisher of a type that the recorder does not have: its package is hidden from it."""
    hidden = tmp_path / 'hidden' / 'diagnostic_msgs'
    hidden.mkdir(parents=True)
    (hidden / '__init__.py').write_text('')
    first = peer.node.create_publisher(DiagnosticArray, '/health', RELIABLE)
    second = peer.node.create_publisher(Int64, '/count', LATCHED)
    second.publish(Int64(data=7))
    environment = {**os.environ, 'PYTHONPATH': str(tmp_path / 'hidden')}
    arguments = ['/health', '/count', '/none', '-o', tmp_path / 'bag']
    recorder = start(RECORD, *arguments, env=environment)
    peer.wait_for(lambda: second.get_subscription_count() == 1, 'the recorder subscribes')
    peer.wait_for(lambda: bag_size(tmp_path) > 200, 'it is written')
    output, errors = end(recorder)
    assert errors.splitlines() == [
        'sage record: /health is not recorded: diagnostic_msgs/msg/DiagnosticArray is not '
        'installed: build the package diagnostic_msgs and source it',
        'sage record: /none was never published',
    ]
    assert '/count (std_msgs/msg/Int64): 1' in output
    assert first.get_subscription_count() == 0


@pytest.mark.parametrize(
    ('command', 'arguments', 'line'),
    [
        (record, [], 'nothing to record: name topics, or use --all or --regex'),
        (record, ['-a', '-o', '{bag}'], '.* exists already: name another, or remove it'),
        (record, ['-e', '('], 'argument -e/--regex: .* is not a regular expression'),
        (record, ['-a', '-d', '0'], 'argument -d/--duration: 0 is not positive'),
        (record, ['-a', '--compression', 'rar'], 'argument --compression: invalid choice'),
        (record, ['--repair', '{bag}'], '.* is whole: nothing to repair'),
        (replay, ['{bag}x'], 'there is no bag .*x'),
        (replay, ['{text}'], 'text.yaml is no bag: give the directory of one'),
        (replay, ['{junk}'], 'junk.db3 cannot be read as a bag'),
        (replay, ['{bag}', '--rate', 'fast'], "argument -r/--rate: 'fast' is not a number"),
        (replay, ['{bag}', '--rate', '-1'], 'argument -r/--rate: -1 is not a number of 0 or more'),
        (replay, ['{bag}', '--topics', '/cuont'], 'has no topic /cuont: did you mean /count?'),
        (replay, ['{bag}', '--remap', 'a:=b'], 'has no topic /a: it has /count'),
        (replay, ['{bag}', '--remap', 'a'], "argument --remap: 'a' is not OLD:=NEW"),
        (replay, ['{bag}', '--remap', 'a:=b-c'], "argument --remap: 'b-c' can be no topic: "),
        (
            replay,
            ['{bag}', '--start-offset', '11'],
            '--start-offset: 11 s is past the end .* 10.0',
        ),
        (replay, ['{bag}', '--exclude', '.'], 'nothing of .* is left to play'),
    ],
)
def test_mistakes_are_told_in_one_line(command, arguments, line, counted, tmp_path, capsys):
    (tmp_path / 'junk.db3').write_text('junk')
    (tmp_path / 'text.yaml').write_text('text')
    places = {
        'bag': counted,
        'text': tmp_path / 'text.yaml',
        'junk': tmp_path / 'junk.db3',
    }
    try:
        code = command.main([argument.format(**places) for argument in arguments])
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    errors = capsys.readouterr().err
    assert len(errors.splitlines()) == 1
    assert re.match(f'sage {command.__name__.rpartition(".")[2]}: .*{line}', errors)


def test_type_hashes_are_those_of_the_middleware(peer):
    for i, kind in enumerate((LCTArray, Image, DiagnosticArray, Header)):
        peer.node.create_publisher(kind, f'/topic{i}', RELIABLE)
        (info,) = peer.node.get_publishers_info_by_topic(f'/topic{i}')
        if not hasattr(info, 'topic_type_hash'):
            pytest.skip('this release of ROS has no type hashes')
        assert installed_definition(info.topic_type).type_hash == str(info.topic_type_hash)


def test_a_package_with_idl_files_only(tmp_path, monkeypatch):
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


def test_quality_of_service_is_adapted_to_all_publishers():
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


def test_a_bag_with_nothing_in_it_is_read(tmp_path):
    with BagWriter(tmp_path / 'bag') as bag:
        bag.add_topic('/count', 'std_msgs/msg/Int64', [RELIABLE])
    with open_bag(tmp_path / 'bag') as bag:
        assert list(bag) == []
        assert bag.topics['/count'].count == bag.count == 0
        assert bag.duration_s == 0
    with pytest.raises(BagError, match='holds no messages'), open_bag(tmp_path / 'bag') as bag:
        replay._span(bag, None)


def test_messages_are_given_in_the_order_of_their_times(tmp_path):
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
