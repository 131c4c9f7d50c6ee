# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Reading a source in a background thread."""

import threading

from footage import LENGTH, number_in

from sage_perception.vision.sources import EndOfStream, open_source
from sage_perception.vision.sources.capture import CaptureThread

TIMEOUT_S = 30


def test_passes_every_frame_and_the_end(video):
    numbers, errors, ended = [], [], threading.Event()

    def on_end(error):
        errors.append(error)
        ended.set()

    with open_source(f'{video}?pace=fast&loop=false') as source:
        capture = CaptureThread(source, lambda frame: numbers.append(frame.index), on_end)
        capture.start()
        assert ended.wait(TIMEOUT_S)
        capture.stop()
    assert numbers == list(range(LENGTH))
    assert isinstance(errors[0], EndOfStream)
    assert capture.missed == 0


def test_counts_skipped_frames(video):
    shown, enough = [], threading.Event()

    def on_frame(frame):
        shown.append((frame.index, number_in(frame.image)))
        threading.Event().wait(0.12)  # slower than the 20 Hz of the video
        if len(shown) == 3:
            enough.set()

    with open_source(str(video)) as source:
        capture = CaptureThread(source, on_frame, lambda error: None)
        capture.start()
        assert enough.wait(TIMEOUT_S)
        capture.stop()
    assert capture.missed == shown[-1][0] - (len(shown) - 1) > 0
    assert all(index % LENGTH == number for index, number in shown)


def test_stop_is_not_reported_as_an_end(video):
    errors, first = [], threading.Event()
    with open_source(str(video)) as source:
        capture = CaptureThread(source, lambda frame: first.set(), errors.append)
        capture.start()
        assert first.wait(TIMEOUT_S)
        capture.stop()
        assert source.read(1.0) is not None
    assert errors == []


def test_reports_an_error_of_the_callback(video):
    errors, ended = [], threading.Event()

    def on_frame(frame):
        raise RuntimeError('cannot publish')

    def on_end(error):
        errors.append(str(error))
        ended.set()

    with open_source(str(video)) as source:
        capture = CaptureThread(source, on_frame, on_end)
        capture.start()
        assert ended.wait(TIMEOUT_S)
        capture.stop()
    assert errors == ['cannot publish']
