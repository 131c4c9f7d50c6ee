# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Losing a device and reconnecting to it."""

import shutil
import threading
import time

import numpy as np
import pytest
from footage import NS, FakeClock, number_in

from sage_perception.core.frame import Frame
from sage_perception.vision.sources import (
    Connection,
    EndOfStream,
    FrameSource,
    ReconnectingSource,
    SourceError,
    SourceLost,
    SourceUnavailable,
    open_source,
)


class FakeCamera(FrameSource):
    """A camera that delivers `frames` frames and is then lost."""

    def __init__(self, identity='fake://0', frames=2):
        self.identity, self.uri = identity, identity
        self.width, self.height, self.fps = 64, 48, 30.0
        self._left = frames
        self._index = -1
        self.closed = False

    def read(self, timeout_s):
        if not self._left:
            raise SourceLost('unplugged')
        self._left -= 1
        self._index += 1
        return Frame(np.zeros((48, 64, 3), np.uint8), 0, self._index)

    def close(self):
        self.closed = True


class Opener:
    """Returns the given cameras in turn, or raises the given errors."""

    def __init__(self, clock, *results):
        self._clock, self._results = clock, list(results)
        self.calls = []

    def __call__(self, uri):
        self.calls.append((self._clock.now_ns / NS, uri))
        result = self._results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result


MISSING = SourceUnavailable('missing')


def test_reconnects_with_growing_intervals():
    clock, states = FakeClock(), []
    first, second = FakeCamera(), FakeCamera()
    opener = Opener(clock, first, *[MISSING] * 7, second)
    source = ReconnectingSource('fake:', states.append, opener=opener, clock=clock)
    assert (source.identity, source.width, source.height) == ('fake://0', 64, 48)
    frames = [source.read(100.0) for _ in range(4)]
    assert first.closed
    assert not second.closed
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    times = [at for at, _ in opener.calls]
    assert np.diff(times[1:]) == pytest.approx([1, 2, 4, 8, 8, 8, 8])
    assert times[1] - times[0] == pytest.approx(0.5)
    assert [uri for _, uri in opener.calls] == ['fake:'] + ['fake://0'] * 8
    assert states == [
        Connection(True),
        Connection(False, 'unplugged'),
        *(Connection(False, 'missing', attempts) for attempts in range(1, 8)),
        Connection(True),
    ]
    assert source.state == states[-1]


def test_interval_restarts_after_a_frame_not_after_opening():
    clock = FakeClock()
    silent = [FakeCamera(frames=0) for _ in range(3)]
    opener = Opener(clock, *silent, FakeCamera(frames=1), FakeCamera(frames=1))
    source = ReconnectingSource('fake:', opener=opener, clock=clock)
    assert source.read(100.0) is not None
    assert source.read(100.0) is not None
    assert np.diff([at for at, _ in opener.calls]) == pytest.approx([0.5, 1, 2, 0.5])


def test_waits_for_a_camera_that_is_missing_at_first():
    clock = FakeClock()
    opener = Opener(clock, MISSING, MISSING, FakeCamera())
    source = ReconnectingSource('fake:', opener=opener, clock=clock)
    assert source.state == Connection(False, 'missing')
    assert (source.identity, source.width) == ('', 0)
    assert source.read(0.4) is None
    assert len(opener.calls) == 1
    assert source.read(0.4) is None
    assert source.state == Connection(False, 'missing', 1)
    assert source.read(10.0).index == 0
    assert source.state == Connection(True)
    assert source.identity == 'fake://0'


def test_does_not_replace_the_lost_camera_by_another():
    clock = FakeClock()
    other = FakeCamera('fake://1')
    opener = Opener(clock, FakeCamera(frames=1), other, FakeCamera())
    source = ReconnectingSource('fake:', opener=opener, clock=clock)
    source.read(1.0)
    assert source.read(1.0) is None
    assert other.closed
    assert source.state.reason == 'found fake://1 instead of fake://0'
    assert source.read(10.0).index == 1
    assert source.identity == 'fake://0'


def test_close_interrupts_reconnection():
    opener = Opener(FakeClock(), FakeCamera(frames=0))
    source = ReconnectingSource('fake:', opener=opener, backoff_s=(60.0, 60.0))
    threading.Timer(0.05, source.close).start()
    started = time.monotonic()
    with pytest.raises(EndOfStream, match='closed'):
        source.read(60.0)
    assert time.monotonic() - started < 5


def test_releases_a_camera_that_reconnects_during_close():
    clock = FakeClock()
    late = FakeCamera()

    class CloseWhileOpening(Opener):
        def __call__(self, uri):
            if self.calls:
                source.close()
            return super().__call__(uri)

    opener = CloseWhileOpening(clock, FakeCamera(frames=0), late)
    source = ReconnectingSource('fake:', opener=opener, clock=clock)
    source.read(1.0)
    assert late.closed


def test_does_not_retry_an_invalid_uri(video):
    for uri in (f'{video}?fps=x', f'{video}?roi=0,0,100,100', 'http://x'):
        with pytest.raises(SourceError):
            ReconnectingSource(uri)


def test_reconnects_to_a_file_that_was_removed(video, tmp_path):
    path = tmp_path / 'video.avi'
    shutil.copy(video, path)
    clock, states = FakeClock(), []

    def opener(uri):
        return open_source(uri, clock=clock)

    with ReconnectingSource(str(path), states.append, opener=opener, clock=clock) as source:
        assert source.read(1.0).index == 0
        path.unlink()
        assert source.read(1.0) is None
        assert 'no longer exists' in states[1].reason
        assert source.read(1.0) is None
        assert 'does not exist' in source.state.reason
        shutil.copy(video, path)
        frame = source.read(10.0)
        assert (frame.index, number_in(frame.image)) == (1, 0)
        assert source.state == Connection(True)


def test_end_of_footage_is_not_a_loss(folder):
    with ReconnectingSource(f'images://{folder}?pace=fast&loop=false') as source:
        for index in range(12):
            assert source.read(1.0).index == index
        with pytest.raises(EndOfStream, match='has ended'):
            source.read(1.0)
        assert source.state.connected
