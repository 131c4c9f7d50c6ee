# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Round trip of every message through another process, bit for bit."""

import importlib
import re
import string
import struct
import subprocess
import sys

import numpy as np
import pytest
import sage_msgs.msg

KINDS = sorted(
    name
    for name, kind in vars(sage_msgs.msg).items()
    if hasattr(kind, 'get_fields_and_field_types')
)
SCRIPT = """
import os, rclpy, sage_msgs.msg, sys, threading
# Exit with the test process.
threading.Thread(target=lambda: sys.stdin.read() or os._exit(0), daemon=True).start()
rclpy.init()
node = rclpy.create_node('echo')
for name in sys.argv[1:]:
    kind = getattr(sage_msgs.msg, name)
    publisher = node.create_publisher(kind, f'back/{name}', 10)
    node.create_subscription(kind, f'there/{name}', publisher.publish, 10)
rclpy.spin(node)
"""
NUMBERS = {'float': np.float32, 'double': np.float64}
SPECIAL = (np.nan, np.inf, -np.inf, -0.0, 1e-45, 1e-310)


def filled(kind, rng, full):
    """Return a message with random contents; `full` means lists and strings of maximum length."""
    message = kind()
    for name, spec in kind.get_fields_and_field_types().items():
        setattr(message, name, contents(spec, rng, full))
    return message


def contents(spec, rng, full):
    many = re.fullmatch(r'sequence<(.+?)(?:, (\d+))?>', spec)
    fixed = re.fullmatch(r'(.+)\[(\d+)\]', spec)
    if fixed:
        kind = np.dtype(fixed[1])
        return np.frombuffer(rng.bytes(int(fixed[2]) * kind.itemsize), kind)
    if many:
        # Nested messages multiply the size.
        limit = min(int(many[2] or 1000), 2 if '/' in many[1] else 10**6)
        size = limit if full else int(rng.integers(0, min(limit, 5) + 1))
        return [contents(many[1], rng, full and '/' not in many[1]) for _ in range(size)]
    if '/' in spec:
        package, _, name = spec.partition('/')
        return filled(getattr(importlib.import_module(f'{package}.msg'), name), rng, full)
    if spec.startswith('string'):
        limit = int((re.search(r'\d+', spec) or ['200'])[0])
        letters = list(string.printable)
        return ''.join(rng.choice(letters, limit if full else min(limit, 7)))
    if spec == 'boolean':
        return bool(rng.integers(2))
    if spec in NUMBERS:
        return float(NUMBERS[spec](rng.choice([rng.standard_normal(), *SPECIAL])))
    bounds = np.iinfo(spec)
    return int(rng.integers(bounds.min, bounds.max, dtype=spec, endpoint=True))


def bits(value):
    """Return the fields as comparable values; serialized bytes contain arbitrary padding."""
    if hasattr(value, 'get_fields_and_field_types'):
        return tuple(bits(getattr(value, name)) for name in value.get_fields_and_field_types())
    if isinstance(value, list):
        return tuple(map(bits, value))
    if isinstance(value, float):
        return struct.pack('d', value)
    return value.tobytes() if hasattr(value, 'tobytes') else value


@pytest.fixture(scope='module')
def echo(environment):
    process = subprocess.Popen([sys.executable, '-c', SCRIPT, *KINDS], stdin=subprocess.PIPE)
    yield process
    process.stdin.close()
    process.wait()


def test_covers_the_main_messages():
    assert {'Crop', 'Latent', 'LCT', 'LCTArray', 'ModelId', 'ModelInfo', 'IrpTelemetry'} <= set(
        KINDS
    )
    assert {'Provenance', 'TrustReport', 'Agreement', 'CropArray', 'LatentArray'} <= set(KINDS)


def test_messages_survive_a_round_trip(echo, ros):
    rng = np.random.default_rng(0)
    kinds = {name: getattr(sage_msgs.msg, name) for name in KINDS}
    back = {name: ros.collect(kind, f'back/{name}', 10) for name, kind in kinds.items()}
    there = {
        name: ros.node.create_publisher(kind, f'there/{name}', 10) for name, kind in kinds.items()
    }
    ros.wait_for(
        lambda: (
            all(publisher.get_subscription_count() for publisher in there.values())
            and all(ros.node.count_publishers(f'back/{name}') for name in KINDS)
        ),
        'the other process',
    )
    for name, kind in kinds.items():
        sent = [kind(), *(filled(kind, rng, full) for full in (False, True, False))]
        # The topic back may not be connected before the first message arrives.
        ros.wait_for(lambda n=name, m=sent[0]: there[n].publish(m) or back[n], name)
        for message in sent[1:]:
            there[name].publish(message)
        expected = [bits(message) for message in sent]

        def arrived(name=name, expected=expected):
            return [bits(message) for message in back[name]][-3:] == expected[-3:]

        ros.wait_for(arrived, f'{name}, bit for bit')
    assert echo.poll() is None
