# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Tracking: stable ids and no lag, through gaps, splits and merges."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.vision.tracking import Detection, Tracker, View


def box(x, y, width=40, height=60):
    return Detection((x - width / 2, y - height / 2, x + width / 2, y + height / 2))


def tracker():
    return Tracker(itertools.count(1))


def confirmed(tracks):
    return [track for track in tracks if track.confirmed]


def follow(path, fps=30, seconds=2.0):
    """Return the tracker and its tracks after the detections `path(t)`."""
    follower = tracker()
    for index in range(int(seconds * fps)):
        tracks = follower.update(path(index / fps), 1 / fps)
    return follower, tracks


@given(
    speed=st.tuples(st.floats(-250, 250), st.floats(-250, 250)),
    fps=st.sampled_from([10, 15, 30, 60]),
)
def test_tracks_constant_velocity_without_lag_at_any_frame_rate(speed, fps):
    def path(t):
        return [box(300 + speed[0] * t, 300 + speed[1] * t)]

    _, tracks = follow(path, fps)
    (track,) = tracks
    end = 2 - 1 / fps
    assert (track.x, track.y) == pytest.approx((300 + speed[0] * end, 300 + speed[1] * end), abs=2)
    assert (track.vx, track.vy) == pytest.approx(speed, abs=15)


def test_smooths_noisy_detections():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 3, (90, 4))
    follower = tracker()
    errors = []
    for index, (x, y, width, height) in enumerate(noise):
        detection = box(200 + 2 * index + x, 200 + y, 60 + width, 80 + height)
        (track,) = follower.update([detection], 1 / 30)
        errors.append((track.x - 2 * index - 200, track.y - 200, track.width - 60))
    settled = np.array(errors[30:])
    assert np.abs(settled).mean() < 1.5
    assert np.diff(settled, axis=0).std() < 0.4 * np.diff(noise, axis=0).std()


def test_confirms_track_after_three_detections():
    follower = tracker()
    counts = [len(confirmed(follower.update([box(100, 100)], 1 / 20))) for _ in range(4)]
    assert counts == [0, 0, 1, 1]


def test_never_confirms_random_detections():
    rng = np.random.default_rng(1)
    follower = tracker()
    for _ in range(200):
        spots = [box(*rng.uniform((0, 0), (640, 480)), 12, 12) for _ in range(3)]
        assert not confirmed(follower.update(spots, 1 / 30))


def test_bridges_short_gaps_only():
    follower, tracks = follow(lambda t: [box(100 + 120 * t, 200)], seconds=1)
    identity = tracks[0].id
    for _ in range(9):
        (track,) = follower.update([], 1 / 30)
    assert track.x == pytest.approx(100 + 120 * (1 + 8 / 30), abs=6)
    (track,) = follower.update([box(100 + 120 * (1 + 9 / 30), 200)], 1 / 30)
    assert track.id == identity
    for _ in range(20):
        tracks = follower.update([], 1 / 30)
    assert tracks == []
    (track,) = follower.update([box(300, 200)], 1 / 30)
    assert track.id != identity


def test_neighboring_objects_keep_their_ids():
    def path(t):
        return [box(100 + 90 * t, 150), box(400 - 90 * t, 260), box(100, 380 - 40 * t)]

    follower, tracks = follow(path, seconds=0.2)
    before = {track.id: (track.x, track.y) for track in tracks}
    for index in range(6, 60):
        # Alternate the order of the detections, which must not matter.
        detections = path(index / 30)[:: 1 if index % 2 else -1]
        tracks = follower.update(detections, 1 / 30)
    assert {track.id for track in tracks} == set(before)
    for track in tracks:
        assert abs(track.y - before[track.id][1]) < 80


def test_objects_keep_their_ids_through_a_merge():
    def apart(t):
        return [box(200 + 50 * t, 200), box(320 - 50 * t, 200)]

    def path(t):
        left, right = apart(t)
        if left.box[2] < right.box[0] or left.box[0] > right.box[2]:
            return [left, right]
        low, high = min(left.box, right.box), max(left.box, right.box)
        return [Detection((low[0], low[1], high[2], high[3]))]

    follower, tracks = follow(path, seconds=0.5)
    before = {track.id: track.vx > 0 for track in tracks}
    for index in range(15, 80):
        tracks = confirmed(follower.update(path(index / 30), 1 / 30))
        assert {track.id for track in tracks} == set(before)
        assert [track.width for track in tracks] == pytest.approx([40, 40], abs=8)
    assert {track.id: track.vx > 0 for track in tracks} == before


def test_object_keeps_its_id_through_a_split():
    follower, tracks = follow(lambda t: [box(200 + 30 * t, 200, 40, 90)], seconds=1)
    identity = tracks[0].id
    for index in range(30, 60):
        x = 200 + index
        head, legs = box(x, 170, 36, 30), box(x, 222, 40, 44)
        (track,) = follower.update([head, legs], 1 / 30)
        assert track.id == identity
        assert track.height == pytest.approx(90, abs=6)


@pytest.mark.parametrize('view', [View(), View(displace=lambda box: box)])
def test_object_keeps_its_id_where_it_breaks_in_halves(view):
    follower = tracker()
    for _ in range(20):
        (track,) = follower.update([box(300, 200, 120, 120)], 1 / 30, view)
    # 0.59 of the left half lies in the box of the whole, but only both together fit that box.
    halves = [box(330, 200, 60, 120), box(247.5, 200, 85, 120)]
    for _ in range(30):
        (track,) = follower.update(halves, 1 / 30, view)
        assert track.id == 1
    assert track.width == pytest.approx(155, abs=10)


def test_object_beside_a_tracked_one_is_no_part_of_it():
    follower = tracker()
    for _ in range(20):
        follower.update([box(300, 200)], 1 / 30)
    for _ in range(10):
        tracks = follower.update([box(300, 200), box(345, 200)], 1 / 30)
    assert [track.id for track in confirmed(tracks)] == [1, 2]
    assert [track.width for track in tracks] == pytest.approx([40, 40], abs=2)


def test_tracks_inside_of_an_object_end_when_they_merge_with_it():
    follower = tracker()
    whole, inner = box(300, 200, 100, 160), box(300, 180, 30, 30)
    for _ in range(10):
        follower.update([whole], 1 / 30)
    for _ in range(20):
        follower.update([whole, inner], 1 / 30)
    for _ in range(15):
        tracks = follower.update([box(320, 200, 160, 160)], 1 / 30)
    assert [track.id for track in tracks] == [1]
    assert tracks[0].width == pytest.approx(150, abs=15)  # it follows its object at once


def test_a_track_that_the_flow_carries_stays_with_its_detections():
    def background_flow(of):
        return of[0] - 8, of[1], of[2] - 8, of[3]

    follower, view = tracker(), View(displace=background_flow)
    for _ in range(30):  # a camera follows the object, and its box contains the background, too
        (track,) = follower.update([box(300, 200)], 1 / 30, view)
    assert track.x == pytest.approx(300, abs=16)


def test_two_tracks_of_one_object_become_one():
    def path(t):
        if t < 0.5:
            return [box(200 + 60 * t, 180, 40, 30), box(200 + 60 * t, 260, 40, 30)]
        return [box(200 + 60 * t, 220, 40, 110)]

    follower, tracks = follow(path, seconds=0.5)
    assert len(tracks) == 2
    older = min(track.id for track in tracks)
    for index in range(15, 75):
        tracks = follower.update(path(index / 30), 1 / 30)
    assert [track.id for track in tracks] == [older]
    assert tracks[0].height == pytest.approx(110, abs=8)


def test_activity_rises_immediately_and_fades_over_seconds():
    follower = tracker()
    still = Detection(box(100, 100).box, activity=0.0)
    follower.update([still], 0.1)
    (track,) = follower.update([box(100, 100)], 0.1)
    assert track.activity == 1
    levels = [follower.update([still], 0.1)[0].activity for _ in range(60)]
    assert all(later < earlier for earlier, later in itertools.pairwise(levels))
    assert levels[9] > 0.5
    assert levels[-1] < 0.1


def test_camera_motion_does_not_lose_a_fast_camera_s_objects():
    pan = np.array([[1, 0, -90], [0, 1, 0], [0, 0, 1.0]])
    follower = tracker()
    for index in range(12):
        (track,) = follower.update([box(1200 - 90 * index + 3 * index, 200)], 1 / 30, View(pan))
    assert track.id == 1
    assert (track.vx, track.vy) == pytest.approx((90, 0), abs=20)


def looks(pattern):
    """Return a view in which every box has the thumbnail `pattern`."""
    values = np.random.default_rng(pattern).normal(size=64).astype(np.float32)
    values = (values - values.mean()) / np.linalg.norm(values - values.mean())
    return View(look=lambda _: values)


@pytest.mark.parametrize(('pattern', 'same'), [(0, True), (1, False)])
def test_object_that_comes_back_within_three_seconds_keeps_its_id(pattern, same):
    follower = tracker()
    for _ in range(30):
        (track,) = follower.update([box(300, 200)], 1 / 30, looks(0))
    identity = track.id
    for _ in range(45):
        follower.update([], 1 / 30, looks(0))
    for _ in range(5):
        (track,) = follower.update([box(330, 210)], 1 / 30, looks(pattern))
    assert (track.id == identity) == same


def test_tracks_wait_through_blurred_frames():
    follower = tracker()
    for _ in range(10):
        (track,) = follower.update([box(300, 200)], 1 / 30)
    for _ in range(20):
        (waiting,) = follower.update([], 1 / 30, View(blind=True))
        assert waiting.id == track.id
    for _ in range(60):
        tracks = follower.update([], 1 / 30, View(blind=True))
    assert tracks == []


def test_a_short_track_of_a_standing_camera_ends_sooner_than_a_long_one():
    def coasts(seconds):
        follower, _ = follow(lambda t: [box(200, 200)], seconds=seconds)
        return sum(bool(follower.update([], 1 / 30)) for _ in range(30))

    assert coasts(0.15) <= 7
    assert 14 <= coasts(2.0) <= 16
