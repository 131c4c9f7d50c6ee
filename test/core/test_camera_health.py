# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Faults that are detected, and conditions that are not faults, on rendered video."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_perception.vision.camera_health import (
    CLEAR,
    CONFIRM,
    STALE_S,
    TRUST,
    CameraHealth,
    Fault,
)
from sage_perception.vision.synthetic import SyntheticWorld

MESSAGE = Path(__file__).parents[2] / 'sage_msgs' / 'msg' / 'CropArray.msg'
RATE = 30.0
WORLD = SyntheticWorld(seed=1, width=320, height=240)
STILL = SyntheticWorld(seed=2, width=320, height=240, objects=0)


class Camera:
    """Passes the frames of a world to `CameraHealth`, one after the other."""

    def __init__(self, world=WORLD, start=0):
        self.world, self.number = world, start
        self.health = CameraHealth()
        self.delivered = []

    def deliver(self, count=1, change=None, lag_s=0.0, stand_still=False):
        """Pass on frames; return the fault after each."""
        faults = []
        for _ in range(count):
            self.number += 1
            image = self.world.render(self.number / RATE, self.number)
            if change is not None:
                image = change(image, self)
            now_s = self.number / RATE
            stamp_s = self.stamp_s if stand_still else now_s - lag_s
            self.stamp_s = stamp_s
            self.delivered.append(image)
            faults.append(self.health.update(image, stamp_s, now_s))
        return faults


def noisy(image, number, sigma=2.0):
    noise = np.random.default_rng(number).normal(0, sigma, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8)


def snow(image, number, cell):
    height, width = image.shape[:2]
    rng = np.random.default_rng(number)
    noise = rng.integers(0, 256, (height // cell, width // cell, 3), np.uint8)
    return cv2.resize(noise, (width, height))


def jpeg(image):
    return cv2.imdecode(cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1], 1)


FAULTS = {
    'black': (Fault.COVERED, lambda i, c: np.zeros_like(i)),
    'dark': (Fault.COVERED, lambda i, c: noisy(i * 0.02, c.number)),
    'hand on the lens': (
        Fault.COVERED,
        lambda i, c: noisy(cv2.GaussianBlur(i, (0, 0), 26) * 0.3 + 10, c.number),
    ),
    'out of focus': (Fault.COVERED, lambda i, c: noisy(cv2.GaussianBlur(i, (0, 0), 6), c.number)),
    'white': (Fault.SATURATED, lambda i, c: np.full_like(i, 255)),
    'glare': (Fault.SATURATED, lambda i, c: noisy(i * 0.02 + 252, c.number)),
    'snow': (Fault.NOISE, lambda i, c: snow(i, c.number, 1)),
    'coarse snow': (Fault.NOISE, lambda i, c: snow(i, c.number, 8)),
    'frozen': (Fault.FROZEN, lambda i, c: c.delivered[29]),
    'frozen and compressed again': (Fault.FROZEN, lambda i, c: jpeg(c.delivered[29])),
    'repeated buffers': (Fault.FROZEN, lambda i, c: c.delivered[29 - c.number % 4]),
    'frozen with a clock': (Fault.FROZEN, lambda i, c: with_clock(c.delivered[29], c.number)),
    'swapped channels': (Fault.CHANNELS, lambda i, c: np.ascontiguousarray(i[..., ::-1])),
}


def with_clock(image, number):
    image = image.copy()
    image[4:10, 4:16] = np.random.default_rng(number).integers(0, 256, (6, 12, 3))
    return image


@pytest.mark.parametrize(('fault', 'change'), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_reported_within_5_frames_and_cleared_within_30(fault, change):
    camera = Camera()
    assert set(camera.deliver(30)) == {Fault.NONE}
    faults = camera.deliver(20, change)
    assert set(faults[4:]) == {fault}
    limit = 0.3 if fault is Fault.CHANNELS else 0.1
    assert camera.health.trust <= limit
    assert camera.deliver(30)[-1] is Fault.NONE
    assert camera.health.trust == 1.0


@pytest.mark.parametrize('how', [{'stand_still': True}, {'lag_s': 3.0}, {'lag_s': -3.0}])
def test_impossible_stamps_are_stale(how):
    camera = Camera()
    camera.deliver(30)
    assert set(camera.deliver(20, **how)[4:]) == {Fault.STALE}
    assert camera.deliver(30)[-1] is Fault.NONE


def test_a_usual_lag_is_not_stale():
    assert set(Camera().deliver(20, lag_s=0.5 * STALE_S)) == {Fault.NONE}


def test_fewer_faulty_frames_than_confirm_are_ignored():
    camera = Camera()
    camera.deliver(30)
    for fault, change in FAULTS.values():
        broken = camera.deliver(CONFIRM - 1, change)
        if fault is not Fault.CHANNELS:
            assert set(broken + camera.deliver(CLEAR)) == {Fault.NONE}


def test_a_stream_with_every_frame_doubled_is_not_frozen():
    camera = Camera()
    twice = camera.deliver(60, lambda i, c: c.delivered[-1] if c.number % 2 and c.delivered else i)
    assert Fault.FROZEN not in twice


def test_a_still_scene_is_not_frozen():
    assert set(Camera(STILL).deliver(60)) == {Fault.NONE}


def test_a_camera_that_comes_to_rest_is_not_frozen():
    pan = np.concatenate([WORLD.render(0.0, 0)] * 2, axis=1)
    camera = Camera(STILL)

    def moving(image, camera):
        x = 6 * min(camera.number, 40)
        return noisy(pan[:, x : x + 320], camera.number, 1.0)

    assert set(camera.deliver(100, moving)) == {Fault.NONE}


@settings(max_examples=25)
@given(st.floats(0.35, 1.5), st.floats(-20, 40), st.floats(0.7, 6), st.integers(0, 500))
def test_exposure_and_sensor_noise_are_not_faults(gain, offset, sigma, start):
    def other(image, camera):
        return noisy(image * gain + offset, camera.number, sigma)

    assert set(Camera(start=start).deliver(12, other)) == {Fault.NONE}


@settings(max_examples=25)
@given(st.tuples(*[st.floats(0.6, 1.5)] * 3), st.integers(0, 500))
def test_another_white_balance_is_not_a_swap_of_channels(gains, start):
    camera = Camera(start=start)
    camera.deliver(10)

    def tinted(image, camera):
        return (image * np.array(gains)).clip(0, 255).astype(np.uint8)

    assert Fault.CHANNELS not in camera.deliver(10, tinted)


def test_a_cut_between_scenes_is_not_a_fault():
    camera = Camera()
    camera.deliver(30)
    camera.world = SyntheticWorld(seed=9, width=320, height=240)
    assert set(camera.deliver(30)) == {Fault.NONE}


def test_a_gray_camera_has_no_swapped_channels():
    camera = Camera()

    def gray(image, camera):
        return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)

    assert set(camera.deliver(20, gray)) == {Fault.NONE}


def test_swapped_channels_are_remembered_across_a_cut():
    camera = Camera()
    camera.deliver(10)
    swap = FAULTS['swapped channels'][1]
    camera.deliver(10, swap)
    camera.world = SyntheticWorld(seed=9, width=320, height=240)
    assert camera.deliver(10, swap)[-1] is Fault.CHANNELS
    assert camera.deliver(10)[-1] is Fault.NONE


def test_a_camera_that_starts_broken_is_unknown_until_confirmed():
    camera = Camera()
    faults = camera.deliver(10, FAULTS['black'][1])
    assert faults[: CONFIRM - 1] == [Fault.UNKNOWN] * (CONFIRM - 1)
    assert set(faults[CONFIRM - 1 :]) == {Fault.COVERED}


def test_another_frame_size_is_not_a_fault():
    camera = Camera()
    camera.deliver(10)
    assert set(camera.deliver(10, lambda i, c: cv2.resize(i, (160, 120)))) == {Fault.NONE}


@settings(max_examples=50)
@given(st.integers(16, 70), st.integers(16, 70), st.sampled_from([0, 1, 128, 255]))
def test_accepts_frames_of_any_size(height, width, value):
    health = CameraHealth()
    for n in range(3):
        assert health.update(np.full((height, width, 3), value, np.uint8), n, n) in Fault


def test_faults_equal_those_of_the_message_and_reduce_trust():
    found = re.findall(r'^uint8 FAULT_(\w+)=(\d+)', MESSAGE.read_text(), re.MULTILINE)
    assert {name: int(value) for name, value in found} == {f.name: f.value for f in Fault}
    assert all(TRUST[f] <= 0.3 for f in Fault if f > Fault.NONE)
