# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Video files of others: variable frame rates, implausible headers, damage."""

import struct
import time

import cv2
import numpy as np
import pytest
from damage import damaged
from footage import LENGTH, NS, VIDEO_FPS, FakeClock, number_in, write_video

from sage_perception.vision.sources import EndOfStream, SourceError, SourceLost, open_source
from sage_perception.vision.sources.pacing import EndOfFootage
from sage_perception.vision.sources.video_file import VideoFile, clip_frames

FAST_FROM, FASTER = 20, 4


def variable(path):
    """Write an MP4 whose frames from `FAST_FROM` on last a quarter of the time."""
    data = write_video(path, LENGTH, 'mp4v').read_bytes()
    moov = data.index(b'moov') - 4
    head, data = data[:moov], bytearray(data[moov:])
    place = data.index(b'stts')
    count, delta = struct.unpack_from('>II', data, place + 12)
    assert count == LENGTH
    assert delta % FASTER == 0
    fast = LENGTH - FAST_FROM, delta // FASTER
    rows = struct.pack('>IIIII', 2, FAST_FROM, delta, *fast)
    data[place + 8 : place + 20] = rows
    for kind in (b'moov', b'trak', b'mdia', b'minf', b'stbl', b'stts'):
        start = data.index(kind) - 4
        (size,) = struct.unpack_from('>I', data, start)
        struct.pack_into('>I', data, start, size + 8)
    path.write_bytes(head + data)
    return path


def variable_times():
    """Return the times of the frames of `variable`, seconds."""
    return [
        (min(n, FAST_FROM) + max(n - FAST_FROM, 0) / FASTER) / VIDEO_FPS for n in range(LENGTH)
    ]


def claiming_1000_fps(path):
    """Write a Matroska file (as WebM is) whose header claims 1000 Hz."""
    data = write_video(path, LENGTH, 'MJPG').read_bytes()
    before = b'\x23\xe3\x83\x84' + struct.pack('>I', NS // VIDEO_FPS)
    assert data.count(before) == 1
    path.write_bytes(data.replace(before, b'\x23\xe3\x83\x84' + struct.pack('>I', NS // 1000)))
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS) == pytest.approx(1000)
    return path


def with_dead_frames(path, *dead):
    """Write an AVI of which some frames have no content, as after a fault of the cable."""
    data = bytearray(write_video(path, LENGTH).read_bytes())
    place = data.index(b'movi')
    for number in range(LENGTH):
        place = data.index(b'00dc', place)
        (size,) = struct.unpack_from('<I', data, place + 4)
        if number in dead:
            data[place + 8 : place + 8 + size] = bytes(size)
        place += 8 + size
    path.write_bytes(data)
    return path


def images_of(video):
    """Return the numbers and the times of all images."""
    numbers, times = [], []
    try:
        for position in range(LENGTH + 1):
            numbers.append(number_in(video.image(position)))
            times.append(video.time_s(position))
    except EndOfFootage:
        return numbers, times
    raise AssertionError('the video has more images than were written')


def play(source, timeout_s, pause=lambda: None):
    """Return the frames of a source until its end; `pause` is called after each one."""
    frames = []
    try:
        while True:
            frame = source.read(timeout_s)
            if frame is not None:
                frames.append(frame)
                pause()
    except EndOfStream:
        return frames


def test_frames_have_the_times_of_the_file(tmp_path):
    video = VideoFile(str(variable(tmp_path / 'variable.mp4')))
    numbers, times = images_of(video)
    assert numbers == list(range(LENGTH))
    assert times == pytest.approx(variable_times(), abs=1e-3)
    assert video.duration_s == pytest.approx(
        variable_times()[-1] + 1 / FASTER / VIDEO_FPS, abs=1e-3
    )


def test_playback_follows_the_times_of_the_file_and_loops(tmp_path):
    path = variable(tmp_path / 'variable.mp4')
    clock = FakeClock()
    start_ns = clock.now_ns
    duration_s = variable_times()[-1] + 1 / FASTER / VIDEO_FPS
    with open_source(str(path), clock=clock) as source:
        for index in range(2 * LENGTH):
            frame = source.read(1.0)
            lap, number = divmod(index, LENGTH)
            assert (number_in(frame.image), frame.index) == (number, index)
            due_s = lap * duration_s + variable_times()[number]
            assert (frame.captured_ns - start_ns) / NS == pytest.approx(due_s, abs=2e-3)


def test_slow_reader_skips_frames_of_a_variable_rate(tmp_path):
    path = variable(tmp_path / 'variable.mp4')
    clock = FakeClock()
    with open_source(f'{path}?loop=false', clock=clock) as source:
        frames = play(source, 1.0, lambda: clock.advance(0.05))
    shown = [number_in(frame.image) for frame in frames]
    assert shown == [frame.index for frame in frames]
    assert shown[:FAST_FROM] == list(range(FAST_FROM))  # each 50 ms, read every 50 ms
    assert 3 <= len(shown[FAST_FROM:]) <= 7  # each 12.5 ms


def test_reading_with_short_timeouts_skips_nothing(tmp_path):
    path = variable(tmp_path / 'variable.mp4')
    clock = FakeClock()
    with open_source(f'{path}?loop=false', clock=clock) as source:
        frames = play(source, 0.007)
    assert [number_in(frame.image) for frame in frames] == list(range(LENGTH))


def test_decoding_that_is_too_slow_delivers_frames(tmp_path, monkeypatch):
    path = write_video(tmp_path / 'video.avi', LENGTH)
    clock = FakeClock()
    grab = VideoFile._grab

    def slow_grab(self):
        clock.advance(2 / VIDEO_FPS)
        return grab(self)

    monkeypatch.setattr(VideoFile, '_grab', slow_grab)
    with open_source(str(path), clock=clock) as source:
        assert all(source.read(1.0) for _ in range(3))


def test_implausible_frame_rate_is_measured(tmp_path):
    path = claiming_1000_fps(tmp_path / 'video.mkv')
    video = VideoFile(str(path))
    assert video.fps == pytest.approx(VIDEO_FPS, rel=0.01)
    clock = FakeClock()
    start_ns = clock.now_ns
    with open_source(str(path), clock=clock) as source:
        assert source.fps == video.fps
        for index in range(LENGTH):
            frame = source.read(1.0)
            assert (frame.captured_ns - start_ns) / NS == pytest.approx(
                index / VIDEO_FPS, abs=2e-3
            )


@pytest.mark.parametrize('dead', [(5,), (0,), (5, 6, 20), tuple(range(3, 20))])
def test_dead_frames_are_passed_over_and_counted(tmp_path, dead, caplog):
    path = with_dead_frames(tmp_path / 'dead.avi', *dead)
    video = VideoFile(str(path))
    numbers, times = images_of(video)
    expected = [number for number in range(LENGTH) if number not in dead]
    assert numbers == expected
    first = expected[0] / VIDEO_FPS
    assert times == pytest.approx([n / VIDEO_FPS - first for n in expected], abs=1e-3)
    assert video.undecodable == len(dead)
    assert [record.args for record in caplog.records] == [(str(path),)]
    with open_source(f'{path}?pace=fast') as source:  # loops over all of it
        shown = [number_in(source.read(1.0).image) for _ in range(2 * len(expected))]
    assert shown == 2 * expected
    stamps = [stamp_s for _, stamp_s in clip_frames(path)]
    assert stamps == times


@pytest.mark.parametrize(
    ('name', 'data', 'reason'),
    [
        ('empty.mp4', b'', 'cannot be decoded'),
        ('text.avi', b'text' * 99, 'cannot be decoded'),
        ('header.avi', None, 'contains no image|cannot be decoded'),
    ],
)
def test_files_without_images_are_refused_in_one_line(tmp_path, name, data, reason, capfd):
    path = tmp_path / name
    path.write_bytes(write_video(path, 3).read_bytes()[:300] if data is None else data)
    with pytest.raises(SourceError, match=reason) as error:
        open_source(str(path))
    assert '\n' not in str(error.value)
    with pytest.raises(ValueError, match=name):
        list(clip_frames(path))


@pytest.mark.parametrize(
    ('suffix', 'fourcc'), [('.avi', 'MJPG'), ('.mp4', 'mp4v'), ('.mkv', 'MJPG')]
)
def test_mutated_files_play_or_are_lost(tmp_path, suffix, fourcc):
    """Random damage for two seconds, with seeds that are named on failure."""
    path = write_video(tmp_path / f'video{suffix}', LENGTH, fourcc)
    whole = path.read_bytes()
    until, seed = time.monotonic() + 2, 0
    while time.monotonic() < until:
        path.write_bytes(damaged(whole, seed, cut=0.3))
        last_s = -1.0
        try:
            video = VideoFile(str(path))
            for position in range(3 * LENGTH):
                image = video.image(position)
                assert image.dtype == np.uint8, seed
                assert image.shape[2] == 3, seed
                assert video.time_s(position) > last_s, seed
                last_s = video.time_s(position)
        except (EndOfFootage, SourceLost):
            pass
        seed += 1
    assert seed > 3
