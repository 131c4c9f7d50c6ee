# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Attention on synthetic worlds whose truth is known, and on frames that are out of the way."""

import dataclasses
import itertools
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_perception.core.frame import CropSource
from sage_perception.vision.attention import AttentionConfig, MotionAttention
from sage_perception.vision.saliency import InhibitionOfReturn
from sage_perception.vision.synthetic import SyntheticWorld

FPS = 30
# Six places that stand out from a gray wall, of sizes that attention looks for.
PLACES = ((120, 100), (320, 90), (520, 110), (130, 360), (330, 380), (510, 350))

NOISE = np.random.default_rng(0).normal(0, 2, (544, 704, 3)).round().astype(np.int16)


def world(seed, objects, **options):
    """As many objects as find room."""
    for count in range(objects, 0, -1):
        try:
            return SyntheticWorld(seed, objects=count, **options)
        except ValueError:
            continue
    raise AssertionError(f'no room in world {seed}')


def frames(scene, seconds, fps=FPS):
    """Images of a world and their stamps."""
    for index in range(int(seconds * fps)):
        yield scene.render(index / fps, index), index / fps


def movers(crops):
    return [crop for crop in crops if crop.source == CropSource.MOTION]


def covers(roi, thing):
    """At least 60 % of the thing, and its center."""
    across = min(roi.x + roi.width, thing.x + thing.width) - max(roi.x, thing.x)
    down = min(roi.y + roi.height, thing.y + thing.height) - max(roi.y, thing.y)
    x, y = thing.center
    central = 0 <= x - roi.x <= roi.width and 0 <= y - roi.y <= roi.height
    return central and max(across, 0) * max(down, 0) >= 0.6 * thing.area


def shaken(image, rng, pixels):
    x, y = rng.uniform(-pixels, pixels, 2)
    matrix = np.float32([[1, 0, x], [0, 1, y]])
    return cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT)


def judge(scene, images):
    """Recall, precision and share of id switches after the first second."""
    attention = MotionAttention()
    things = found = chosen = right = switches = 0
    ids = {}
    for image, t in images:
        crops = movers(attention.attend(image, t))
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
def test_movers_are_found_and_keep_their_ids(seed):
    scene = world(seed, objects=1 + seed)
    recall, precision, switches = judge(scene, frames(scene, 3))
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
def test_movers_are_found_in_spite_of(fps, options, shake):
    scene, rng = world(11, objects=5, **options), np.random.default_rng(0)
    images = [(shaken(image, rng, shake), t) for image, t in frames(scene, 3, fps)]
    recall, _, switches = judge(scene, images)
    assert recall >= 0.95
    assert switches <= 0.02


@pytest.mark.parametrize('background', ['textured', 'plain'])
@pytest.mark.parametrize('seed', [0, 1])
def test_noise_flicker_rain_and_steps_of_the_gain_are_no_motion(seed, background):
    attention = MotionAttention()
    scene = SyntheticWorld(seed, objects=0, background=background, noise=3.0, flicker=0.3)
    for image, t in frames(scene, 3):
        image = cv2.convertScaleAbs(image, alpha=(1.0, 1.3, 0.8)[int(t)])
        assert movers(attention.attend(image, t)) == []


@pytest.mark.parametrize('pixels', [2, 4])
def test_a_camera_that_shakes_is_no_motion(pixels):
    rng = np.random.default_rng(pixels)
    attention = MotionAttention()
    for image, t in frames(SyntheticWorld(0, objects=0), 3):
        assert movers(attention.attend(shaken(image, rng, pixels), t)) == []


def test_movers_are_found_again_within_a_second_after_the_light_changed():
    scene = world(3, objects=3)
    light = np.linspace(0.7, 1.5, 640)[None, :, None]
    attention = MotionAttention()
    for image, t in frames(scene, 4):
        lit = np.clip(image * light, 0, 255).astype(np.uint8) if t >= 2 else image
        crops = movers(attention.attend(lit, t))
        if t >= 3:
            truth = scene.truth(t)
            assert all(any(covers(crop.roi, thing.roi) for crop in crops) for thing in truth)


def test_nothing_is_motion_before_the_scene_is_known():
    scene = world(0, objects=3)
    attention = MotionAttention()
    for image, t in frames(scene, 0.5):
        assert attention.attend(image, t) == []
        assert attention.get_latest_crop() is None


def scores_of_a_mover_that_stops_after_three_seconds(seconds, **options):
    """Scores by track id, a frame each."""
    wall = SyntheticWorld(5, objects=0)
    board = np.random.default_rng(0).integers(0, 255, (12, 12, 3), np.uint8)
    board = cv2.resize(board, (72, 72), interpolation=cv2.INTER_NEAREST)
    attention = MotionAttention(AttentionConfig(**options))
    scores = []
    for index in range(seconds * FPS):
        t = index / FPS
        image = wall.render(t, index)
        x = round(60 + 120 * min(t, 3))
        image[200:272, x : x + 72] = board
        scores.append({c.track_id: c.score for c in movers(attention.attend(image, t))})
    return scores


def test_a_mover_that_stops_fades_over_seconds():
    scores = scores_of_a_mover_that_stops_after_three_seconds(9)
    (identity,) = scores[3 * FPS]
    fading = [crops.get(identity, 0.0) for crops in scores[4 * FPS :]]
    assert fading[0] > 0.5 * scores[3 * FPS][identity]
    assert all(later <= earlier + 0.02 for earlier, later in itertools.pairwise(fading))
    assert fading[-1] == 0
    assert not scores[-1]


def test_inhibition_makes_what_has_stopped_fade_sooner_and_nothing_that_moves():
    free, inhibited = (
        scores_of_a_mover_that_stops_after_three_seconds(5, inhibition=strength)
        for strength in (0.0, 1.0)
    )
    assert inhibited[3 * FPS] == pytest.approx(free[3 * FPS], abs=0.05)
    (identity,) = free[-1]
    assert inhibited[-1][identity] < 0.8 * free[-1][identity]


def test_another_scene_ends_all_tracks():
    first, second = world(0, objects=3), SyntheticWorld(1, objects=0)
    attention = MotionAttention()
    assert attended(attention, first)
    for image, t in frames(second, 2):
        crops = attention.attend(image, 1.5 + t)
        if t > 0.3:
            assert crops == []


def test_regions_do_not_jitter():
    scene = world(2, objects=2)
    attention = MotionAttention()
    steps, before = [], {}
    for image, t in frames(scene, 4):
        now = {}
        for crop in movers(attention.attend(image, t)):
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


def test_the_best_comes_first_and_is_the_latest_crop():
    attention = MotionAttention(AttentionConfig(max_crops=2))
    scene = world(5, objects=5)
    for image, t in frames(scene, 1.5):
        crops = attention.attend(image, t)
        assert len(crops) <= 2
        assert [c.score for c in crops] == sorted((c.score for c in crops), reverse=True)
        assert all(0 <= crop.score <= 1 and crop.track_id > 0 for crop in crops)
        assert len({crop.track_id for crop in crops}) == len(crops)
    assert attention.get_latest_crop() is crops[0]


def test_the_same_frames_give_the_same_crops():
    scene = world(4, objects=4, flicker=0.1)
    first, second = MotionAttention(), MotionAttention()
    for image, t in frames(scene, 1.5):
        for a, b in zip(first.attend(image, t), second.attend(image, t), strict=True):
            assert (a.roi, a.score, a.track_id) == (b.roi, b.score, b.track_id)
            assert np.array_equal(a.image, b.image)


def test_only_differences_of_stamps_matter():
    scene = world(4, objects=4)
    early, late = MotionAttention(), MotionAttention()
    for image, t in frames(scene, 1.5):
        a, b = early.attend(image, t), late.attend(image, 2.0**20 + t)
        assert [(c.roi, c.track_id) for c in a] == [(c.roi, c.track_id) for c in b]


def attended(attention, scene, seconds=1.5, start=0.0, scale=1.0):
    """The crops of the last of some seconds of frames."""
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
def test_a_new_scene_is_learnt_anew_and_ids_are_not_used_again(stamp, scale):
    scene, attention = world(0, objects=3), MotionAttention()
    used = {crop.track_id for crop in attended(attention, scene)}
    assert used
    picture = cv2.resize(scene.render(1.5), None, fx=scale, fy=scale)
    assert attention.attend(picture, stamp) == []
    crops = attended(attention, scene, start=stamp + 0.1, scale=scale)
    assert crops
    assert used.isdisjoint(crop.track_id for crop in crops)


def test_reset_forgets_the_scene_and_its_crops():
    scene, attention = world(0, objects=3), MotionAttention()
    assert attended(attention, scene)
    attention.reset()
    assert attention.get_latest_crop() is None
    assert attention.attend(scene.render(1.5), 1.5) == []


def test_a_new_configuration_uses_no_id_again():
    scene, attention = world(0, objects=3), MotionAttention()
    used = {crop.track_id for crop in attended(attention, scene)}
    attention.reset(AttentionConfig(crop_size=32))
    crops = attended(attention, scene)
    assert crops[0].image.shape == (32, 32, 3)
    assert used.isdisjoint(crop.track_id for crop in crops)


def test_frames_that_come_late_or_twice_do_no_harm():
    scene, rng = world(2, objects=3), np.random.default_rng(0)
    stamps = np.cumsum(rng.choice([0.0, 1 / 30, 1 / 15, 0.1], 80)).tolist()
    images = [(scene.render(t, index), t) for index, t in enumerate(stamps)]
    recall, precision, switches = judge(scene, images)
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
def test_regions_lie_inside_frames_of_any_size(height, width, gray, color, seed):
    rng = np.random.default_rng(seed)
    config = AttentionConfig(color=color, crop_size=16, saliency_weight=0.5, min_roi_px=8)
    attention = MotionAttention(config)
    scene = cv2.resize(rng.integers(0, 255, (6, 6), np.uint8), (width, height))
    for index in range(24):
        image = np.clip(scene + rng.normal(0, 2, scene.shape), 0, 255).astype(np.uint8)
        # Something that runs across and out of the frame.
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
        (np.zeros((1, 640, 3), np.uint8), 0.0, '640x1 pixels; attention needs 16x16'),
        (np.zeros((480, 640, 4), np.uint8), 0.0, r'uint8 \(480, 640, 4\)'),
        (np.zeros((480, 640), np.float32), 0.0, r'float32 \(480, 640\)'),
        (np.zeros(640, np.uint8), 0.0, r'uint8 \(640,\)'),
        (None, 0.0, 'None'),
        (np.zeros((480, 640), np.uint8), math.nan, 'stamp_s is nan'),
        (np.zeros((480, 640), np.uint8), math.inf, 'stamp_s is inf'),
    ],
)
def test_what_is_no_frame_is_refused_in_a_line(image, stamp, named):
    with pytest.raises(ValueError, match=named) as refusal:
        MotionAttention().attend(image, stamp)
    assert '\n' not in str(refusal.value)


def wall(index):
    """A gray wall with six colored disks that do not move."""
    image = np.full((480, 640, 3), 120, np.uint8)
    for number, place in enumerate(PLACES):
        color = [(30, 30, 220), (220, 60, 30), (30, 210, 30)][number % 3]
        cv2.circle(image, place, 26, color, -1)
    # A window of a bank: a million normal numbers a frame would take longer than attention.
    left, top = np.random.default_rng(index).integers(0, 64, 2)
    return cv2.add(image, NOISE[top : top + 480, left : left + 640], dtype=cv2.CV_8U)


def disk_of(roi):
    """Which disk a region shows; None: none."""
    shown = [
        number
        for number, (x, y) in enumerate(PLACES)
        if 0 <= x - roi.x <= roi.width and 0 <= y - roi.y <= roi.height
    ]
    return shown[0] if shown else None


def test_a_still_scene_gets_no_crops_unless_saliency_is_asked_for():
    attention = MotionAttention()
    assert [crop for i in range(45) for crop in attention.attend(wall(i), i / FPS)] == []


def test_what_stands_out_is_attended_to_in_turn():
    attention = MotionAttention(AttentionConfig(saliency_weight=0.5, max_crops=2))
    seen, dwell = [], {}
    for index in range(12 * FPS):
        for crop in attention.attend(wall(index), index / FPS):
            assert crop.source == CropSource.SALIENCY
            assert crop.score <= 0.5
            seen.append(disk_of(crop.roi))
            dwell[crop.track_id] = dwell.get(crop.track_id, 0) + 1
    assert set(seen) == set(range(6))
    assert np.median(list(dwell.values())) >= FPS / 2  # it looks, it does not flit


def test_without_inhibition_attention_stays():
    config = AttentionConfig(saliency_weight=0.5, max_crops=2, inhibition=0.0)
    attention = MotionAttention(config)
    ids = {c.track_id for i in range(6 * FPS) for c in attention.attend(wall(i), i / FPS)}
    assert len(ids) == 2


def test_movers_come_before_still_places_and_are_not_inhibited():
    config = AttentionConfig(saliency_weight=1.0, max_crops=3, inhibition=1.0, inhibition_s=0.5)
    attention = MotionAttention(config)
    for index in range(6 * FPS):
        image = wall(index)
        # To and fro on the same spot for seconds.
        x = round(320 + 60 * math.sin(index / 6))
        cv2.rectangle(image, (x - 30, 210), (x + 30, 270), (250, 250, 250), -1)
        crops = attention.attend(image, index / FPS)
        if index > 1.5 * FPS:
            assert any(0 <= x - c.roi.x <= c.roi.width for c in movers(crops))
            assert len(crops) > 1


def test_the_map_shows_where_attention_is():
    attention = MotionAttention(AttentionConfig(saliency_weight=0.5))
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


@given(strength=st.floats(0, 1), time_constant=st.floats(0.1, 10), parts=st.integers(1, 20))
def test_inhibition_does_not_depend_on_the_frame_rate(strength, time_constant, parts):
    once, often = (InhibitionOfReturn(strength, time_constant) for _ in range(2))
    for memory, steps in ((once, 1), (often, parts)):
        memory.reset((20, 20))
        for _ in range(steps):
            memory.attend([(5, 5, 6)], 2.0 / steps)
        for _ in range(steps):
            memory.attend([(15, 15, 6)], 1.0 / steps)
    assert once.factor == pytest.approx(often.factor, abs=1e-4)
    expected = (1 - math.exp(-2 / time_constant)) * math.exp(-1 / time_constant)
    assert once.factor[5, 5] == pytest.approx(1 - strength * expected, abs=1e-4)


def test_every_field_of_the_configuration_describes_itself():
    for field in dataclasses.fields(AttentionConfig):
        assert field.metadata['description']
        assert 'choices' in field.metadata or {'minimum', 'maximum'} <= set(field.metadata)


@pytest.mark.parametrize(
    ('name', 'value', 'named'),
    [
        ('crop_size', 4, r'crop_size is 4; it is a whole number in \[8, 512\]'),
        ('crop_size', 64.0, 'crop_size is 64.0; it is a whole number'),
        ('max_crops', 0, r'max_crops is 0; .*\[1, 24\]'),
        ('max_crops', True, 'max_crops is True'),
        ('color', 'bgr', "color is 'bgr'; it is one of rgb, gray"),
        ('threshold', 1.0, r'threshold is 1.0; .*\[2.0, 50.0\]'),
        ('threshold', math.nan, 'threshold is nan'),
        ('background_time_s', '3', "background_time_s is '3'; it is a number"),
        ('saliency_weight', 1.5, r'saliency_weight is 1.5; .*\[0.0, 1.0\]'),
        ('inhibition', -0.1, 'inhibition is -0.1'),
        ('min_roi_px', 500, 'min_roi_px is 500; it is at most max_roi_px, 480'),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_its_range(name, value, named):
    with pytest.raises(ValueError, match=named):
        AttentionConfig(**{name: value})


def side_of_the_mover(**options):
    """Side of the region around a 60-pixel square that moves; None: no region."""
    attention = MotionAttention(AttentionConfig(**options))
    for index in range(2 * FPS):
        image = wall(index)
        x = 200 + 4 * index
        cv2.rectangle(image, (x, 210), (x + 60, 270), (250, 250, 250), -1)
        crops = movers(attention.attend(image, index / FPS))
    return crops[0].roi.width if crops else None


def test_the_settings_of_size_act():
    assert 60 <= side_of_the_mover() <= 100
    assert side_of_the_mover(min_roi_px=150) == 150
    assert side_of_the_mover(max_roi_px=40) == 40
    assert side_of_the_mover(min_object_px=80) is None


def test_a_higher_threshold_sees_less():
    def faint(threshold):
        attention = MotionAttention(AttentionConfig(threshold=threshold))
        for index in range(45):
            image = wall(index)
            x = 200 + 4 * index
            image[210:270, x : x + 60] += 20
            crops = movers(attention.attend(image, index / FPS))
        return crops

    assert faint(5.0)
    assert not faint(30.0)
