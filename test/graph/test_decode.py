# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Bags are readable where ROS is not installed, and without anything of sage."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
from bags import RELIABLE, assert_same, filled, write_bag
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from sage_msgs.msg import CropArray, LCTArray, TrustReport

from sage_perception.bags.definitions import Definition, UnreadableType, decode
from sage_perception.bags.reader import open_bag

KINDS = {'/cam0/crops': CropArray, '/cam0/lcts': LCTArray, '/trust_report': TrustReport}

# Reads a bag while all ROS packages are blocked.
WITHOUT_ROS = """
    import sys
    class Blocked:
        def find_spec(self, name, path=None, target=None):
            if name.split('.')[0] in ('rclpy', 'ament_index_python') or name.endswith('_msgs'):
                raise ModuleNotFoundError(f'No module named {name!r}', name=name)
    sys.meta_path.insert(0, Blocked())
    from sage_perception.bags.definitions import UnreadableType
    from sage_perception.bags.reader import open_bag
    with open_bag(sys.argv[1]) as bag:
        for message in bag:
            decoded = bag.decode(message.topic, message.data)
            print(message.topic, type(decoded).__name__, decoded.header.frame_id)
        try:
            bag.deserialize(message.topic, message.data)
        except UnreadableType as error:
            print(error)
"""


@pytest.fixture
def bag(tmp_path):
    """A bag with a random message of each kind."""
    rng = np.random.default_rng(0)
    rows = [(topic, i, filled(kind, rng)) for i, (topic, kind) in enumerate(KINDS.items())]
    topics = {topic: (f'sage_msgs/msg/{kind.__name__}', RELIABLE) for topic, kind in KINDS.items()}
    return write_bag(tmp_path / 'bag', rows, topics), rows


def test_decoded_messages_equal_those_of_ros(bag):
    path, rows = bag
    with open_bag(path) as opened:
        for (_, _, original), message in zip(rows, opened, strict=True):
            assert_same(original, opened.decode(message.topic, message.data))


def test_bag_is_read_without_ros(bag):
    path, rows = bag
    done = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(WITHOUT_ROS), str(path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(rows) + 1
    for line, (topic, _, message) in zip(lines, rows, strict=False):
        expected = f'{topic} sage_msgs__msg__{type(message).__name__} {message.header.frame_id}'
        assert line == expected
    assert lines[-1].startswith('ROS is not installed')


def test_message_without_definition_is_decoded_with_the_installed_one(bag):
    path, _ = bag
    with open_bag(path) as opened:
        message = next(iter(opened))
    assert decode(message.data, message.type_name, None).header.frame_id
    with pytest.raises(UnreadableType, match='no definition of absent_msgs/msg/Absent'):
        decode(b'', 'absent_msgs/msg/Absent', None)


@pytest.mark.parametrize('data', [b'', b'\x00\x01\x00\x00\x01', b'\xff' * 64])
def test_damaged_message_is_reported(bag, data):
    with open_bag(bag[0]) as opened, pytest.raises(UnreadableType, match='does not fit'):
        opened.decode('/cam0/crops', data)


def test_unreadable_definition_is_reported():
    with pytest.raises(UnreadableType, match='definition of a_msgs/msg/A'):
        decode(b'\x00\x01\x00\x00', 'a_msgs/msg/A', Definition('a_msgs/msg/A', 'ros2msg', '}{'))


def test_recorded_files_embed_all_definitions(bag):
    """Foxglove and other programs read the fields from the schemas in the file alone."""
    path, _ = bag
    with (path / 'bag_0.mcap').open('rb') as file:
        schemas = {s.name: s for s in make_reader(file).get_summary().schemas.values()}
    assert {schema.encoding for schema in schemas.values()} == {'ros2msg'}
    for kind in KINDS.values():
        text = schemas[f'sage_msgs/msg/{kind.__name__}'].data.decode()
        parts = {part.split('\n')[0] for part in text.split('=' * 80 + '\nMSG: ')[1:]}
        used = {name for name in nested_types(kind) if '/' in name}
        assert used <= parts | {f'sage_msgs/{kind.__name__}'}


def test_recorded_files_are_read_by_the_public_reader_of_mcap(bag):
    path, rows = bag
    with (path / 'bag_0.mcap').open('rb') as file:
        decoded = list(
            make_reader(file, decoder_factories=[DecoderFactory()]).iter_decoded_messages()
        )
    for (topic, _, original), found in zip(rows, decoded, strict=True):
        assert found.channel.topic == topic
        assert_same(original, found.decoded_message)


def nested_types(kind) -> set[str]:
    """Return the message types of all fields, at any depth, such as 'std_msgs/Header'."""
    found = set()
    for field in kind.get_fields_and_field_types().values():
        inner = field.removeprefix('sequence<').split(',')[0].split('[')[0].rstrip('>')
        if '/' in inner:
            package, _, message = inner.partition('/')
            module = __import__(f'{package}.msg', fromlist=[message])
            found |= {inner} | nested_types(getattr(module, message))
    return found
