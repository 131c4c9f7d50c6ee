# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Microphones through ALSA, with the Python package pyalsaaudio (PSF licence)."""

from __future__ import annotations

import importlib
import time
from typing import Any

import numpy as np

from sage_perception.audio.mel import RATE
from sage_perception.audio.sources.base import BLOCK, SoundBlock, SoundSource
from sage_perception.audio.wave_file import to_float
from sage_perception.core.text import one_line
from sage_perception.vision.sources.base import EndOfStream, SourceLost
from sage_perception.vision.sources.uri import SourceUri

STALL_S = 2.0
"""Time without sound after which a microphone counts as lost, seconds."""
POLL_S = 0.005


class AlsaSource(SoundSource):
    """A microphone that is read without blocking."""

    def __init__(self, uri: SourceUri, pcm: Any, error: type[Exception], channels: int) -> None:
        self.identity, self.uri, self.channels = f'alsa://{uri.path}', uri.text, channels
        self._pcm, self._error = pcm, error
        self._pending = np.empty((0, channels), np.float32)
        self._index = 0
        self._closed = False
        self._waited_s = 0.0  # in `read`, since the last sound

    def read(self, timeout_s: float) -> SoundBlock | None:
        """Return the next block; the driver's overruns leave a gap in the index."""
        deadline_s = time.monotonic() + timeout_s
        while len(self._pending) < BLOCK:
            if self._closed:
                raise EndOfStream(f'{self.identity} is closed')
            try:
                frames, content = self._pcm.read()
            except self._error as error:
                raise SourceLost(f'{self.identity}: {one_line(error)}') from None
            if frames < 0:  # overrun: the driver dropped samples
                self._index += 1
                self._pending = self._pending[:0]
            if frames > 0:
                samples = np.frombuffer(content, '<i2')[: frames * self.channels]
                block = to_float(samples.reshape(-1, self.channels))
                self._pending = np.concatenate([self._pending, block])
                self._waited_s = 0.0
                continue
            if self._waited_s > STALL_S:
                raise SourceLost(f'{self.identity} has delivered no sound for {STALL_S:.0f} s')
            if time.monotonic() >= deadline_s:
                return None
            time.sleep(POLL_S)
            self._waited_s += POLL_S
        samples, self._pending = self._pending[:BLOCK], self._pending[BLOCK:]
        behind_s = (len(self._pending) + BLOCK) / RATE
        captured_ns = time.monotonic_ns() - round(behind_s * 1e9)
        self._index += 1
        return SoundBlock(samples, captured_ns, self._index - 1)

    def close(self) -> None:
        """Close the device."""
        if not self._closed:
            self._closed = True
            self._pcm.close()


def open_alsa(uri: SourceUri) -> AlsaSource:
    """Open a microphone by its ALSA name."""
    try:
        alsa = importlib.import_module('alsaaudio')
    except ImportError:
        raise uri.error(
            'alsa:// needs the Python package pyalsaaudio: apt-get install python3-alsaaudio, or '
            'pip install pyalsaaudio'
        ) from None
    channels = uri.options.get('channels', 1)
    try:
        pcm = alsa.PCM(
            type=alsa.PCM_CAPTURE,
            mode=alsa.PCM_NONBLOCK,
            device=uri.path,
            rate=RATE,
            channels=channels,
            format=alsa.PCM_FORMAT_S16_LE,
            periodsize=BLOCK // 2,
        )
        rate = int(pcm.info().get('rate', RATE))
    except alsa.ALSAAudioError as error:
        raise uri.unavailable(f'{one_line(error)}; arecord -L lists the devices') from None
    if rate != RATE:
        pcm.close()
        raise uri.error(
            f'the device has {rate} Hz, not {RATE} Hz: use plughw, which resamples, as in '
            'alsa://plughw:1,0'
        )
    return AlsaSource(uri, pcm, alsa.ALSAAudioError, channels)
