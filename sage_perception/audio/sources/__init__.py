# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Sources of sound: microphones, WAV files, folders of them, generated sound.

`open_sound(uri)` opens a source by its URI. All sources deliver float32 samples at 16 kHz, one or
more channels, in blocks of 50 ms.

=============================  ============================================================
`alsa://default`               A microphone by its ALSA name, for example `alsa://plughw:1,0`;
                               needs the Python package pyalsaaudio. Option: channels=1. A
                               device that has no 16 kHz works through plughw, which resamples.
`file:///data/speech.wav`      A WAV file of 8 to 192 kHz, resampled; also a bare path.
                               Options: loop=true|false, pace=realtime|fast.
`sounds:///data/folder`        The WAV files of a folder in natural order, with silence between
                               them. Options: gap=0.5 (seconds), loop, pace.
`synthetic://`                 Seeded sound. Options: content=voice|tone|noise|silence|mixed,
                               seed=0, channels=1, bearing=0 (degrees, positive to the left, of
                               two microphones 0.2 m apart), snr=30 (dB), loop, pace.
=============================  ============================================================
"""

from sage_perception.audio.sources.base import SoundBlock, SoundSource
from sage_perception.audio.sources.opening import open_sound
from sage_perception.audio.sources.reconnect import ReconnectingSound

__all__ = ['ReconnectingSound', 'SoundBlock', 'SoundSource', 'open_sound']
