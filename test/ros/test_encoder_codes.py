# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Codes that the encoder node sends, what it announces, and the goal that it scores tracks by."""

import threading

import numpy as np
import pytest
from crop_arrays import crop_array
from sage_msgs.msg import Budget, CropArray, LCTArray, ModelInfo, TrackScores
from std_msgs.msg import String

from sage_perception.codecs.directions import unpack_direction
from sage_perception.core.latent import LatentKind, ModelId
from sage_perception.models.registry import available
from sage_perception.models.semantic import vocabulary
from sage_perception.nodes.attention_node import AttentionNode
from sage_perception.nodes.encoder_node import EncoderNode
from sage_perception.pipeline.code_encoder import PLUGIN
from sage_perception.pipeline.track_labels import TrackLabels
from sage_perception.ros import encoder_codes, qos
from sage_perception.ros.conversions.lct_arrays import carries_codes, received_lcts
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.viewer_input import note_labels

LATER = 10
"""Frames after which new tracks get codes."""
BRIGHT, DARK = (np.full((64, 64, 3), level, np.uint8) for level in (220, 30))


class TwoNouns:
    """Sees a dog in bright crops and a truck in dark ones, in the space of the shipped nouns."""

    id = ModelId('two_nouns', '1', b't' * 32)
    identity_space = id.fingerprint
    cost_ms = 5.0

    def __init__(self):
        self.free, self.fault = threading.Event(), None
        self.free.set()
        self._words = vocabulary.read(available()['semantic_text'])
        self.semantic_space = self._words.space

    def text(self, texts):
        nouns = [text.removeprefix('a ') for text in texts]
        return np.stack([self._words.codes[self._words.nouns.index(noun)] for noun in nouns])

    def codes(self, images):
        self.free.wait(10)
        if self.fault is not None:
            raise self.fault
        nouns = ['dog' if image.mean() > 0.5 else 'truck' for image in images]
        return self.text(nouns), np.ones((len(images), 8), np.float32) / np.sqrt(8)


@pytest.fixture
def model(monkeypatch):
    made = TwoNouns()
    monkeypatch.setattr(encoder_codes, 'load_code_model', lambda name: made)
    return made


@pytest.fixture
def encoder(ros, model):
    """Start an encoder with codes; give a sender of crops and the LCTs."""
    lcts = ros.collect(LCTArray, 'lcts')
    crops = ros.node.create_publisher(CropArray, 'crops', 10)
    node = ros.make(
        EncoderNode,
        '-p',
        'codes:=identity,semantic',
        '-p',
        'code_budget_ms:=100.0',
        '-p',
        'entity_id:=cam0',
    )
    ros.wait_for(crops.get_subscription_count, 'a subscriber')
    ros.wait_for(lambda: ros.node.count_publishers('lcts'), 'the publisher')

    numbers = iter((0, *range(LATER, 1000)))

    def send():
        """Send the next frame and return its LCTs: new tracks, then those that get codes."""
        count = len(lcts)
        crops.publish(crop_array(next(numbers), (BRIGHT, DARK)))
        return ros.wait_for(lambda: len(lcts) > count and lcts[-1], 'the LCTs')

    return send, node


def until_codes(ros, send):
    """Send frames until codes arrive; return the LCTs with them."""

    def carrying():
        array = send()
        return array if carries_codes(array) else None

    return ros.wait_for(carrying, 'the codes')


def codes_of(array):
    """Return the codes of each track of an array that are not those of its latent."""
    kinds = (LatentKind.IDENTITY, LatentKind.SEMANTIC)
    return {
        lct.latent.track_id: [code for code in lct.latent.codes if code.kind in kinds]
        for lct, _ in (each.read() for each in received_lcts(array))
    }


def test_codes_are_sent_once_per_track_with_their_trust(ros, encoder, model):
    send, _ = encoder
    budgets = ros.collect(Budget, 'budget')
    ros.wait_for(lambda: ros.node.count_publishers('budget'), 'the publisher')
    assert not carries_codes(send())
    assert not carries_codes(send()), 'the first latents wait for codes'
    first = codes_of(until_codes(ros, send))
    assert [len(codes) for codes in first.values()] == [2, 2]
    assert not carries_codes(send())
    identity, semantic = first[1]
    assert (identity.kind, semantic.kind) == (LatentKind.IDENTITY, LatentKind.SEMANTIC)
    assert (len(semantic.payload), identity.trust) == (64, 0)
    assert semantic.model.fingerprint == model.semantic_space
    expected = vocabulary.read(available()['semantic_text']).confidence(model.text(['dog']))[0]
    assert semantic.confidence == pytest.approx(expected, abs=0.01)
    assert unpack_direction(semantic.payload) @ model.text(['dog'])[0] > 0.999
    budget = ros.wait_for(lambda: next((b for b in budgets if b.shares), None), 'the budget')
    assert {share.plugin for share in budget.shares} == {PLUGIN}
    assert sum(share.spent for share in budget.shares) <= budget.total


def test_latents_wait_neither_for_codes_nor_for_a_model_that_fails(ros, encoder, model):
    send, node = encoder
    model.free.clear()
    assert not any(carries_codes(send()) for _ in range(5))
    model.fault = ValueError('no codes today')
    model.free.set()
    ros.wait_for(lambda: send() and node._codes.figures['codes_failed'] > 1, 'two failures')
    assert node._codes.figures['codes_computed'] == 0
    assert node.callback_guard.errors.total() == 0
    model.fault = None
    assert len(codes_of(until_codes(ros, send))) == 2
    node._codes.close()
    assert not [each for each in threading.enumerate() if each.name.endswith(': codes')]
    assert not carries_codes(send())


def test_receivers_label_tracks_by_the_codes_of_earlier_frames(ros, encoder, model):
    send, _ = encoder
    labels = TrackLabels()
    note_labels(labels, until_codes(ros, send))
    words = vocabulary.read(available()['semantic_text'])
    expected = words.nearest(model.text(['dog', 'truck']))
    found = [labels.label('cam0', track) for track in (1, 2)]
    assert [label.noun for label in found] == [label.noun for label in expected]
    assert found[0].noun != found[1].noun
    assert labels.text('cam0', 3) == labels.text('cam1', 1) == ''


def test_the_model_of_codes_is_announced(ros, encoder, model):
    found = ros.collect(ModelInfo, 'code_model_info', qos.LATCHED)
    info = ros.wait_for(lambda: found and found[0], 'the announcement')
    assert bytes(info.model.fingerprint) == model.id.fingerprint
    assert f'- semantic: {model.semantic_space.hex()}' in info.card


def test_tracks_are_scored_by_the_goal(ros, encoder):
    send, _ = encoder
    scores = ros.collect(TrackScores, 'track_scores')
    goal = ros.node.create_publisher(String, 'goal', qos.LATCHED)
    ros.wait_for(goal.get_subscription_count, 'the encoder')
    ros.wait_for(lambda: ros.node.count_publishers('track_scores'), 'the publisher')
    goal.publish(String(data='a dog'))

    def scored():
        send()
        return scores and scores[-1].goal == 'a dog' and len(scores[-1].track_ids) == 2

    ros.wait_for(scored, 'the scores')
    by_track = dict(zip(scores[-1].track_ids, scores[-1].scores, strict=True))
    assert by_track[1] > 0.9 > by_track[2]
    goal.publish(String(data=''))
    for _ in range(10):
        send()
    settled = len(scores)
    for _ in range(10):
        send()
    assert len(scores) == settled


def test_a_goal_that_is_too_long_is_rejected_and_not_kept(ros, model):
    goal = ros.node.create_publisher(String, 'goal', qos.LATCHED)
    node = ros.make(EncoderNode, '-p', 'codes:=semantic')
    ros.wait_for(goal.get_subscription_count, 'the encoder')
    goal.publish(String(data='a dog'))
    ros.wait_for(lambda: node._codes.figures['goal'] == 'a dog', 'the goal')
    goal.publish(String(data='a dog ' * 10_000))
    ros.wait_for(lambda: node._codes._input._rejected == 1, 'the rejection')
    assert node._codes.figures['goal'] == 'a dog'


def test_attention_uses_valid_scores_and_counts_others(ros):
    publisher = ros.node.create_publisher(TrackScores, 'track_scores', 10)
    node = ros.make(AttentionNode)
    ros.wait_for(publisher.get_subscription_count, 'attention')
    publisher.publish(TrackScores(goal='x', track_ids=[1], scores=[2.0]))
    publisher.publish(TrackScores(goal='x', track_ids=[1, 2], scores=[0.5]))
    publisher.publish(TrackScores(goal='x', track_ids=[3], scores=[1.0]))
    ros.wait_for(lambda: node._attention._track_scores._scores == {3: 1.0}, 'the scores')
    assert node._scores.monitor._rejected == 2


@pytest.mark.parametrize('codes', ['color', 'semantic,semantic'])
def test_unknown_codes_are_a_configuration_error(ros, codes):
    with pytest.raises(ConfigurationError, match='kind of codes'):
        ros.make(EncoderNode, '-p', f'codes:={codes}')


def test_an_unknown_model_of_codes_is_a_configuration_error(ros):
    with pytest.raises(ConfigurationError, match=r"parameter 'code_model': .*'nothing'"):
        ros.make(EncoderNode, '-p', 'codes:=identity', '-p', 'code_model:=nothing')
