# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Frame sources: addresses, pacing, windows, losing a device and finding it again."""

import errno
import itertools
import os
import re
import shutil
import socket
import threading
import time
from fractions import Fraction

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sage_perception.core.frame import Frame
from sage_perception.vision import sources
from sage_perception.vision.sources import (
    Connection,
    EndOfStream,
    FrameSource,
    ReconnectingSource,
    SourceError,
    SourceLost,
    SourceUnavailable,
    csi_pipeline,
    footage,
    open_source,
)
from sage_perception.vision.sources.live import LiveSource
from sage_perception.vision.sources.pacing import Timeline
from sage_perception.vision.sources.uri import OPTIONS, parse_uri
from sage_perception.vision.sources.v4l2 import (
    camera_trouble,
    capture_stamp,
    explain,
    stable_path,
)

NS = 1_000_000_000
LENGTH = 40  # frames of the video
VIDEO_FPS = 20


class FakeClock:
    """Time that passes only by waiting; the wall clock is any distance ahead."""

    def __init__(self, ahead_ns=1_700_000_000 * NS):
        self.now_ns = 5_000 * NS
        self.ahead_ns = ahead_ns

    def monotonic_ns(self):
        return self.now_ns

    def time_ns(self):
        return self.now_ns + self.ahead_ns

    def wait(self, event, seconds):
        self.pass_by(seconds)
        return event.is_set()

    def pass_by(self, seconds):
        self.now_ns += round(seconds * NS)


def numbered(number):
    """An image of 64x48 that shows `number` in 12 black or white squares."""
    bits = np.array([number >> place & 1 for place in range(12)], np.uint8).reshape(3, 4)
    return cv2.cvtColor(np.kron(bits * 255, np.ones((16, 16), np.uint8)), cv2.COLOR_GRAY2BGR)


def number_in(picture):
    """The number that an image of any size shows."""
    squares = cv2.resize(picture, (4, 3), interpolation=cv2.INTER_AREA)[..., 1].ravel() > 127
    return sum(1 << place for place, bit in enumerate(squares) if bit)


def write_video(path, length, fourcc='MJPG'):
    code = cv2.VideoWriter_fourcc(*fourcc)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, VIDEO_FPS, (64, 48))
    assert writer.isOpened()
    for number in range(length):
        writer.write(numbered(number))
    writer.release()
    return path


@pytest.fixture(scope='session')
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp('video') / 'numbers.avi', LENGTH)


@pytest.fixture(scope='session')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('images')
    for number in range(12):
        cv2.imwrite(str(path / f'img{number}.png'), numbered(number))
    (path / 'notes.txt').write_text('not an image')
    return path


def frames_until(source, ending, told=None):
    """What a source delivers until it ends with the exception `ending`."""
    frames = []

    def read_on():
        while True:
            frames.append(source.read(5.0))

    with pytest.raises(ending, match=told):
        read_on()
    return frames


def read_all(source):
    """The pairs of index and number shown that a source delivers before it is over."""
    with source:
        frames = frames_until(source, EndOfStream, 'over')
    return [(frame.index, number_in(frame.image)) for frame in frames]


def message_of(uri):
    with pytest.raises(SourceError) as caught:
        open_source(uri)
    return str(caught.value)


# Footage and its pacing


@pytest.mark.parametrize('written', ['file://{}?', '{}?'])
def test_a_video_is_played_to_its_end(video, written):
    source = open_source(written.format(video) + 'pace=fast&loop=false')
    assert (source.width, source.height, source.fps) == (64, 48, VIDEO_FPS)
    assert source.identity == f'file://{video}'
    assert read_all(source) == [(number, number) for number in range(LENGTH)]


def test_a_folder_is_played_in_natural_order(folder):
    source = open_source(f'images://{folder}?pace=fast&loop=false')
    assert (source.width, source.height, source.fps) == (64, 48, 10)
    assert read_all(source) == [(number, number) for number in range(12)]


@pytest.mark.parametrize(('scheme', 'length'), [('file', LENGTH), ('images', 12)])
def test_footage_loops(video, folder, scheme, length):
    path = {'file': video, 'images': folder}[scheme]
    with open_source(f'{scheme}://{path}?pace=fast') as source:
        frames = [source.read(1.0) for _ in range(2 * length + 3)]
    assert [frame.index for frame in frames] == list(range(2 * length + 3))
    assert [number_in(frame.image) for frame in frames] == [
        index % length for index in range(2 * length + 3)
    ]


def test_frames_are_bgr_bytes_stamped_on_the_monotonic_clock(video):
    before = time.monotonic_ns()
    with open_source(f'{video}?pace=fast') as source:
        frame = source.read(1.0)
    assert frame.image.dtype == np.uint8
    assert frame.image.shape == (48, 64, 3)
    assert frame.image.flags.c_contiguous
    assert before <= frame.captured_ns <= time.monotonic_ns()


def test_in_real_time_each_frame_comes_when_it_is_due(video):
    clock = FakeClock()
    with open_source(f'{video}?fps=30', clock=clock) as source:
        assert source.fps == 30
        start = clock.now_ns
        for number in range(2 * LENGTH):
            frame = source.read(1.0)
            assert number_in(frame.image) == number % LENGTH
            assert frame.index == number
            assert frame.captured_ns == start - (-number * NS // 30)
            assert clock.now_ns == frame.captured_ns


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(0, 3), min_size=1, max_size=10))
def test_a_late_reader_misses_frames_and_the_index_tells(video, pauses):
    clock = FakeClock()
    with open_source(f'{video}', clock=clock) as source:
        start = source.read(1.0).captured_ns
        for pause in pauses:
            clock.pass_by(pause)
            frame = source.read(1.0)
            assert number_in(frame.image) == frame.index % LENGTH
            assert frame.captured_ns == start + frame.index * NS // VIDEO_FPS
            assert 0 <= clock.now_ns - frame.captured_ns < NS / VIDEO_FPS


def test_a_reader_that_does_not_wait_long_enough_gets_nothing_yet(video):
    clock = FakeClock()
    with open_source(f'{video}?fps=2', clock=clock) as source:
        assert source.read(0.1).index == 0
        start = clock.now_ns
        assert [source.read(0.2), source.read(0.2)] == [None, None]
        assert clock.now_ns - start == 0.4 * NS
        frame = source.read(0.2)
        assert (frame.index, number_in(frame.image)) == (1, 1)
        assert frame.captured_ns - start == NS // 2


def test_closing_ends_a_read_that_waits(video):
    source = open_source(f'{video}?fps=0.1')
    source.read(1.0)
    threading.Timer(0.05, source.close).start()
    started = time.monotonic()
    with pytest.raises(EndOfStream, match='closed'):
        source.read(60.0)
    assert time.monotonic() - started < 5
    with pytest.raises(EndOfStream, match='closed'):
        source.read(0.0)
    source.close()


@settings(deadline=None)
@given(
    st.fractions(Fraction(1, 100), 1000, max_denominator=1001),
    st.integers(0, 2**61),
    st.booleans(),
)
def test_ticks_are_exact_however_long_the_clock_runs(rate, now_ns, locked):
    clock = FakeClock(ahead_ns=now_ns)
    timeline = Timeline(rate, clock, locked)
    tick = timeline.next_tick(None)
    assert tick == (int(clock.time_ns() * rate / NS) if locked else 0)
    # The next one is not there a nanosecond before it is due, and is there when it is.
    due_ns = timeline.due_ns(tick + 1)
    assert timeline.next_tick(tick) == tick + 1
    clock.now_ns = due_ns - 1
    assert timeline.next_tick(None) == tick
    clock.now_ns = due_ns
    assert timeline.next_tick(None) == tick + 1


# Locked to the wall clock


@pytest.mark.parametrize('kind', ['file', 'images', 'synthetic'])
def test_locked_sources_show_the_same_whenever_they_were_started(video, folder, kind):
    uri = {
        'file': f'file://{video}?fps=30',
        'images': f'images://{folder}?fps=30',
        'synthetic': 'synthetic://?fps=30&width=64&height=48&objects=1',
    }[kind] + '&lock=wall'
    clock = FakeClock()
    with open_source(uri, clock=clock) as one:
        one.read(1.0)
        clock.pass_by(7.77)
        with open_source(uri, clock=clock) as other:
            for pause in (0, 0.001, 0.033, 0.5, 3.0):
                clock.pass_by(pause)
                first = one.read(1.0)
                shown = clock.now_ns
                second = other.read(0.0)
                if second is None:  # `first` was late already; both go to the next
                    first, second = one.read(1.0), other.read(1.0)
                assert shown <= clock.now_ns
                assert first.captured_ns == second.captured_ns
                assert np.array_equal(first.image, second.image)


@pytest.mark.parametrize(('scheme', 'length'), [('file', LENGTH), ('images', 12)])
def test_the_wall_clock_tells_which_frame_is_shown(video, folder, scheme, length):
    path = {'file': video, 'images': folder}[scheme]
    clock = FakeClock(ahead_ns=1_234_567_890_123_456_789)
    with open_source(f'{scheme}://{path}?fps=30&lock=wall', clock=clock) as source:
        for pause in (0.0, 0.01, 0.4, 5.0, 0.0):
            clock.pass_by(pause)
            frame = source.read(1.0)
            assert number_in(frame.image) == clock.time_ns() * 30 // NS % length
            due_wall = frame.captured_ns + clock.ahead_ns
            assert due_wall * 30 // NS == clock.time_ns() * 30 // NS
            assert (due_wall - 1) * 30 // NS == clock.time_ns() * 30 // NS - 1


def test_a_wall_clock_that_is_set_is_followed(folder):
    clock = FakeClock()
    with open_source(f'images://{folder}?lock=wall', clock=clock) as source:
        indices = [source.read(1.0).index]
        for set_by_s in (3600, -7200, 1800):
            clock.ahead_ns += set_by_s * NS
            for _ in range(3):
                frame = source.read(1.0)
                indices.append(frame.index)
                assert number_in(frame.image) == clock.time_ns() * 10 // NS % 12
                assert 0 <= clock.now_ns - frame.captured_ns < NS / 10
    assert all(after > before for before, after in itertools.pairwise(indices))


def test_a_video_that_announces_too_many_frames_is_measured(video, tmp_path):
    cut = tmp_path / 'cut.avi'
    cut.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    there = len(read_all(open_source(f'{cut}?pace=fast&loop=false')))
    assert 0 < there < LENGTH
    clock = FakeClock()
    with open_source(f'{cut}?fps=10&lock=wall', clock=clock) as source:
        for _ in range(LENGTH):
            frame = source.read(1.0)
            # The last image of a file that was cut off may be damaged.
            shown = clock.time_ns() * 10 // NS % there
            assert shown == there - 1 or number_in(frame.image) == shown


def test_far_jumps_arrive_at_the_exact_frame(tmp_path):
    length = footage.SEEK_DISTANCE + 200
    # MPEG-4 has images that depend on others, unlike MJPEG.
    path = write_video(tmp_path / 'long.mp4', length, 'mp4v')
    clock = FakeClock()
    with open_source(f'{path}?lock=wall', clock=clock) as source:
        for pause in (0.0, 20.0, 0.0, 16.0, 21.5, 0.0):
            clock.pass_by(pause)
            shown = number_in(source.read(1.0).image)
            assert shown == clock.time_ns() * VIDEO_FPS // NS % length


# The synthetic world as a source


def test_a_synthetic_source_is_the_world_at_its_frame_rate():
    uri = 'synthetic://?seed=5&objects=2&width=160&height=120&fps=25&flicker=0.1&pace=fast'
    world = sources.footage.SyntheticWorld(seed=5, objects=2, width=160, height=120, flicker=0.1)
    with open_source(uri) as source:
        assert (source.width, source.height, source.fps) == (160, 120, 25)
        for index in range(3):
            frame = source.read(1.0)
            assert frame.index == index
            assert np.array_equal(frame.image, world.render(index / 25, index))


# Window, size, exposure


def view_of(options, picture, folder):
    cv2.imwrite(str(folder / '1.png'), picture)
    with open_source(f'images://{folder}?pace=fast&{options}') as source:
        image = source.read(1.0).image
    assert image.shape == (source.height, source.width, 3)
    assert image.flags.c_contiguous
    return image


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


def test_a_window_shows_a_part(noise, tmp_path):
    assert np.array_equal(view_of('roi=10,20,30,40', noise, tmp_path), noise[20:60, 10:40])


def test_a_window_is_cut_before_it_is_scaled(noise, tmp_path):
    image = view_of('size=32x16&roi=8,4,64,32', noise, tmp_path)
    expected = noise[4:36, 8:72].reshape(16, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(image - expected).max() <= 1


def test_gain_multiplies_and_saturates(noise, tmp_path):
    image = view_of('gain=1.5', noise, tmp_path)
    assert np.abs(image - np.minimum(noise * 1.5, 255)).max() <= 0.5
    assert image.max() == 255


def test_a_window_outside_the_image_is_refused(video):
    assert 'roi=60,0,16,16 is not allowed; it must lie inside the image of 64x48' in message_of(
        f'{video}?roi=60,0,16,16'
    )


def test_images_of_another_size_are_scaled_to_the_first(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), numbered(21))
    cv2.imwrite(str(tmp_path / 'b.png'), cv2.resize(numbered(42), (200, 90)))
    cv2.imwrite(str(tmp_path / 'c.png'), numbered(7)[..., 0])  # gray
    with open_source(f'images://{tmp_path}?pace=fast&loop=false') as source:
        frames = [source.read(1.0).image for _ in range(3)]
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 3
    assert [number_in(frame) for frame in frames] == [21, 42, 7]


@pytest.mark.parametrize('broken', [(0,), (2,), (1, 2), (3,)])
def test_what_is_no_image_is_passed_over_with_one_warning(broken, tmp_path, caplog):
    for number in range(4):
        if number in broken:
            (tmp_path / f'{number}.png').write_bytes(b'cut short')
        else:
            cv2.imwrite(str(tmp_path / f'{number}.png'), numbered(number))
    with ReconnectingSource(f'images://{tmp_path}?pace=fast') as source:
        frames = [source.read(1.0) for _ in range(8)]
        assert source.state == Connection(True)
    whole = [number for number in range(8) if number % 4 not in broken]
    expected = [next((n for n in whole if n >= i), whole[0] + 8) % 4 for i in range(8)]
    assert [number_in(frame.image) for frame in frames] == expected
    assert [frame.index for frame in frames] == list(range(8))
    assert sorted(record.args for record in caplog.records) == [
        (str(tmp_path / f'{number}.png'),) for number in broken
    ]


# Mistakes


@pytest.mark.parametrize(
    ('uri', 'told'),
    [
        ('http://camera/stream', 'unknown scheme http; use csi, file, images, rtsp, synthetic'),
        ('', 'takes a path'),
        ('file://video.avi', 'three slashes'),
        ('images://folder', 'images:///data/folder'),
        ('csi://front', 'csi://0'),
        ('rtsp:///stream', 'a host'),
        ('v4l2://video0', 'v4l2:///dev/video0'),
        ('synthetic://world', 'nothing but options'),
        ('synthetic://?sed=1', "unknown option 'sed'; use flicker, fps, gain"),
        ('synthetic://?seed', 'seed= is not allowed; it must be a whole number from 0'),
        ('synthetic://?seed=1&seed=2', 'seed is given twice'),
        ('synthetic://?fps=nan', 'fps=nan is not allowed; it must be a number from 0.01 to 1000'),
        ('synthetic://?size=640', 'size=640 is not allowed; it must be WIDTHxHEIGHT'),
        ('synthetic://?size=0x0', 'size=0x0 is not allowed'),
        ('synthetic://?roi=1,2,3', 'it must be X,Y,WIDTH,HEIGHT'),
        ('synthetic://?roi=-1,0,64,64', 'roi=-1,0,64,64 is not allowed'),
        ('synthetic://?pace=slow', 'pace=slow is not allowed; it must be realtime or fast'),
        ('synthetic://?lock=wall&pace=fast', 'drop pace=fast'),
        ('synthetic://?objects=64', 'objects=64 is not allowed: they find no room'),
        ('synthetic://?loop=true', "unknown option 'loop'"),
        ('file:///x.avi?loop=yes', 'loop=yes is not allowed; it must be true or false'),
        ('file:///nothing/here.avi', 'there is no file /nothing/here.avi'),
        ('nothing.avi?fps=30', 'there is no file'),
        ('images:///nothing/here', 'No such file'),
        ('/dev/null', 'camera /dev/null is not a Video4Linux device'),
        ('v4l2:///dev/v4l/by-id/none', '/dev/v4l/by-id/none is not there; plug it in'),
        ('file:///a%00b', 'control characters'),
        ('file:///a\nb', 'control characters'),
    ],
)
def test_a_mistake_is_told_in_one_line(uri, told):
    message = message_of(uri)
    assert told in message
    assert message.startswith('source ')
    assert '\n' not in message


def test_what_is_no_footage_is_refused(tmp_path):
    text = tmp_path / 'text.avi'
    text.write_text('not a video')
    assert 'cannot be decoded' in message_of(str(text))
    assert f'is a folder; for its images write images://{tmp_path}' in message_of(str(tmp_path))
    assert 'holds no images' in message_of(f'images://{tmp_path}')
    (tmp_path / '1.png').write_bytes(b'')
    assert '1.png cannot be decoded as an image, nor' in message_of(f'images://{tmp_path}')


def test_a_path_may_hold_any_character(video, tmp_path):
    odd = tmp_path / 'what? 100% #1 é.avi'
    shutil.copy(video, odd)
    written = str(odd).replace('%', '%25').replace('?', '%3F')
    with open_source(f'file://{written}?pace=fast') as source:
        assert number_in(source.read(1.0).image) == 0


def test_what_may_come_back_is_told_from_what_is_wrong_for_good():
    assert issubclass(SourceUnavailable, SourceError)
    for uri, kind in (
        ('/nothing.avi', SourceUnavailable),
        ('/dev/video99', SourceUnavailable),
        ('/nothing.avi?fps=x', SourceError),
    ):
        with pytest.raises(SourceError) as caught:
            open_source(uri)
        assert caught.type is kind


option_names = sorted({name for table in OPTIONS.values() for name in table})
odd_values = st.one_of(
    st.text(max_size=8),
    st.integers(-100, 100).map(str),
    st.sampled_from(['nan', 'inf', '1e400', '64x48', '0,0,32,32', 'wall', 'fast', 'true', '٣']),
)
odd_uris = st.one_of(
    st.text(max_size=30),
    st.builds(
        '{}{}?{}'.format,
        st.sampled_from([f'{scheme}://' for scheme in OPTIONS] + ['', '/dev/', 'ftp://']),
        st.one_of(st.just(''), st.text(max_size=10)),
        st.lists(st.builds('{}={}'.format, st.sampled_from(option_names), odd_values)).map(
            '&'.join
        ),
    ),
)


@settings(deadline=None, max_examples=200)
@example('file://\ud800')
@example('rtsp://[')
@example('/' + 'x' * 5000)
@given(odd_uris)
def test_an_odd_address_gives_a_source_or_a_source_error(uri):
    told = 'source '
    try:
        parsed = parse_uri(uri)
        # Do not talk to hosts and devices whose names came up by chance.
        if parsed.scheme != 'rtsp' and not parsed.path.startswith('/dev/'):
            open_source(uri).close()
    except SourceError as error:
        told = str(error)
    assert told.startswith('source ')


@pytest.mark.parametrize('scheme', OPTIONS)
def test_every_option_is_documented(scheme):
    rows = sources.__doc__.partition('Options follow')
    cell = re.search(rf'`{scheme}://.*?(?=\n`|\n=)', rows[0], re.DOTALL)[0]
    for name in OPTIONS[scheme]:
        everywhere = f'`{name}=' in rows[2]
        assert everywhere or re.search(rf'\b{name}\b', cell), name


# Cameras


def test_errors_of_a_camera_name_their_fix(tmp_path):
    assert 'usermod -aG video' in explain(errno.EACCES)
    assert 'fuser' in explain(errno.EBUSY)
    assert 'format=MJPG' in explain(errno.ENOSPC)
    assert 'plug it in' in explain(errno.ENOENT)
    assert os.strerror(errno.EMFILE) in explain(errno.EMFILE)
    assert explain(errno.ENOENT) == camera_trouble(str(tmp_path / 'video0'))
    (tmp_path / 'file').touch()
    assert camera_trouble(str(tmp_path / 'file')) == 'is not a Video4Linux device'


def test_a_camera_is_known_by_its_link(tmp_path):
    by_id, by_path = tmp_path / 'by-id', tmp_path / 'by-path'
    for number in range(3):
        (tmp_path / f'video{number}').touch()
    by_id.mkdir()
    by_path.mkdir()
    (by_id / 'usb-Maker_Model_0001-video-index0').symlink_to('../video0')
    (by_path / 'pci-usb-0:1-video-index0').symlink_to('../video0')
    (by_path / 'pci-usb-0:2-video-index0').symlink_to('../video1')
    folders = (str(by_id), str(by_path))

    def known(name):
        return stable_path(str(tmp_path / name), folders)

    assert known('video0') == str(by_id / 'usb-Maker_Model_0001-video-index0')
    assert known('video1') == str(by_path / 'pci-usb-0:2-video-index0')
    assert known('video2') == str(tmp_path / 'video2')
    gone = by_id / 'usb-Maker_Other_0002-video-index0'
    assert known(gone) == str(gone)
    uri = parse_uri('/dev/video0?fps=30&size=64x48')
    assert uri.at('/dev/v4l/by-id/a b') == 'v4l2:///dev/v4l/by-id/a%20b?fps=30&size=64x48'
    assert parse_uri(uri.at('/dev/v4l/by-id/a b')).path == '/dev/v4l/by-id/a b'


@given(st.floats() | st.floats(1e6 - 2000, 1e6 + 2000), st.just(1_000_000 * 10**6))
def test_a_capture_stamp_lies_in_the_last_second(driver_ms, now_ns):
    stamp = capture_stamp(driver_ms, now_ns)
    assert now_ns - NS < stamp <= now_ns
    if now_ns - NS < driver_ms * 1e6 <= now_ns:
        assert stamp == pytest.approx(driver_ms * 1e6, abs=1)
    else:
        assert stamp == now_ns


def test_the_csi_pipeline():
    assert csi_pipeline(1, width=1920, height=1080, fps=29.97, flip=2, wbmode=0, mode=3) == (
        'nvarguscamerasrc sensor-id=1 wbmode=0 sensor-mode=3 ! '
        'video/x-raw(memory:NVMM), width=1920, height=1080, format=NV12, framerate=2997/100 ! '
        'nvvidconv flip-method=2 ! video/x-raw, format=BGRx ! videoconvert ! '
        'video/x-raw, format=BGR ! appsink drop=1 max-buffers=1 sync=0'
    )
    assert 'sensor-mode' not in csi_pipeline(0)
    assert 'framerate=30/1' in csi_pipeline(0)


def test_without_gstreamer_a_csi_camera_says_so():
    if cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        pytest.skip('this OpenCV has GStreamer')
    assert 'need GStreamer' in message_of('csi://0?flip=2')


def test_a_live_source_keeps_the_newest_image_until_the_camera_ends(video):
    # A decoder stands in for the camera: it delivers faster than anyone reads.
    uri = parse_uri(f'{video}?size=128x96')
    with LiveSource(uri, cv2.VideoCapture(str(video)), 'camera', 'no image') as source:
        assert (source.width, source.height) == (128, 96)
        seen = frames_until(source, SourceLost, 'camera stopped delivering')
    assert all(number_in(frame.image) == frame.index for frame in seen)
    assert seen[-1].index == LENGTH - 1
    for before, after in itertools.pairwise(seen):
        assert before.index < after.index
        assert before.captured_ns < after.captured_ns <= time.monotonic_ns()


def test_a_camera_without_a_image_is_unavailable(video):
    capture = cv2.VideoCapture(str(video))
    while capture.grab():
        pass
    with pytest.raises(SourceUnavailable, match='no image'):
        LiveSource(parse_uri(str(video)), capture, 'camera', 'no image')
    assert not capture.isOpened()


# Network cameras


class RtspServer:
    """An RTSP camera on this host: sends an MPEG transport stream over TCP to one client."""

    def __init__(self, stream):
        self._packets = [stream[at : at + 7 * 188] for at in range(0, len(stream), 7 * 188)]
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.port = self._listener.getsockname()[1]
        self.requests = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        client, _ = self._listener.accept()
        self._listener.close()
        with client, client.makefile('rb') as lines:
            while True:
                request = [line.decode().strip() for line in iter(lines.readline, b'\r\n')]
                if not request:
                    return
                self.requests.append(request[0])
                method = request[0].split()[0]
                cseq = next(line for line in request if line.lower().startswith('cseq'))
                body = 'v=0\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:0\r\n'
                answer = {
                    'OPTIONS': 'Public: DESCRIBE, SETUP, PLAY\r\n\r\n',
                    'DESCRIBE': f'Content-Type: application/sdp\r\nContent-Length: {len(body)}'
                    f'\r\n\r\n{body}',
                    'SETUP': 'Session: 1\r\n'
                    'Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n',
                    'PLAY': 'Session: 1\r\n\r\n',
                }[method]
                client.sendall(f'RTSP/1.0 200 OK\r\n{cseq}\r\n{answer}'.encode())
                if method == 'PLAY':
                    break
            for number, packet in enumerate(self._packets):
                # RTP (RFC 3550) of payload type 33, interleaved (RFC 2326, 10.12) as channel 0.
                head = bytes([0x80, 33]) + number.to_bytes(2, 'big') + bytes(8)
                size = (len(head) + len(packet)).to_bytes(2, 'big')
                client.sendall(b'$\0' + size + head + packet)


def test_a_network_camera(tmp_path):
    stream = write_video(tmp_path / 'stream.ts', 200, 'mp4v').read_bytes()
    server = RtspServer(stream)
    uri = f'rtsp://eve:secret@127.0.0.1:{server.port}/live?channel=2&size=128x96&token=abc'
    with open_source(uri) as source:
        assert source.identity == f'rtsp://127.0.0.1:{server.port}/live?channel=2&token=***'
        assert source.uri == uri
        assert (source.width, source.height) == (128, 96)
        assert server.requests[0].split()[1].endswith('/live?channel=2&token=abc')
        frames = frames_until(source, SourceLost)
    assert {frame.image.shape for frame in frames} == {(96, 128, 3)}
    # No image is damaged, and those that were replaced by newer ones are counted.
    assert [number_in(frame.image) for frame in frames] == [frame.index for frame in frames]
    assert frames[-1].index > 190


def test_a_network_camera_that_does_not_answer_is_unavailable():
    with socket.create_server(('127.0.0.1', 0)) as reserved:
        port = reserved.getsockname()[1]
    with pytest.raises(SourceUnavailable, match='does not answer') as caught:
        open_source(f'rtsp://eve:secret@127.0.0.1:{port}/live')
    assert 'secret' not in str(caught.value)


# Losing a device, and finding it again


class FakeCamera(FrameSource):
    """Delivers `frames` frames, then is lost; keeps its identity."""

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
    """Opens what it was given in turn: a camera, or an error to raise."""

    def __init__(self, clock, *results):
        self._clock, self._results = clock, list(results)
        self.calls = []

    def __call__(self, uri):
        self.calls.append((self._clock.now_ns / NS, uri))
        result = self._results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result


GONE = SourceUnavailable('not there')


def test_a_lost_camera_is_looked_for_at_growing_intervals_until_it_is_back():
    clock, states = FakeClock(), []
    first, second = FakeCamera(), FakeCamera()
    opener = Opener(clock, first, *[GONE] * 7, second)
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
        *(Connection(False, 'not there', attempts) for attempts in range(1, 8)),
        Connection(True),
    ]
    assert source.state == states[-1]


def test_the_interval_starts_again_after_a_frame_but_not_after_mere_opening():
    clock = FakeClock()
    silent = [FakeCamera(frames=0) for _ in range(3)]
    opener = Opener(clock, *silent, FakeCamera(frames=1), FakeCamera(frames=1))
    source = ReconnectingSource('fake:', opener=opener, clock=clock)
    assert source.read(100.0) is not None
    assert source.read(100.0) is not None
    assert np.diff([at for at, _ in opener.calls]) == pytest.approx([0.5, 1, 2, 0.5])


def test_a_camera_that_is_not_there_at_first_is_waited_for():
    clock = FakeClock()
    opener = Opener(clock, GONE, GONE, FakeCamera())
    source = ReconnectingSource('fake:', opener=opener, clock=clock)
    assert source.state == Connection(False, 'not there')
    assert (source.identity, source.width) == ('', 0)
    assert source.read(0.4) is None
    assert len(opener.calls) == 1
    assert source.read(0.4) is None
    assert source.state == Connection(False, 'not there', 1)
    assert source.read(10.0).index == 0
    assert source.state == Connection(True)
    assert source.identity == 'fake://0'


def test_another_camera_is_not_taken_for_the_lost_one():
    clock = FakeClock()
    stranger = FakeCamera('fake://1')
    opener = Opener(clock, FakeCamera(frames=1), stranger, FakeCamera())
    source = ReconnectingSource('fake:', opener=opener, clock=clock)
    source.read(1.0)
    assert source.read(1.0) is None
    assert stranger.closed
    assert source.state.reason == 'fake://1 is there, but not fake://0'
    assert source.read(10.0).index == 1
    assert source.identity == 'fake://0'


def test_closing_ends_the_search_at_once():
    opener = Opener(FakeClock(), FakeCamera(frames=0))
    source = ReconnectingSource('fake:', opener=opener, backoff_s=(60.0, 60.0))
    threading.Timer(0.05, source.close).start()
    started = time.monotonic()
    with pytest.raises(EndOfStream, match='closed'):
        source.read(60.0)
    assert time.monotonic() - started < 5


def test_a_camera_that_comes_back_during_closing_is_let_go():
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


def test_a_wrong_address_is_not_retried(video):
    for uri in (f'{video}?fps=x', f'{video}?roi=0,0,100,100', 'http://x'):
        with pytest.raises(SourceError):
            ReconnectingSource(uri)


def test_a_file_that_is_removed_is_lost_and_found_again(video, tmp_path):
    path = tmp_path / 'video.avi'
    shutil.copy(video, path)
    clock, states = FakeClock(), []

    def opener(uri):
        return open_source(uri, clock=clock)

    with ReconnectingSource(str(path), states.append, opener=opener, clock=clock) as source:
        assert source.read(1.0).index == 0
        path.unlink()
        assert source.read(1.0) is None
        assert 'is gone' in states[1].reason
        assert source.read(1.0) is None
        assert 'there is no file' in source.state.reason
        shutil.copy(video, path)
        frame = source.read(10.0)
        assert (frame.index, number_in(frame.image)) == (1, 0)
        assert source.state == Connection(True)


def test_the_end_of_footage_is_not_a_loss(folder):
    with ReconnectingSource(f'images://{folder}?pace=fast&loop=false') as source:
        for index in range(12):
            assert source.read(1.0).index == index
        with pytest.raises(EndOfStream, match='over'):
            source.read(1.0)
        assert source.state.connected
