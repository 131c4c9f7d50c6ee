# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Detections of `vision_msgs`: conversion, and the attention node in and without its company."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from rclpy.parameter import Parameter

from sage_perception.nodes.attention_node import AttentionNode
from sage_perception.ros import detections
from sage_perception.ros.detections import MAX_READ, detections_from_msg

HERE = Path(__file__).parent
INSTALLED = detections.AVAILABLE


def message(x=100.0, y=80.0, width=40.0, height=20.0, theta=0.0, scores=(0.5,)):
    """Return a detection with the fields of `vision_msgs/Detection2D`."""
    position = SimpleNamespace(x=x, y=y)
    center = SimpleNamespace(position=position, theta=theta)
    results = [SimpleNamespace(hypothesis=SimpleNamespace(score=score)) for score in scores]
    bbox = SimpleNamespace(center=center, size_x=width, size_y=height)
    return SimpleNamespace(results=results, bbox=bbox)


def read(*messages, limit=16):
    return detections_from_msg(SimpleNamespace(detections=list(messages)), limit)


def test_boxes_are_those_of_the_message():
    ((found,), invalid) = read(message(scores=(0.2, 0.6)))
    assert (found.box, found.score, invalid) == ((80, 70, 120, 90), 0.6, 0)
    ((turned,), _) = read(message(theta=math.pi / 2, scores=()))
    assert turned.box == pytest.approx((90, 60, 110, 100))
    assert turned.score == 1.0
    ((diagonal,), _) = read(message(width=10, height=10, theta=math.pi / 4))
    assert diagonal.box[2] - diagonal.box[0] == pytest.approx(10 * math.sqrt(2))


@pytest.mark.parametrize(
    'values',
    [
        {'x': math.nan},
        {'y': math.inf},
        {'width': 0.0},
        {'height': -3.0},
        {'width': math.nan},
        {'theta': math.nan},
        {'scores': (math.nan,)},
        {'scores': (0.5, math.nan)},
        {'scores': (1.5,)},
        {'scores': (-0.1,)},
    ],
)
def test_invalid_detections_are_counted(values):
    found, invalid = read(message(**values), message())
    assert (len(found), invalid) == (1, 1)


def test_number_of_detections_is_bounded():
    scores = [index / 100 for index in range(100)]
    found, invalid = read(*(message(scores=(score,)) for score in scores), limit=3)
    assert [each.score for each in found] == [0.99, 0.98, 0.97]
    assert invalid == 0
    assert read(*[message()] * (MAX_READ + 5))[1] == 5


@pytest.mark.skipif(INSTALLED, reason='vision_msgs is installed')
def test_node_works_without_vision_msgs(ros):
    node = ros.make(AttentionNode, '-p', 'max_detections:=4')
    assert node.get_parameter('max_detections').type_ == Parameter.Type.INTEGER
    topics = {name for name, _ in node.get_topic_names_and_types()}
    assert '/crops' in topics
    assert not topics & {'/detections', '/regions'}


def test_detections_get_crops_and_regions_are_published(optional_messages):
    program = HERE / 'attention_with_detections.py'
    found = optional_messages(program)
    assert len(found['frames']) >= 3
    assert found['invalid'] is True
    assert found['objects'] == [['7', 'dog', 0.75, 40.0], ['8', 'unknown', 0.25, 8.0]]
    ids = {tuple(crop[1] for crop in frame['crops']) for frame in found['frames']}
    assert len(ids) == 1
    for frame in found['frames']:
        # The two best of three valid ones, with a margin around the boxes; 4 is SOURCE_EXTERNAL.
        assert [[c[0], c[2], c[5]] for c in frame['crops']] == [[4, 0.9, 96], [4, 0.7, 72]]
        for crop, region in zip(frame['crops'], frame['regions'], strict=True):
            assert region[:3] == ['external', str(crop[1]), crop[2]]
            assert region[3:] == [crop[3] + crop[5] / 2, crop[4] + crop[5] / 2, crop[5]]
