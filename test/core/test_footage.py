# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Video files, folders of images and the synthetic world as sources."""

import time

import cv2
import numpy as np
import pytest
from footage import LENGTH, NS, VIDEO_FPS, FakeClock, number_in, numbered, read_all, write_video

from sage_perception.vision.sources import Connection, ReconnectingSource, open_source
from sage_perception.vision.sources.video_file import SEEK_DISTANCE
from sage_perception.vision.synthetic import SyntheticWorld


@pytest.mark.parametrize('written', ['file://{}?', '{}?'])
def test_plays_video_to_its_end(video, written):
    source = open_source(written.format(video) + 'pace=fast&loop=false')
    assert (source.width, source.height, source.fps) == (64, 48, VIDEO_FPS)
    assert source.identity == f'file://{video}'
    assert read_all(source) == [(number, number) for number in range(LENGTH)]


def test_plays_folder_in_natural_order(folder):
    source = open_source(f'images://{folder}?pace=fast&loop=false')
    assert (source.width, source.height, source.fps) == (64, 48, 10)
    assert read_all(source) == [(number, number) for number in range(12)]


@pytest.mark.parametrize(('scheme', 'length'), [('file', LENGTH), ('images', 12)])
def test_footage_loops_by_default(video, folder, scheme, length):
    path = {'file': video, 'images': folder}[scheme]
    with open_source(f'{scheme}://{path}?pace=fast') as source:
        frames = [source.read(1.0) for _ in range(2 * length + 3)]
    assert [frame.index for frame in frames] == list(range(2 * length + 3))
    assert [number_in(frame.image) for frame in frames] == [
        index % length for index in range(2 * length + 3)
    ]


def test_frames_are_bgr_with_monotonic_stamps(video):
    before = time.monotonic_ns()
    with open_source(f'{video}?pace=fast') as source:
        frame = source.read(1.0)
    assert frame.image.dtype == np.uint8
    assert frame.image.shape == (48, 64, 3)
    assert frame.image.flags.c_contiguous
    assert before <= frame.captured_ns <= time.monotonic_ns()


def test_measures_the_length_of_a_truncated_video(video, tmp_path):
    cut = tmp_path / 'cut.avi'
    cut.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    length = len(read_all(open_source(f'{cut}?pace=fast&loop=false')))
    assert 0 < length < LENGTH
    clock = FakeClock()
    with open_source(f'{cut}?fps=10&lock=wall', clock=clock) as source:
        for _ in range(LENGTH):
            frame = source.read(1.0)
            # The last image of a truncated file may be damaged.
            shown = clock.time_ns() * 10 // NS % length
            assert shown == length - 1 or number_in(frame.image) == shown


def test_seeks_to_the_exact_frame(tmp_path):
    length = SEEK_DISTANCE + 200
    # MPEG-4 has frames that depend on others, unlike MJPEG.
    path = write_video(tmp_path / 'long.mp4', length, 'mp4v')
    clock = FakeClock()
    with open_source(f'{path}?lock=wall', clock=clock) as source:
        for pause in (0.0, 20.0, 0.0, 16.0, 21.5, 0.0):
            clock.advance(pause)
            shown = number_in(source.read(1.0).image)
            assert shown == clock.time_ns() * VIDEO_FPS // NS % length


def test_synthetic_source_samples_the_world_at_its_frame_rate():
    uri = 'synthetic://?seed=5&objects=2&width=160&height=120&fps=25&flicker=0.1&pace=fast'
    world = SyntheticWorld(seed=5, objects=2, width=160, height=120, flicker=0.1)
    with open_source(uri) as source:
        assert (source.width, source.height, source.fps) == (160, 120, 25)
        for index in range(3):
            frame = source.read(1.0)
            assert frame.index == index
            assert np.array_equal(frame.image, world.render(index / 25, index))


@pytest.mark.parametrize('broken', [(0,), (2,), (1, 2), (3,)])
def test_skips_undecodable_file_with_one_warning(broken, tmp_path, caplog):
    for number in range(4):
        if number in broken:
            (tmp_path / f'{number}.png').write_bytes(b'truncated')
        else:
            cv2.imwrite(str(tmp_path / f'{number}.png'), numbered(number))
    with ReconnectingSource(f'images://{tmp_path}?pace=fast') as source:
        frames = [source.read(1.0) for _ in range(8)]
        assert source.state == Connection(True)
    intact = [number for number in range(8) if number % 4 not in broken]
    expected = [next((n for n in intact if n >= i), intact[0] + 8) % 4 for i in range(8)]
    assert [number_in(frame.image) for frame in frames] == expected
    assert [frame.index for frame in frames] == list(range(8))
    assert sorted(record.args[0] for record in caplog.records) == [
        str(tmp_path / f'{number}.png') for number in broken
    ]


def test_images_of_other_sizes_are_letterboxed(tmp_path, caplog):
    cv2.imwrite(str(tmp_path / '0.png'), np.full((60, 80, 3), 200, np.uint8))
    cv2.imwrite(str(tmp_path / '1.png'), np.full((100, 50, 3), 200, np.uint8))
    cv2.imwrite(str(tmp_path / '2.png'), np.full((30, 120, 3), 200, np.uint8))
    with open_source(f'images://{tmp_path}?pace=fast') as source:
        first, tall, wide = (source.read(1.0).image for _ in range(3))
    assert first.shape == tall.shape == wide.shape == (60, 80, 3)
    columns, rows = np.flatnonzero(tall[30, :, 0]), np.flatnonzero(wide[:, 40, 0])
    assert (columns[0], columns[-1]) == (25, 54)  # 30 of 80 columns, as 50 of 100
    assert (rows[0], rows[-1]) == (20, 39)
    assert len(caplog.records) == 1


def test_deep_and_transparent_images_of_a_folder(tmp_path):
    bright = np.full((20, 20), 4000, np.uint16)
    bright[0] = 40
    cv2.imwrite(str(tmp_path / '0.png'), bright)
    cv2.imwrite(str(tmp_path / '1.png'), bright // 10)
    hidden = np.zeros((20, 20, 4), np.uint8)
    hidden[..., 2] = 255  # red, but transparent
    cv2.imwrite(str(tmp_path / '2.png'), hidden)
    with open_source(f'images://{tmp_path}?pace=fast') as source:
        levels = [source.read(1.0).image[10, 10].tolist() for _ in range(3)]
    assert levels == [[249] * 3, [25] * 3, [128] * 3]


def test_hidden_files_of_a_folder_are_left_out(tmp_path, caplog):
    cv2.imwrite(str(tmp_path / 'p0.jpg'), numbered(7))
    (tmp_path / '._p0.jpg').write_bytes(b'\0\5\x16\7\0\2\0\0Mac OS X')
    with open_source(f'images://{tmp_path}?pace=fast') as source:
        assert [number_in(source.read(1.0).image) for _ in range(3)] == [7, 7, 7]
    assert [record.args for record in caplog.records] == [(str(tmp_path), 1)]
