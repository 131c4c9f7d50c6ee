# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Attention on synthetic worlds with ground truth, and on unusual frames."""

import itertools
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_perception.core.frame import CropSource
from sage_perception.vision.attention import Attention
from sage_perception.vision.attention_config import AttentionConfig
from sage_perception.vision.synthetic import SyntheticWorld

FPS = 30
# Centers of six disks on a gray wall, of the size of salient regions.
DISKS = ((120, 100), (320, 90), (520, 110), (130, 360), (330, 380), (510, 350))

NOISE = np.random.default_rng(0).normal(0, 2, (544, 704, 3)).round().astype(np.int16)


def world(seed, objects, **options):
    """Return a world with as many of the objects as fit."""
    for count in range(objects, 0, -1):
        try:
            return SyntheticWorld(seed, objects=count, **options)
        except ValueError:
            continue
    raise AssertionError(f'no object fits into world {seed}')


def frames(scene, seconds, fps=FPS):
    """Yield the images of a world and their stamps."""
    for index in range(int(seconds * fps)):
        yield scene.render(index / fps, index), index / fps


def moving(crops):
    return [crop for crop in crops if crop.source == CropSource.MOTION]


def covers(roi, thing):
    """Return whether a region covers the center and 60 % of another one."""
    across = min(roi.x + roi.width, thing.x + thing.width) - max(roi.x, thing.x)
    down = min(roi.y + roi.height, thing.y + thing.height) - max(roi.y, thing.y)
    x, y = thing.center
    central = 0 <= x - roi.x <= roi.width and 0 <= y - roi.y <= roi.height
    return central and max(across, 0) * max(down, 0) >= 0.6 * thing.area


def shake_image(image, rng, pixels):
    x, y = rng.uniform(-pixels, pixels, 2)
    matrix = np.float32([[1, 0, x], [0, 1, y]])
    return cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT)


def evaluate(scene, images):
    """Return recall, precision and the rate of id switches after the first second."""
    attention = Attention()
    things = found = chosen = right = switches = 0
    ids = {}
    for image, t in images:
        crops = moving(attention.attend(image, t))
        if t < 1:
            continue
        truth = [thing for thing in scene.truth(t) if thing.visible >= 0.5]
        chosen += len(crops)
        right += sum(any(covers(crop.roi, thing.roi) for thing in truth) for crop in crops)
        for thing in truth:
            things += 1
            shown = [crop for crop in crops if covers(crop.roi, thing.roi)]
            if shown:
                found += 1
                best = max(shown, key=lambda crop: crop.roi.iou(thing.roi)).track_id
                switches += ids.get(thing.id, best) != best
                ids[thing.id] = best
    return found / things, right / chosen, switches / things


@pytest.mark.parametrize('seed', range(6))
def test_finds_moving_objects_with_stable_ids(seed):
    scene = world(seed, objects=1 + seed)
    recall, precision, switches = evaluate(scene, frames(scene, 3))
    assert recall >= 0.95
    assert precision >= 0.7
    assert switches <= 0.02


@pytest.mark.parametrize(
    ('fps', 'options', 'shake'),
    [
        (10, {}, 0),
        (FPS, {'flicker': 0.2}, 0),
        (FPS, {'background': 'plain'}, 0),
        (FPS, {}, 4),
        (FPS, {'period_s': 12.0}, 0),
    ],
    ids=['10 Hz', 'flicker', 'plain', 'shake', 'fast'],
)
def test_finds_moving_objects_despite(fps, options, shake):
    scene, rng = world(11, objects=5, **options), np.random.default_rng(0)
    images = [(shake_image(image, rng, shake), t) for image, t in frames(scene, 3, fps)]
    recall, _, switches = evaluate(scene, images)
    assert recall >= 0.95
    assert switches <= 0.02


@pytest.mark.parametrize('background', ['textured', 'plain'])
@pytest.mark.parametrize('seed', [0, 1])
def test_noise_flicker_rain_and_gain_steps_are_not_motion(seed, background):
    attention = Attention()
    scene = SyntheticWorld(seed, objects=0, background=background, noise=3.0, flicker=0.3)
    for image, t in frames(scene, 3):
        image = cv2.convertScaleAbs(image, alpha=(1.0, 1.3, 0.8)[int(t)])
        assert moving(attention.attend(image, t)) == []


@pytest.mark.parametrize('pixels', [2, 4])
def test_camera_shake_is_not_motion(pixels):
    rng = np.random.default_rng(pixels)
    attention = Attention()
    for image, t in frames(SyntheticWorld(0, objects=0), 3):
        assert moving(attention.attend(shake_image(image, rng, pixels), t)) == []


def test_finds_moving_objects_within_a_second_after_a_light_change():
    scene = world(3, objects=3)
    light = np.linspace(0.7, 1.5, 640)[None, :, None]
    attention = Attention()
    for image, t in frames(scene, 4):
        lit = np.clip(image * light, 0, 255).astype(np.uint8) if t >= 2 else image
        crops = moving(attention.attend(lit, t))
        if t >= 3:
            truth = scene.truth(t)
            assert all(any(covers(crop.roi, thing.roi) for crop in crops) for thing in truth)


def test_finds_moving_objects_before_the_background_is_learnt():
    scene = world(0, objects=3)
    attention = Attention()
    shown = [moving(attention.attend(image, t)) for image, t in frames(scene, 0.5)]
    assert not shown[0]
    assert any(shown)
    assert all(
        any(covers(crop.roi, thing.roi) for thing in scene.truth(index / FPS))
        for index, crops in enumerate(shown)
        for crop in crops
    )


def test_waits_for_the_background_without_ego_motion():
    scene = world(0, objects=3)
    attention = Attention(AttentionConfig(ego_motion='off', saliency_weight=0.0))
    for image, t in frames(scene, 0.5):
        assert attention.attend(image, t) == []
        assert attention.get_latest_crop() is None


def scores_of_an_object_that_stops_after_three_seconds(seconds, **options):
    """Return the scores by track id for each frame."""
    wall = SyntheticWorld(5, objects=0)
    board = np.random.default_rng(0).integers(0, 255, (12, 12, 3), np.uint8)
    board = cv2.resize(board, (72, 72), interpolation=cv2.INTER_NEAREST)
    attention = Attention(AttentionConfig(**options))
    scores = []
    for index in range(seconds * FPS):
        t = index / FPS
        image = wall.render(t, index)
        x = round(60 + 120 * min(t, 3))
        image[200:272, x : x + 72] = board
        scores.append({c.track_id: c.score for c in moving(attention.attend(image, t))})
    return scores


def test_score_of_a_stopped_object_fades_over_seconds():
    scores = scores_of_an_object_that_stops_after_three_seconds(9)
    (identity,) = scores[3 * FPS]
    fading = [crops.get(identity, 0.0) for crops in scores[4 * FPS :]]
    assert fading[0] > 0.5 * scores[3 * FPS][identity]
    assert all(later <= earlier + 0.02 for earlier, later in itertools.pairwise(fading))
    assert fading[-1] == 0
    assert not scores[-1]


def test_inhibition_affects_stopped_objects_only():
    free, inhibited = (
        scores_of_an_object_that_stops_after_three_seconds(5, inhibition=strength)
        for strength in (0.0, 1.0)
    )
    assert inhibited[3 * FPS] == pytest.approx(free[3 * FPS], abs=0.05)
    (identity,) = free[-1]
    assert inhibited[-1][identity] < 0.8 * free[-1][identity]


def test_new_scene_ends_all_tracks():
    first, second = world(0, objects=3), SyntheticWorld(1, objects=0)
    attention = Attention()
    assert attended(attention, first)
    for image, t in frames(second, 2):
        crops = attention.attend(image, 1.5 + t)
        if t > 0.3:
            assert moving(crops) == []


def test_regions_do_not_jitter():
    scene = world(2, objects=2)
    attention = Attention()
    steps, before = [], {}
    for image, t in frames(scene, 4):
        now = {}
        for crop in moving(attention.attend(image, t)):
            roi = crop.roi
            inside = min(roi.x, roi.y, 640 - roi.x - roi.width, 480 - roi.y - roi.height) > 0
            for thing in scene.truth(t):
                if t > 1.5 and inside and covers(roi, thing.roi):
                    off = np.subtract(roi.center, thing.roi.center)
                    now[crop.track_id] = (*off, roi.width)
        steps += [np.subtract(now[i], before[i]) for i in now.keys() & before.keys()]
        before = now
    assert len(steps) > 50
    assert np.std(steps, axis=0).max() < 2.0  # pixels; the truth itself is rounded to one


def test_best_crop_is_first_and_the_latest_crop():
    attention = Attention(AttentionConfig(max_crops=2))
    scene = world(5, objects=5)
    for image, t in frames(scene, 1.5):
        crops = attention.attend(image, t)
        assert len(crops) <= 2
        assert [c.score for c in crops] == sorted((c.score for c in crops), reverse=True)
        assert all(0 <= crop.score <= 1 and crop.track_id > 0 for crop in crops)
        assert len({crop.track_id for crop in crops}) == len(crops)
    assert attention.get_latest_crop() is crops[0]


def test_is_deterministic():
    scene = world(4, objects=4, flicker=0.1)
    first, second = Attention(), Attention()
    for image, t in frames(scene, 1.5):
        for a, b in zip(first.attend(image, t), second.attend(image, t), strict=True):
            assert (a.roi, a.score, a.track_id) == (b.roi, b.score, b.track_id)
            assert np.array_equal(a.image, b.image)


def test_depends_only_on_differences_of_stamps():
    scene = world(4, objects=4)
    early, late = Attention(), Attention()
    for image, t in frames(scene, 1.5):
        a, b = early.attend(image, t), late.attend(image, 2.0**20 + t)
        assert [(c.roi, c.track_id) for c in a] == [(c.roi, c.track_id) for c in b]


def attended(attention, scene, seconds=1.5, start=0.0, scale=1.0):
    """Return the crops of the last frame of some seconds."""
    for image, t in frames(scene, seconds):
        if scale != 1:
            image = cv2.resize(image, None, fx=scale, fy=scale)
        crops = attention.attend(image, start + t)
    return crops


@pytest.mark.parametrize(
    ('stamp', 'scale'),
    [(1.0, 1.0), (4.5, 1.0), (1.5, 0.5)],
    ids=['back in time', 'long gap', 'other size'],
)
def test_new_scene_is_learnt_from_scratch_with_new_ids(stamp, scale):
    scene, attention = world(0, objects=3), Attention()
    used = {crop.track_id for crop in moving(attended(attention, scene))}
    assert used
    image = cv2.resize(scene.render(1.5), None, fx=scale, fy=scale)
    assert moving(attention.attend(image, stamp)) == []
    crops = attended(attention, scene, start=stamp + 0.1, scale=scale)
    assert moving(crops)
    assert used.isdisjoint(crop.track_id for crop in crops)


def test_reset_clears_the_scene_and_its_crops():
    scene, attention = world(0, objects=3), Attention()
    assert attended(attention, scene)
    attention.reset()
    assert attention.get_latest_crop() is None
    assert moving(attention.attend(scene.render(1.5), 1.5)) == []


def test_new_configuration_does_not_reuse_ids():
    scene, attention = world(0, objects=3), Attention()
    used = {crop.track_id for crop in attended(attention, scene)}
    attention.reset(AttentionConfig(crop_size=32))
    crops = attended(attention, scene)
    assert crops[0].image.shape == (32, 32, 3)
    assert used.isdisjoint(crop.track_id for crop in crops)


def test_ids_start_where_told():
    ids = {crop.track_id for crop in attended(Attention(first_track_id=7000), world(0, objects=3))}
    assert min(ids) >= 7000


def test_accepts_late_and_repeated_frames():
    scene, rng = world(2, objects=3), np.random.default_rng(0)
    stamps = np.cumsum(rng.choice([0.0, 1 / 30, 1 / 15, 0.1], 80)).tolist()
    images = [(scene.render(t, index), t) for index, t in enumerate(stamps)]
    recall, precision, switches = evaluate(scene, images)
    assert recall >= 0.95
    assert precision >= 0.7
    assert switches <= 0.02


@settings(max_examples=25)
@given(
    height=st.integers(16, 300),
    width=st.integers(16, 300),
    gray=st.booleans(),
    color=st.sampled_from(['rgb', 'gray']),
    seed=st.integers(0, 99),
)
def test_regions_are_inside_frames_of_any_size(height, width, gray, color, seed):
    rng = np.random.default_rng(seed)
    config = AttentionConfig(color=color, crop_size=16, saliency_weight=0.5, min_roi_px=8)
    attention = Attention(config)
    scene = cv2.resize(rng.integers(0, 255, (6, 6), np.uint8), (width, height))
    for index in range(24):
        image = np.clip(scene + rng.normal(0, 2, scene.shape), 0, 255).astype(np.uint8)
        # A disk that crosses and leaves the frame.
        cv2.circle(image, (width * index // 20, height // 2), max(height // 5, 3), 255, -1)
        image = image if gray else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        for crop in attention.attend(image, index / 20):
            roi = crop.roi
            assert roi.width == roi.height > 0
            assert 0 <= roi.x <= width - roi.width
            assert 0 <= roi.y <= height - roi.height
            assert crop.image.shape == ((16, 16, 3) if color == 'rgb' else (16, 16))


@pytest.mark.parametrize(
    ('image', 'stamp', 'named'),
    [
        (np.zeros((1, 640, 3), np.uint8), 0.0, '640x1 pixels; attention requires at least 16x16'),
        (np.zeros((480, 640, 4), np.uint8), 0.0, r'uint8 \(480, 640, 4\)'),
        (np.zeros((480, 640), np.float32), 0.0, r'float32 \(480, 640\)'),
        (np.zeros(640, np.uint8), 0.0, r'uint8 \(640,\)'),
        (None, 0.0, 'None'),
        (np.zeros((480, 640), np.uint8), math.nan, 'stamp_s is nan'),
        (np.zeros((480, 640), np.uint8), math.inf, 'stamp_s is inf'),
    ],
)
def test_rejects_invalid_frame_in_one_line(image, stamp, named):
    with pytest.raises(ValueError, match=named) as error:
        Attention().attend(image, stamp)
    assert '\n' not in str(error.value)


def wall(index):
    """Return a gray wall with six static colored disks."""
    image = np.full((480, 640, 3), 120, np.uint8)
    for number, place in enumerate(DISKS):
        color = [(30, 30, 220), (220, 60, 30), (30, 210, 30)][number % 3]
        cv2.circle(image, place, 26, color, -1)
    # A window of a noise bank: drawing the noise per frame would take longer than attention.
    left, top = np.random.default_rng(index).integers(0, 64, 2)
    return cv2.add(image, NOISE[top : top + 480, left : left + 640], dtype=cv2.CV_8U)


def disk_of(roi):
    """Return the number of the disk in a region, or None."""
    shown = [
        number
        for number, (x, y) in enumerate(DISKS)
        if 0 <= x - roi.x <= roi.width and 0 <= y - roi.y <= roi.height
    ]
    return shown[0] if shown else None


def test_still_scene_has_no_crops_without_saliency():
    attention = Attention(AttentionConfig(saliency_weight=0.0))
    assert [crop for i in range(45) for crop in attention.attend(wall(i), i / FPS)] == []


def test_still_scene_has_salient_crops_at_a_low_rate_by_default():
    attention = Attention()
    shown = [attention.attend(wall(i), i / FPS) for i in range(3 * FPS)]
    assert all(crop.source == CropSource.SALIENCY for crops in shown for crop in crops)
    assert shown[0]  # at once, not after the background is learned
    counts = [len(crops) for crops in shown if crops]
    assert max(counts) <= 2
    assert 5 <= len(counts) <= 7


def test_attends_salient_regions_in_turn():
    attention = Attention(AttentionConfig(saliency_period_s=0.0, saliency_weight=0.5, max_crops=2))
    seen, dwell = [], {}
    for index in range(12 * FPS):
        for crop in attention.attend(wall(index), index / FPS):
            assert crop.source == CropSource.SALIENCY
            assert crop.score <= 0.5
            seen.append(disk_of(crop.roi))
            dwell[crop.track_id] = dwell.get(crop.track_id, 0) + 1
    assert set(seen) == set(range(6))
    assert np.median(list(dwell.values())) >= FPS / 2  # attention does not flicker


def test_attention_stays_without_inhibition():
    config = AttentionConfig(
        saliency_period_s=0.0, saliency_weight=0.5, max_crops=2, inhibition=0.0
    )
    attention = Attention(config)
    ids = {c.track_id for i in range(6 * FPS) for c in attention.attend(wall(i), i / FPS)}
    assert len(ids) == 2


def test_moving_objects_precede_still_regions_and_are_not_inhibited():
    config = AttentionConfig(
        saliency_weight=1.0, saliency_period_s=0.0, max_crops=3, inhibition=1.0, inhibition_s=0.5
    )
    attention = Attention(config)
    for index in range(6 * FPS):
        image = wall(index)
        # Oscillate at the same place for seconds.
        x = round(320 + 60 * math.sin(index / 6))
        cv2.rectangle(image, (x - 30, 210), (x + 30, 270), (250, 250, 250), -1)
        crops = attention.attend(image, index / FPS)
        if index > 1.5 * FPS:
            assert any(0 <= x - c.roi.x <= c.roi.width for c in moving(crops))
            assert len(crops) > 1


def test_at_most_one_still_region_beside_moving_objects_and_apart_from_them():
    attention = Attention(AttentionConfig(saliency_period_s=0.0))
    beside = 0
    for index in range(2 * FPS):
        image = wall(index)
        x = 160 + 5 * index
        cv2.rectangle(image, (x - 30, 210), (x + 30, 270), (250, 250, 250), -1)
        crops = attention.attend(image, index / FPS)
        objects = moving(crops)
        if index < FPS or not objects:
            continue
        still = [crop for crop in crops if crop.source == CropSource.SALIENCY]
        assert len(still) <= 1
        beside += len(still)
        for crop in still:
            assert all(
                not (0 <= a - c.roi.x <= c.roi.width and 0 <= b - c.roi.y <= c.roi.height)
                for c in objects
                for a, b in [crop.roi.center]
            )
    assert beside


def test_saliency_map_shows_attended_regions():
    attention = Attention(AttentionConfig(saliency_weight=0.5))
    for index in range(FPS):
        attention.attend(wall(index), index / FPS)
    still = attention.saliency_map()
    assert still.dtype == np.float32
    assert still.shape == (120, 160)
    assert 0 <= still.min() < still.max() <= 0.5
    image = wall(0)
    for index in range(FPS, FPS + 5):
        image = wall(index)
        cv2.rectangle(image, (290 + 4 * index, 210), (350 + 4 * index, 270), (255, 255, 255), -1)
        attention.attend(image, index / FPS)
    moving = attention.saliency_map()
    assert np.unravel_index(moving.argmax(), moving.shape)[0] in range(52, 68)
    assert moving.max() > 0.5


def side_of_moving_square(**options):
    """Return the side of the region around a moving square of 60 pixels, or None."""
    attention = Attention(AttentionConfig(**options))
    for index in range(2 * FPS):
        image = wall(index)
        x = 200 + 4 * index
        cv2.rectangle(image, (x, 210), (x + 60, 270), (250, 250, 250), -1)
        crops = moving(attention.attend(image, index / FPS))
    return crops[0].roi.width if crops else None


def test_size_settings_take_effect():
    assert 60 <= side_of_moving_square() <= 100
    assert side_of_moving_square(min_roi_px=150) == 150
    assert side_of_moving_square(max_roi_px=40) == 40
    assert side_of_moving_square(min_object_px=80) is None


def test_higher_threshold_is_less_sensitive():
    def faint(threshold):
        attention = Attention(AttentionConfig(threshold=threshold))
        for index in range(45):
            image = wall(index)
            x = 200 + 4 * index
            image[210:270, x : x + 60] += 20
            crops = moving(attention.attend(image, index / FPS))
        return crops

    assert faint(5.0)
    assert not faint(30.0)
