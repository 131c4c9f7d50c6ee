# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The scenes of the demo: where cam1 shows the regions of cam0, and which of them it finds."""

import cv2
import numpy as np
import pytest

from sage_perception.cli.demo.footage import FPS, HEIGHT, WIDTH, scenes_of, tick_of
from sage_perception.cli.demo.measure import CameraRun
from sage_perception.cli.demo.overlap import overlap
from sage_perception.core.frame import CropSource
from sage_perception.core.latent import Roi
from sage_perception.vision.sources import open_source
from sage_perception.vision.sources.pacing import SystemClock

SIZE = (768, 576)
START_NS = 1_700_000_000 * 10**9
STEP_NS = 10**9 // FPS
MOTION, SALIENCY = int(CropSource.MOTION), int(CropSource.SALIENCY)


class FakeClock(SystemClock):
    """A wall clock that stands."""

    def __init__(self, now_ns):
        self.now_ns = now_ns

    def time_ns(self):
        return self.now_ns

    def monotonic_ns(self):
        return self.now_ns

    def wait(self, event, seconds):
        return False


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    """A video whose images are all the same: a disk on gray."""
    path = tmp_path_factory.mktemp('video') / 'disk.avi'
    image = np.full((SIZE[1], SIZE[0], 3), 128, np.uint8)
    cv2.circle(image, (400, 300), 20, (0, 0, 255), -1)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), FPS, SIZE)
    for _ in range(20):
        writer.write(image)
    writer.release()
    return path


def disk(image):
    """Return the center of the disk in an image."""
    red = image[..., 2].astype(int) - image[..., 0]
    rows, columns = np.nonzero(red > 60)
    return columns.mean() + 0.5, rows.mean() + 0.5


@pytest.mark.parametrize('number', [0, 1])
@pytest.mark.parametrize('frame', [0, 40, 95])
def test_regions_are_placed_where_cam1_shows_them(video, number, frame):
    scene = scenes_of(video)[number]
    stamp_ns = START_NS - (-frame * 10**9 // FPS)  # the time at which the frame is due
    centers = []
    for camera in scene.cameras:
        source = open_source(camera.source, clock=FakeClock(stamp_ns))
        try:
            centers.append(disk(source.read(1.0).image))
        finally:
            source.close()
    (x, y), expected = centers
    left, top, right, bottom = scene.in_cam1(Roi(round(x) - 20, round(y) - 20, 40, 40), stamp_ns)
    assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx(expected, abs=2.0)
    assert right - left == pytest.approx(40 * SIZE[0] / scene.window.roi.width, abs=0.1)


def test_the_second_scene_moves(video):
    still, moving = (
        {scene.in_cam1(Roi(0, 0, 9, 9), START_NS + i * STEP_NS) for i in range(60)}
        for scene in scenes_of(video)
    )
    assert len(still) == 1
    assert len(moving) == 60


def run_of(*frames):
    """Return the messages of a camera with the given regions in successive frames."""
    run = CameraRun()
    for index, regions in enumerate(frames):
        run.regions[START_NS + index * STEP_NS] = list(regions)
    return run


def shifted(roi, stamp_ns):
    """Return a region in a camera that shows everything 100 pixels further left."""
    return roi.x - 100, roi.y, roi.x + roi.width - 100, roi.y + roi.height


def test_objects_of_the_reference_are_found_by_their_place():
    here, away, hidden = Roi(300, 200, 40, 40), Roi(500, 100, 40, 40), Roi(40, 200, 40, 40)
    frame = [(MOTION, here), (MOTION, away), (MOTION, hidden), (SALIENCY, Roi(200, 300, 40, 40))]
    reference = run_of(frame, frame)
    camera = run_of(
        [(MOTION, Roi(205, 205, 40, 40)), (MOTION, Roi(100, 300, 40, 40))],
        [(SALIENCY, Roi(400, 100, 40, 40)), (MOTION, Roi(0, 0, WIDTH, HEIGHT))],
    )
    found = overlap(reference, camera, shifted)
    # `hidden` is out of view, and the second region of the first frame shows a salient place.
    assert found == {'objects': 4, 'found': 0.25, 'unmatched_per_frame': 0.5}


def test_an_object_at_the_edge_is_matched_by_the_part_in_view():
    reference = run_of([(MOTION, Roi(70, 200, 60, 60))])
    at_edge, elsewhere = (MOTION, Roi(0, 205, 40, 40)), (MOTION, Roi(0, 300, 40, 40))
    found = overlap(reference, run_of([at_edge, elsewhere]), shifted)
    assert found == {'objects': 0, 'found': None, 'unmatched_per_frame': 1.0}


def test_only_frames_of_both_cameras_count():
    region = [(MOTION, Roi(300, 200, 40, 40))]
    assert overlap(run_of(region, region), run_of(region), shifted)['objects'] == 1
    assert overlap(run_of(region), run_of(), shifted) == {
        'objects': 0,
        'found': None,
        'unmatched_per_frame': None,
    }


def test_stamps_of_one_frame_have_one_tick():
    for index in range(90):
        due_ns = -(-index * 10**9 // FPS) + START_NS
        assert {tick_of(due_ns + error) for error in (-(10**6), 0, 10**6)} == {
            index + START_NS // 10**9 * FPS
        }
