# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Cue volumes, fusion of camera maps, and `sage zspace`."""

import cv2
import numpy as np
import pytest

from sage_perception.cli import main as sage
from sage_perception.pipeline.camera_maps import CameraMaps, fused_maps
from sage_perception.pipeline.cue_volume import CUES, HEIGHT, WIDTH, CueProjector
from sage_perception.vision.synthetic import SyntheticWorld
from sage_perception.zspace import find_peaks


def frames(count, size=(320, 240)):
    """Yield images of a world with one object, and its center in cells of the map."""
    world = SyntheticWorld(4, *size, objects=1)
    for index in range(count):
        t = index / 10
        x, y = world.truth(t)[0].roi.center
        yield world.render(t, index), (x * WIDTH / size[0], y * HEIGHT / size[1])


def test_map_peaks_at_the_moving_object():
    projector, distances = CueProjector(), []
    for index, (image, place) in enumerate(frames(25)):
        cue = projector.update(image, index / 10)
        assert cue.volume.shape == (len(CUES), HEIGHT, WIDTH)
        assert cue.weights.sum() == pytest.approx(1)
        assert 0 <= cue.projection.min() <= cue.projection.max() <= 1
        if index > 10:
            peak = find_peaks(cue.projection, 1)[0]
            distances.append(np.hypot(peak.x - place[0], peak.y - place[1]))
    # The side of the object is about 20 cells.
    assert np.median(distances) < 10


def test_a_covered_camera_hands_its_weight_over():
    maps, weights, raw = CameraMaps(['cam0', 'cam1']), [], []
    for index, (image, _) in enumerate(frames(30)):
        second = np.full_like(image, 8) if index >= 10 else image
        found = maps.update([image, second], [index / 10] * 2)
        weights.append(found.weights)
        raw.append(found.raw)
        assert found.fused.shape == (HEIGHT, WIDTH)
    assert weights[8] == pytest.approx([0.5, 0.5])
    assert weights[-1][0] > 0.9
    assert found.disagreement > 0.1
    steps = [np.abs(np.diff(each, axis=0)).max() for each in (weights, raw)]
    assert steps[0] < 0.5 * steps[1]


@pytest.mark.parametrize('ahead_s', [0.0, 3600.0])
def test_a_camera_whose_stamps_stand_still_hands_its_weight_over(ahead_s):
    maps = CameraMaps(['cam0', 'cam1'])
    for index, (image, _) in enumerate(frames(20)):
        found = maps.update([image, image], [ahead_s + min(index, 8) / 10, index / 10])
    assert found.weights[1] > 0.9


def test_the_time_constant_of_the_weights_does_not_depend_on_the_rate():
    fractions = []
    for rate in (10, 30):
        maps = CameraMaps(['cam0', 'cam1'], weight_time_s=0.5)
        world = SyntheticWorld(4, 160, 120, objects=1)
        weights, raw = [], []
        for index in range(2 * rate):
            image = world.render(index / rate, index)
            second = np.full_like(image, 8) if index >= rate else image
            found = maps.update([image, second], [index / rate] * 2)
            weights.append(found.weights[1])
            raw.append(found.raw[1])
        start = next(n for n, value in enumerate(raw) if value < 0.4) - 1
        rest = (weights[start + rate // 2] - raw[-1]) / (weights[start] - raw[-1])
        fractions.append(rest)
    assert fractions == pytest.approx([np.exp(-1)] * 2, rel=0.05)


@pytest.fixture
def video(tmp_path):
    path = tmp_path / 'a clip.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10, (320, 240))
    for image, _ in frames(6):
        writer.write(image)
    writer.release()
    return path


def test_command_draws_videos_and_other_sources(video, tmp_path, capsys):
    figure = tmp_path / 'maps.png'
    world = 'synthetic://?seed=1&width=320&height=240'
    assert sage.main(['zspace', str(video), world, '-o', str(figure), '--frames', '9']) == 0
    assert '6 frames of 2 cameras' in capsys.readouterr().out
    image = cv2.imread(str(figure))
    assert image.shape[1] > 600
    assert image.std() > 20


def test_sources_are_read_in_step(video):
    moments = list(fused_maps([f'file://{video}?pace=fast&loop=false'.replace(' ', '%20')], 4))
    assert [round(moment.stamp_s, 6) for moment in moments] == [0, 0.1, 0.2, 0.3]
    assert moments[0].weights == pytest.approx([1])
    assert moments[0].disagreement == 0


def test_errors_are_one_line(tmp_path, capsys):
    for arguments, named in (
        (['nothing.avi', '-o', str(tmp_path / 'a.png')], 'nothing.avi'),
        (['nothing.avi', '-o', str(tmp_path / 'a.xyz')], 'Matplotlib'),
        (['carrier://x', '-o', str(tmp_path / 'a.png')], 'unknown scheme'),
    ):
        assert sage.main(['zspace', *arguments]) == 2
        error = capsys.readouterr().err
        assert named in error
        assert 'Traceback' not in error
