# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The audio node: sound events to signed latents, bearings and goals."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from sage_msgs.msg import LCTArray
from scipy.io import wavfile
from std_msgs.msg import Bool, Float32, String

from sage_perception.audio.mel import RATE
from sage_perception.audio.sources import ReconnectingSound, open_sound
from sage_perception.audio.synthetic import synthetic_sound
from sage_perception.audio.words import LABELS
from sage_perception.cli import keys
from sage_perception.core.latent import LatentKind
from sage_perception.models import load_audio
from sage_perception.models.audio_model import AudioModel
from sage_perception.nodes import audio_node
from sage_perception.nodes.audio_node import AudioNode
from sage_perception.pipeline import sound_encoder
from sage_perception.ros.conversions.lct_arrays import received_lcts
from sage_perception.ros.errors import ConfigurationError
from sage_perception.trust import TrustStore, verify
from sage_perception.trust.security.keys import load_key, public_bytes
from sage_perception.vision.sources import SourceLost, SourceUnavailable


def test_events_become_signed_latents_with_bearing_and_arousal(ros, tmp_path):
    assert keys.main(['create', 'robot1/head', '--dir', str(tmp_path)]) == 0
    arrays = ros.collect(LCTArray, 'robot1/head/audio')
    bearings = ros.collect(PoseStamped, 'robot1/head/bearing')
    arousals = ros.collect(Float32, 'robot1/head/arousal')
    voices = ros.collect(Bool, 'robot1/head/voice')
    source = 'source:=synthetic://?channels=2&bearing=40&pace=fast'
    node = ros.make(AudioNode, '-p', source, '-p', f'key:={tmp_path}', namespace='robot1/head')
    ros.wait_for(lambda: len(arrays) > 2 and bearings and arousals and voices, 'events')
    node.deactivate()
    array = arrays[0]
    assert array.header.frame_id == 'head_link'
    (received,) = received_lcts(array)
    assert received.entity_id == 'robot1/head'
    lct, _ = received.read()
    assert lct.latent.kind is LatentKind.AUDIO
    assert lct.latent.dim == 128
    assert lct.latent.model == load_audio().id
    assert 0 < lct.trust <= 1
    store = TrustStore()
    store.trust('robot1/head', public_bytes(load_key(tmp_path, 'robot1/head')))
    assert verify(lct, store) is None
    turn = bearings[0].pose.orientation
    assert math.degrees(2 * math.atan2(turn.z, turn.w)) == pytest.approx(40, abs=4)
    assert arousals[0].data == pytest.approx(lct.latent.snarc[2])
    assert 0 < arousals[0].data <= 1


def test_words_above_the_confidence_are_goals_and_successive_ones_are_joined(ros, monkeypatch):
    words = iter([('red', 0.97), ('ball', 0.95), ('cup', 0.5), ('unknown', 0.99)])
    encode = sound_encoder.SoundEncoder.encode

    def recognize(self, event):
        word, confidence = next(words, ('', 0.0)) if event.voice else ('', 0.0)
        known = word not in ('', 'unknown')
        return replace(encode(self, event), word=word, confidence=confidence, known=known)

    monkeypatch.setattr(sound_encoder.SoundEncoder, 'encode', recognize)
    goals, voices = ros.collect(String, 'goal'), ros.collect(Bool, 'voice')
    ros.make(AudioNode, '-p', 'source:=synthetic://?seed=3&pace=fast', '-p', 'phrase_gap_s:=10.0')
    ros.wait_for(lambda: sum(voice.data for voice in voices) > 5, 'events')
    assert [goal.data for goal in goals] == ['red', 'red ball']


def test_goals_are_made_of_the_given_words(ros, monkeypatch):
    goals, encode = ros.collect(String, 'goal'), AudioModel.encode

    def seven_or_red(self, mel):
        logits = np.full((1, len(LABELS)), -9, np.float32)
        logits[0, [LABELS.index('seven'), LABELS.index('red')]] = 9, 5
        return encode(self, mel)._replace(logits=logits)

    monkeypatch.setattr(AudioModel, 'encode', seven_or_red)
    source = 'source:=synthetic://?seed=3&pace=fast'
    ros.make(AudioNode, '-p', source, '-p', 'goal_words:=red, blue', '-p', 'phrase_gap_s:=0.0')
    ros.wait_for(lambda: goals, 'a goal')
    assert {goal.data for goal in goals} == {'red'}


@pytest.mark.parametrize(
    ('change', 'fault'),
    [(lambda x: np.clip(40 * x, -1, 1), 'clipped'), (lambda x: _broken(x), 'not finite')],
    ids=['clipped', 'nan'],
)
def test_sound_of_a_faulty_microphone_has_no_trust_and_is_reported(ros, tmp_path, change, fault):
    path = tmp_path / 'a.wav'
    wavfile.write(path, RATE, change(synthetic_sound('voice', seed=4)).astype(np.float32))
    arrays, goals = ros.collect(LCTArray, 'audio'), ros.collect(String, 'goal')
    health = ros.collect(DiagnosticArray, '/diagnostics')
    ros.make(AudioNode, '-p', f'source:={path}?pace=fast')

    def reported():
        return [s for m in health for s in m.status if f'the sound is {fault}' in s.message]

    ros.wait_for(lambda: arrays and reported(), 'an event and a report')
    assert all(crop.trust == 0 for array in arrays for crop in array.crops)
    assert not goals


def _broken(samples):
    samples[::3000] = np.nan
    return samples


def test_silence_is_reported_and_makes_no_events(ros):
    arrays, health = ros.collect(LCTArray, 'audio'), ros.collect(DiagnosticArray, '/diagnostics')
    ros.make(AudioNode, '-p', 'source:=synthetic://?content=silence&pace=fast')

    def reported():
        return [s for m in health for s in m.status if 'the sound is silent' in s.message]

    ros.wait_for(reported, 'a report')
    assert not arrays


@pytest.mark.parametrize(
    ('parameter', 'text'),
    [
        ('source:=mic://0', "parameter 'source': .*unknown scheme mic"),
        ('model:=tinyvae', "parameter 'model': .*is not a model of sound"),
        ('goal_words:=red,crimson', "parameter 'goal_words': 'crimson' is not a word of audiovae"),
    ],
)
def test_invalid_parameters_are_explained(ros, parameter, text):
    with pytest.raises(ConfigurationError, match=text):
        ros.make(AudioNode, '-p', 'source:=synthetic://', '-p', parameter)


def test_a_rate_that_is_not_supported_is_named(ros, tmp_path):
    path = tmp_path / 'a.wav'
    wavfile.write(path, 4000, np.zeros(4000, np.int16))
    with pytest.raises(ConfigurationError, match='sampling rate of 4000 Hz'):
        ros.make(AudioNode, '-p', f'source:={path}')


def test_a_lost_microphone_is_opened_again(ros, monkeypatch):
    opened = []

    def opener(uri):
        opened.append(uri)
        if len(opened) == 2:
            raise SourceUnavailable('unplugged')
        source = open_sound(uri)
        if len(opened) == 1:
            monkeypatch.setattr(source, 'read', lost)
        return source

    def lost(timeout_s):
        raise SourceLost('unplugged')

    reconnecting = partial(ReconnectingSound, opener=opener, backoff_s=(0.01, 0.01))
    monkeypatch.setattr(audio_node, 'ReconnectingSound', reconnecting)
    arrays = ros.collect(LCTArray, 'audio')
    ros.make(AudioNode, '-p', 'source:=synthetic://?pace=fast')
    ros.wait_for(lambda: arrays, 'an event')
    assert len(opened) == 3


def test_a_missing_microphone_is_waited_for_or_ends_the_node(ros, tmp_path):
    health = ros.collect(DiagnosticArray, '/diagnostics')
    source = f'source:={tmp_path}/late.wav'
    ros.make(AudioNode, '-p', source)
    ros.wait_for(
        lambda: [s for m in health for s in m.status if 'no sound: ' in s.message], 'a report'
    )
    with pytest.raises(ConfigurationError, match=r'late\.wav'):
        ros.make(AudioNode, '-p', source, '-p', 'reconnect:=false')
