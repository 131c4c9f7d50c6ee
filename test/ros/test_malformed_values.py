# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The malformed messages of `bench/messages.py`."""

import sys
from pathlib import Path

import pytest
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.serialization import deserialize_message, serialize_message

FOLDER = Path(__file__).resolve().parents[2] / 'bench' / 'malformed'
sys.path.insert(0, str(FOLDER))

from fuzzing.attack import largest  # noqa: E402
from fuzzing.values import LONG_TEXT, MAX_TEXT_BYTES, Mutator  # noqa: E402


def sizes(kind, count):
    return [len(serialize_message(Mutator(str(n)).typed(kind, b''))) for n in range(count)]


def test_the_seed_repeats_a_message():
    for number in range(50):
        first, second = (Mutator(str(number)) for _ in range(2))
        message = first.typed(GetParameters.Request, b'')
        assert message == second.typed(GetParameters.Request, b'')
        assert len(first.raw(message)) == len(second.raw(message))  # padding is undefined


def test_the_texts_of_a_message_are_bounded():
    """Their bytes, and for each at most 9 of CDR."""
    found = sizes(GetParameters.Request, 600)
    assert MAX_TEXT_BYTES < max(found) <= MAX_TEXT_BYTES + len(LONG_TEXT) + 300 * 9 * 8


def test_the_largest_messages_are_chosen():
    made = [GetParameters.Request(names=['x' * n]) for n in (30, 2, 90, 8)]
    assert largest(made, 2) == [made[0], made[2]]
    assert largest(made, 4) == made


@pytest.mark.parametrize('kind', [GetParameters.Request, SetParameters.Request])
def test_damaged_messages_differ_from_valid_ones(kind):
    message, differ = kind(), 0
    for number in range(40):
        data = Mutator(str(number)).raw(message)
        try:
            differ += deserialize_message(data, kind) != message
        except Exception:  # noqa: BLE001 - of the middleware, of several types
            differ += 1
    assert differ > 20
