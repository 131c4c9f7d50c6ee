# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What the arbiter does with bytes that are no message, with a flood, and with bad parameters."""

import re

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from sage_msgs.msg import LCT, LCTArray

from sage_perception.nodes.arbiter_node import ArbiterNode
from sage_perception.ros.errors import ConfigurationError
from sage_perception.trust.screening import Budget

GARBAGE = (b'', b'\0\1\0\0', b'\0\1\0\0' + b'\xff' * 200)


@pytest.fixture
def said(ros):
    """Give an arbiter, what speaks on its camera's topic, and what says how that fares."""
    health = ros.collect(DiagnosticArray, '/diagnostics')
    ros.make(ArbiterNode, '-p', 'cameras:=[cam0]')
    publisher = ros.node.create_publisher(LCTArray, 'cam0/lcts', 500)
    ros.wait_for(lambda: publisher.get_subscription_count() == 1, 'the arbiter')

    def figures():
        values = [
            pair
            for array in list(health)[-3:]
            for status in array.status
            if status.name == 'under_test: agreement'
            for pair in status.values
        ]
        return {pair.key: pair.value for pair in values}

    return publisher, figures


def test_bytes_that_are_no_message_are_refused_and_harm_nobody(ros, said):
    publisher, figures = said
    for garbage in GARBAGE:
        publisher.publish(garbage)
    ros.wait_for(lambda: figures().get('cam0 refused: malformed') == '3', 'their refusal')


def test_of_a_flood_most_is_left_unread(ros, said):
    publisher, figures = said
    nonsense = LCTArray(lcts=[LCT()] * 64)
    for _ in range(100):
        publisher.publish(nonsense)
    ros.wait_for(lambda: int(figures().get('cam0 refused: flood', 0)) > 90, 'the flood')
    looked = sum(
        int(number)
        for name, number in figures().items()
        if name.startswith('cam0 refused: ') and 'flood' not in name
    )
    assert Budget.BURST <= looked < 6400 / 4


@pytest.mark.parametrize(
    ('parameter', 'value', 'why'),
    [
        ('model', 'nobody', "'nobody' is neither a model of this package"),
        ('entities', 'cam9=x', "'cam9=x' is not camera=value with one of the cameras cam0, cam1"),
        ('entities', 'cam1', "'cam1' is not camera=value"),
        ('relations', 'cam1=/nowhere.yaml', '/nowhere.yaml is no relation of two cameras'),
    ],
)
def test_what_cannot_be_is_explained_on_one_line(ros, parameter, value, why):
    with pytest.raises(ConfigurationError, match=re.escape(why)) as refused:
        ros.make(ArbiterNode, '-p', f'{parameter}:={value}')
    assert str(refused.value).startswith(f"parameter '{parameter}': ")
    assert '\n' not in str(refused.value)
