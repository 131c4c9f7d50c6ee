# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage record` with publishers over DDS; the result is read with independent libraries."""

from __future__ import annotations

import os
import re
import resource
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from bags import (
    BEST_EFFORT,
    LATCHED,
    RELIABLE,
    SAGE,
    SECOND,
    assert_same,
    bag_size,
    end,
    filled,
    image,
    write_bag,
)
from diagnostic_msgs.msg import DiagnosticArray
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader
from sage_msgs.msg import LCTArray, ModelInfo
from sensor_msgs.msg import Image
from std_msgs.msg import Int64

from sage_perception.bags import disk_writer
from sage_perception.bags.disk_writer import DiskWriter
from sage_perception.bags.files import BagError
from sage_perception.bags.reader import open_bag
from sage_perception.bags.repair import repair
from sage_perception.bags.writer import BagWriter
from sage_perception.cli.record import main


def test_recorded_bag_is_readable_with_rosbags(ros, start, tmp_path):
    rng = np.random.default_rng(1)
    sent = {'/info': [filled(ModelInfo, rng)]}
    ros.node.create_publisher(ModelInfo, '/info', LATCHED).publish(sent['/info'][0])
    recorder = start(SAGE, 'record', '--all', '--exclude', '^/secret', '-o', tmp_path / 'bag')
    kinds = {
        '/cam0/lcts': (LCTArray, RELIABLE, lambda: filled(LCTArray, rng)),
        '/cam0/image_raw': (Image, BEST_EFFORT, lambda: image(rng)),
        '/health': (DiagnosticArray, RELIABLE, lambda: filled(DiagnosticArray, rng)),
        '/secret/lcts': (LCTArray, RELIABLE, lambda: filled(LCTArray, rng)),
    }
    publishers = {
        name: ros.node.create_publisher(kind, name, qos) for name, (kind, qos, _) in kinds.items()
    }
    wanted = [publisher for name, publisher in publishers.items() if name != '/secret/lcts']
    ros.wait_for(
        lambda: all(p.get_subscription_count() for p in wanted), 'the recorder subscribes'
    )
    # A second publisher that offers less appears later: messages of both must be recorded.
    late = ros.node.create_publisher(LCTArray, '/cam0/lcts', BEST_EFFORT)
    ros.wait_for(lambda: late.get_subscription_count() == 1, 'the recorder requests less')
    ros.wait_for(
        lambda: publishers['/cam0/lcts'].get_subscription_count() == 1,
        'the recorder still matches the first publisher',
    )
    for i in range(5):
        for name, (_, _, make) in kinds.items():
            message = make()
            sent.setdefault(name, []).append(message)
            (late if name == '/cam0/lcts' and i == 4 else publishers[name]).publish(message)
        time.sleep(0.05)
    del sent['/secret/lcts']
    ros.wait_for(lambda: bag_size(tmp_path) > 10**6, 'the messages are written')
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
    """Check all metadata that the reader of Humble (version 5) uses, in the form that it needs."""
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
        # A string in the YAML that contains YAML with numbers.
        for profile in yaml.safe_load(described['offered_qos_profiles']):
            for policy in ('history', 'depth', 'reliability', 'durability', 'liveliness'):
                assert isinstance(profile[policy], int)
            for span in ('deadline', 'lifespan', 'liveliness_lease_duration'):
                assert set(profile[span]) == {'sec', 'nsec'}
            assert profile['avoid_ros_namespace_conventions'] is False


def test_bag_of_killed_recorder_can_be_repaired(ros, start, tmp_path):
    bag = tmp_path / 'bag'
    recorder = start(SAGE, 'record', '/count', '-o', bag)
    publisher = ros.node.create_publisher(Int64, '/count', RELIABLE)
    ros.wait_for(lambda: publisher.get_subscription_count() == 1, 'the recorder subscribes')
    empty, sent = bag_size(tmp_path), []

    def is_written() -> bool:
        publisher.publish(Int64(data=len(sent)))
        sent.append(len(sent))
        return bag_size(tmp_path) > empty

    ros.wait_for(is_written, 'messages are on the disk')
    recorder.kill()
    recorder.wait()
    with pytest.raises(BagError, match=rf'was not closed .*sage record --repair {bag}"'):
        open_bag(bag)
    assert main(['--repair', str(bag)]) == 0
    with AnyReader([bag]) as reader:
        read = [reader.deserialize(m[2], m[0].msgtype).data for m in reader.messages()]
    assert read
    assert read == sent[: len(read)]
    with pytest.raises(BagError, match='is complete: there is nothing to repair'):
        repair(bag)


def test_full_disk_ends_the_recorder_with_one_line(ros, start, tmp_path):
    recorder = start(SAGE, 'record', '/image', '-o', tmp_path / 'bag')
    publisher = ros.node.create_publisher(Image, '/image', RELIABLE)
    message = image(np.random.default_rng(3))
    ros.wait_for(lambda: publisher.get_subscription_count() == 1, 'the recorder subscribes')
    resource.prlimit(recorder.pid, resource.RLIMIT_FSIZE, (300_000, 300_000))

    def has_ended() -> bool:
        publisher.publish(message)
        return recorder.poll() is not None

    ros.wait_for(has_ended, 'the recorder exits')
    _, errors = recorder.communicate()
    assert recorder.returncode == 1
    assert re.search(r'^sage record: cannot write to .*bag: File too large; fix the disk', errors)
    assert len(errors.splitlines()) == 1


def test_blocked_disk_loses_messages_instead_of_growing(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_writer, 'MAX_QUEUED_BYTES', 1000)
    bag = BagWriter(tmp_path / 'bag')
    disk = DiskWriter(bag)
    disk.call(bag.add_topic, '/count', 'std_msgs/msg/Int64')
    kept = [disk.write('/count', bytes(100), i, i) for i in range(20)]
    assert kept == [True] * 11 + [False] * 9
    disk.start()
    disk.finish()
    with open_bag(tmp_path / 'bag') as written:
        assert [message.log_time_ns for message in written] == list(range(11))


def test_recorder_names_missing_interface_package(start, ros, tmp_path):
    """The package of a published type is hidden from the recorder."""
    hidden = tmp_path / 'hidden' / 'diagnostic_msgs'
    hidden.mkdir(parents=True)
    (hidden / '__init__.py').write_text('')
    first = ros.node.create_publisher(DiagnosticArray, '/health', RELIABLE)
    second = ros.node.create_publisher(Int64, '/count', LATCHED)
    second.publish(Int64(data=7))
    environment = {**os.environ, 'PYTHONPATH': str(tmp_path / 'hidden')}
    arguments = ['/health', '/count', '/none', '-o', tmp_path / 'bag']
    recorder = start(SAGE, 'record', *arguments, env=environment)
    ros.wait_for(lambda: second.get_subscription_count() == 1, 'the recorder subscribes')
    ros.wait_for(lambda: bag_size(tmp_path) > 200, 'the message is written')
    output, errors = end(recorder)
    assert errors.splitlines() == [
        'sage record: /health is not recorded: diagnostic_msgs/msg/DiagnosticArray is not '
        'installed: build the package diagnostic_msgs and source it',
        'sage record: /none was not published',
    ]
    assert '/count (std_msgs/msg/Int64): 1' in output
    assert first.get_subscription_count() == 0


@pytest.mark.parametrize(
    ('arguments', 'line'),
    [
        ([], 'nothing to record: name topics, or use --all or --regex'),
        (['-a', '-o', '{bag}'], '.* already exists: use another name, or remove it'),
        (['-e', '('], 'argument -e/--regex: .* is not a regular expression'),
        (['-a', '-d', '0'], 'argument -d/--duration: 0 is not a positive number'),
        (['-a', '--compression', 'rar'], 'argument --compression: invalid choice'),
        (['--repair', '{bag}'], '.* is complete: there is nothing to repair'),
        (['--repair', '{bag}x'], 'bag .* does not exist'),
    ],
)
def test_invalid_usage_is_reported_in_one_line(arguments, line, tmp_path, capsys):
    bag = write_bag(tmp_path / 'bag', [], {'/count': ('std_msgs/msg/Int64', RELIABLE)})
    try:
        code = main([argument.format(bag=bag) for argument in arguments])
    except SystemExit as exit_request:
        code = exit_request.code
    assert code == 2
    errors = capsys.readouterr().err
    assert len(errors.splitlines()) == 1
    assert re.match(f'sage record: .*{line}', errors)
