# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Playback of recorded and computed sound."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import numpy as np

from sage_perception.audio.mel import RATE
from sage_perception.audio.sources.base import BLOCK, SoundBlock, SoundSource
from sage_perception.audio.synthetic import synthetic_sound
from sage_perception.audio.wave_file import MAX_SECONDS, WaveError, read_wave
from sage_perception.core.text import natural_key
from sage_perception.vision.sources.base import EndOfStream
from sage_perception.vision.sources.pacing import NS, SystemClock
from sage_perception.vision.sources.uri import SourceUri

LOG = logging.getLogger(__name__)
MAX_LATE_NS = NS
"""A reader that is later than this skips blocks, ns."""
MAX_FILES = 2_000
BLOCK_NS = BLOCK * NS // RATE


class RecordedSound(SoundSource):
    """Plays samples `[N, C]` as a microphone would deliver them."""

    def __init__(
        self, uri: SourceUri, samples: np.ndarray, identity: str, clock: SystemClock
    ) -> None:
        self.identity, self.uri, self.channels = identity, uri.text, samples.shape[1]
        self._samples, self._clock = samples, clock
        self._blocks = -(-len(samples) // BLOCK)
        self._loop = uri.options.get('loop', True)
        self._fast = uri.options.get('pace') == 'fast'
        self._closed = threading.Event()
        self._index = 0
        self._start_ns: int | None = None

    def read(self, timeout_s: float) -> SoundBlock | None:
        """Wait until the next block has been played and return it."""
        if self._closed.is_set():
            raise EndOfStream(f'{self.identity} is closed')
        captured_ns = now_ns = self._clock.monotonic_ns()
        if self._start_ns is None:
            self._start_ns = now_ns
        if not self._fast:
            late_ns = now_ns - (self._start_ns + (self._index + 1) * BLOCK_NS)
            if late_ns > MAX_LATE_NS:
                self._index += late_ns // BLOCK_NS
        if self._index >= self._blocks and not self._loop:
            raise EndOfStream(f'{self.identity} has ended')
        if not self._fast:
            captured_ns = self._start_ns + self._index * BLOCK_NS
            wait_s = (captured_ns + BLOCK_NS - now_ns) / NS
            if self._clock.wait(self._closed, min(max(wait_s, 0), timeout_s)):
                raise EndOfStream(f'{self.identity} is closed')
            if wait_s > timeout_s:
                return None
        block = SoundBlock(self._block(self._index % self._blocks), captured_ns, self._index)
        self._index += 1
        return block

    def close(self) -> None:
        """End the playback."""
        self._closed.set()

    def _block(self, number: int) -> np.ndarray:
        part = self._samples[number * BLOCK : (number + 1) * BLOCK]
        return np.pad(part, ((0, BLOCK - len(part)), (0, 0)))


def open_file(uri: SourceUri, clock: SystemClock) -> RecordedSound:
    """Open a WAV file."""
    path = Path(os.path.abspath(uri.path))
    try:
        samples = read_wave(path)
    except WaveError as error:
        raise uri.error(str(error)) from None
    except OSError as error:
        raise uri.unavailable(f'{path} cannot be read: {error.strerror or error}') from None
    return RecordedSound(uri, samples, f'file://{path}', clock)


def open_sounds(uri: SourceUri, clock: SystemClock) -> RecordedSound:
    """Open a folder of WAV files: one after the other, in the natural order of their names."""
    folder = Path(os.path.abspath(uri.path))
    try:
        waves = [file for file in folder.iterdir() if _is_wave(file)]
    except OSError as error:
        raise uri.unavailable(f'{folder} is not readable: {error.strerror}') from None
    if not waves:
        raise uri.unavailable(f'{folder} has no WAV files')
    if len(waves) > MAX_FILES:
        LOG.warning('%s has %d WAV files; the first %d are played', folder, len(waves), MAX_FILES)
    files = sorted(waves, key=lambda file: natural_key(file.name))[:MAX_FILES]
    pieces: list[np.ndarray] = []
    try:
        for file in files:
            pieces.append(read_wave(file))
            if sum(map(len, pieces)) > MAX_SECONDS * RATE:
                raise uri.error(
                    f'{folder} has more than {MAX_SECONDS} s of sound: use fewer files'
                )
    except WaveError as error:
        raise uri.error(str(error)) from None
    except OSError as error:
        raise uri.unavailable(f'{file} cannot be read: {error.strerror or error}') from None
    channels = min(piece.shape[1] for piece in pieces)
    gap = np.zeros((round(uri.options.get('gap', 0.5) * RATE), channels), np.float32)
    joined = [part for piece in pieces for part in (gap, piece[:, :channels])]
    return RecordedSound(uri, np.concatenate([*joined, gap]), f'sounds://{folder}', clock)


def open_synthetic(uri: SourceUri, clock: SystemClock) -> RecordedSound:
    """Open generated sound."""
    names = ('content', 'seed', 'channels', 'bearing', 'snr')
    chosen = {name: uri.options[name] for name in names if name in uri.options}
    identity = 'synthetic://' + ','.join(f'{name}={value}' for name, value in chosen.items())
    return RecordedSound(uri, synthetic_sound(**chosen), identity, clock)


def _is_wave(path: Path) -> bool:
    return path.suffix.lower() == '.wav' and not path.name.startswith('.') and path.is_file()
