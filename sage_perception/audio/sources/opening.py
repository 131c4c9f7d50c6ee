# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Open a source of sound by its URI."""

from __future__ import annotations

from sage_perception.audio.sources.alsa import open_alsa
from sage_perception.audio.sources.base import SoundSource
from sage_perception.audio.sources.recorded import open_file, open_sounds, open_synthetic
from sage_perception.audio.synthetic import CONTENTS
from sage_perception.vision.sources.pacing import SystemClock
from sage_perception.vision.sources.uri import Option, Requirements, choice, flag, number, parse

CHANNELS = number(int, 1, 8)
PLAYBACK = {'loop': flag(), 'pace': choice('realtime', 'fast')}
OPTIONS: dict[str, dict[str, Option]] = {
    'alsa': {'channels': CHANNELS},
    'file': PLAYBACK,
    'sounds': PLAYBACK | {'gap': number(float, 0, 60)},
    'synthetic': PLAYBACK
    | {'content': choice(*CONTENTS), 'seed': number(int, 0, 2**63 - 1), 'channels': CHANNELS}
    | {'bearing': number(float, -90, 90), 'snr': number(float, -20, 100)},
}
RECORDED = {'file': open_file, 'sounds': open_sounds, 'synthetic': open_synthetic}


def _requirements(path: str, is_address: bool) -> Requirements:
    return {
        'alsa': (path, 'a device, as in alsa://default or alsa://plughw:1,0'),
        'file': (
            path.startswith('/') if is_address else path,
            'an absolute path, as in file:///data/speech.wav (three slashes)',
        ),
        'sounds': (path.startswith('/'), 'an absolute path, as in sounds:///data/folder'),
        'synthetic': (not path, 'only options, as in synthetic://?seed=1'),
    }


def open_sound(uri: str, *, clock: SystemClock | None = None) -> SoundSource:
    """Open a source; `sage_perception.audio.sources` documents the URIs.

    Args:
        uri: the URI of the source.
        clock: paces recorded and computed sound.

    Raises:
        SourceError: the URI or the content of the file is not valid.
        SourceUnavailable: the device or file is missing or in use.
    """
    parsed = parse(uri, 'file', OPTIONS, _requirements)
    if parsed.scheme == 'alsa':
        return open_alsa(parsed)
    return RECORDED[parsed.scheme](parsed, clock or SystemClock())
