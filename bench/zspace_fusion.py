# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Fusion of the latents of two cameras, one of which is degraded, occluded or faces away.

The truth is the mean of both cameras' latents without the fault. Errors are relative to the
distance of the truth from the mean latent of the model, and are measured while the fault lasts.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import cv2
import numpy as np

from sage_perception.core.lct import LCT
from sage_perception.models import load_crop_codec
from sage_perception.pipeline.crop_encoder import CropEncoder
from sage_perception.trust import Arbiter, ArbiterConfig
from sage_perception.trust.fitted import similarity_of
from sage_perception.trust.fusion.fusion import View, fuse
from sage_perception.trust.fusion.matching import center
from sage_perception.trust.fusion.moments import AcceptedFrame
from sage_perception.trust.security.identity import Identity
from sage_perception.vision.crops import crop_image, square_roi
from sage_perception.vision.synthetic import SyntheticWorld
from sage_perception.zspace import MultiViewFusion, TemporalResonanceBuffer, ViewDescriptor

FAULTS = ('degraded', 'occluded', 'facing_away')
FRAMES, RATE_HZ = 60, 10.0
ONSET, END = 20, 45
RAMP = 8
CAMERAS = ('cam0', 'cam1')
POWER = 8.0
"""The default of the parameter `consistency_power` of `arbiter_node`."""
FOCAL_PX, DEPTH_M, BASELINE_M = 500.0, 2.0, 0.2
MAX_YAW = float(np.radians(75))
CHOICE_SEEDS = (50, 51, 52)
GAMMAS = (1.0, 4.0, 8.0)
MINIMUMS = (0.001, 0.05, 0.2)
CONSISTENCY = (0.0, 2.0, 8.0)
DECAYS = (0.25, 0.5)


class Settings(NamedTuple):
    """γ, minimum baseline, exponent of the consistency with the past, weight of the newest."""

    gamma: float
    minimum: float
    consistency: float
    decay: float


class Moment(NamedTuple):
    """The LCTs of both cameras, their forward vectors, the target, and the true latent."""

    lcts: list[LCT]
    forwards: list[np.ndarray]
    target: np.ndarray
    truth: np.ndarray


class Scenes:
    """Renders the scenes and encodes their crops."""

    def __init__(self) -> None:
        self.codec = load_crop_codec('tinyvae')
        self.mean = np.asarray(self.codec.latent_mean, np.float64).ravel()

    def moments(self, fault: str, seed: int) -> list[Moment]:
        """Return the moments of a scene; the faulty camera depends on the seed."""
        world = SyntheticWorld(seed, objects=3)
        encoders = [CropEncoder(self.codec, measure_every=1) for _ in range(2)]
        identities = [Identity(f'cam{i}') for i in range(2)]
        random, faulty = np.random.default_rng(seed), seed % 2
        found = []
        for index in range(FRAMES):
            t = index / RATE_HZ
            image, roi = world.render(t, index), world.truth(t)[0].roi
            square = square_roi(roi.center, 1.2 * max(roi.width, roi.height), 640, 480)
            x = (roi.center[0] - 320) * DEPTH_M / FOCAL_PX
            moment = Moment([], [], np.array([x, 0.0, DEPTH_M]), np.zeros_like(self.mean))
            for camera, encoder in enumerate(encoders):
                view = cv2.convertScaleAbs(image, alpha=(1.0, 0.92)[camera])
                crop, yaw = crop_image(view, square, 64), 0.0
                moment.truth[:] += encoder.encode_image(crop).mean / 2
                if camera == faulty and ONSET <= index < END:
                    if fault == 'facing_away':
                        yaw = MAX_YAW * min((index - ONSET) / RAMP, (END - index) / RAMP, 1)
                        shifted = roi.center[0] + FOCAL_PX * np.tan(min(yaw, 1.2))
                        elsewhere = square_roi((shifted, roi.center[1]), square.width, 640, 480)
                        crop = crop_image(view, elsewhere, 64)
                    else:
                        crop = _spoiled(crop, fault, random)
                inputs = encoder.to_input(crop)[None]
                latent = encoder.encode(inputs, [square], [camera + 1]).latents[0]
                stamp_ns = int((1 + t) * 1e9)
                moment.lcts.extend(encoder.lcts([latent], stamp_ns, identities[camera]))
                moment.forwards.append(np.array([np.sin(yaw), 0.0, np.cos(yaw)]))
            found.append(moment)
        return found

    def error(self, fused: list[np.ndarray], moments: list[Moment]) -> float:
        """Return the mean relative error of latents while the fault lasts."""
        return float(
            np.mean(
                [
                    np.linalg.norm(fused[i] - moments[i].truth)
                    / np.linalg.norm(moments[i].truth - self.mean)
                    for i in range(ONSET, END)
                ]
            )
        )

    def baselines(self, moments: list[Moment]) -> dict[str, float]:
        """Return the errors of the better camera, the mean, and the fusion of the arbiter.

        `precision_weights` fuses both views; `arbiter_without_past` fuses views that agree, and
        passes the primary one otherwise.
        """
        alone = [[m.lcts[camera].latent.mean for m in moments] for camera in (0, 1)]
        precision = [
            fuse([View(lct) for lct in m.lcts], self.mean, 'arbiter', 1).latent.mean
            for m in moments
        ]
        return {
            'better_camera': min(self.error(each, moments) for each in alone),
            'mean': self.error([(a + b) / 2 for a, b in zip(*alone, strict=True)], moments),
            'precision_weights': self.error(precision, moments),
            'arbiter_without_past': self.error(self.arbiter(moments, 0.0), moments),
        }

    def arbiter(self, moments: list[Moment], power: float) -> list[np.ndarray]:
        """Return the latents that an arbiter fuses; the camera of the first view is primary."""
        config = ArbiterConfig(consistency_power=power)
        arbiter = Arbiter(CAMERAS, self.codec, config, similarity=similarity_of(self.codec))
        done = []
        for moment in moments:
            for camera, lct in zip(CAMERAS, moment.lcts, strict=True):
                done += arbiter.add_frame(camera, AcceptedFrame(lct.stamp_ns, [lct]))
        done += arbiter.expire(moments[-1].lcts[0].stamp_ns + 10**9)
        return [moment.fused[0].latent.mean for moment in done]

    def fuse(
        self, moments: list[Moment], settings: Settings
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Return the latents of view-weighted fusion and the weights of the views `[T, 2]`.

        The baseline of a view is the trust in its LCT times its cosine with the fused latents of
        the past second, to the power `consistency`.
        """
        smooth = TemporalResonanceBuffer(settings.decay)
        past: np.ndarray | None = None
        fused, weights = [], []
        for moment in moments:
            latents = np.stack([lct.latent.mean for lct in moment.lcts]).astype(np.float64)
            baselines = np.array([lct.trust for lct in moment.lcts])
            if past is not None:
                similar = self._cosines(latents, past)
                baselines = baselines * np.maximum(similar, 1e-3) ** settings.consistency
            views = [
                ViewDescriptor(f'cam{i}', ((i - 0.5) * BASELINE_M, 0, 0), forward)
                for i, forward in enumerate(moment.forwards)
            ]
            fusion = (
                MultiViewFusion(views)
                .with_focus_point(moment.target)
                .with_alignment_gamma(settings.gamma)
                .with_min_baseline(settings.minimum)
                .with_baseline_weights(baselines)
            )
            weights.append(smooth.apply(fusion.view_bias_profile()))
            fused.append(weights[-1] @ latents)
            past = fused[-1] if past is None else 0.8 * past + 0.2 * fused[-1]
        return fused, np.array(weights)

    def _cosines(self, latents: np.ndarray, past: np.ndarray) -> np.ndarray:
        centered = center(np.vstack([latents, past]), self.mean)
        unit = centered / np.maximum(np.linalg.norm(centered, axis=1, keepdims=True), 1e-9)
        return unit[:-1] @ unit[-1]


def _spoiled(crop: np.ndarray, fault: str, random: np.random.Generator) -> np.ndarray:
    if fault == 'degraded':
        blurred = cv2.GaussianBlur(crop, (0, 0), 4).astype(np.float32)
        noisy = 0.6 * blurred + 60 + random.normal(0, 14, crop.shape)
        return noisy.clip(0, 255).astype(np.uint8)
    covered = crop.copy()
    covered[:, 20:] = (90, 80, 70)
    return covered


def measure(seeds: list[int]) -> dict:
    """Return the errors of the fused latents by fault, and the largest step at the hand-over.

    The value is that of the arbiter. For `both_views_always`, which weighs both views without a
    test of their agreement, γ, the minimum, the consistency and the smoothing are chosen on other
    scenes.
    """
    scenes = Scenes()
    other = [scenes.moments(fault, seed) for fault in FAULTS for seed in CHOICE_SEEDS]
    options = [
        Settings(*each) for each in itertools.product(GAMMAS, MINIMUMS, CONSISTENCY, DECAYS)
    ]

    def cost(settings: Settings) -> float:
        return sum(scenes.error(scenes.fuse(each, settings)[0], each) for each in other)

    chosen = min(options, key=cost)
    without_past = min((each for each in options if not each.consistency), key=cost)
    result: dict = {}
    steps = []
    for fault in FAULTS:
        groups = [scenes.moments(fault, seed) for seed in seeds]
        ours, real = [], []
        for moments in groups:
            real.append(scenes.error(scenes.arbiter(moments, POWER), moments))
            fused, weights = scenes.fuse(moments, chosen)
            ours.append(scenes.error(fused, moments))
            raw = scenes.fuse(moments, chosen._replace(decay=1.0))[1]
            steps.append([abs(np.diff(each, axis=0)).max() for each in (weights, raw)])
        found = [scenes.baselines(moments) for moments in groups]
        plain = [scenes.error(scenes.fuse(m, without_past)[0], m) for m in groups]
        result[fault] = {
            'value': round(float(np.mean(real)), 3),
            'baselines': {
                'both_views_always': round(float(np.mean(ours)), 3),
                'trust_and_direction_only': round(float(np.mean(plain)), 3),
                **{n: round(float(np.mean([f[n] for f in found])), 3) for n in found[0]},
            },
            'by_seed': [round(value, 3) for value in real],
            'seeds': seeds,
        }
    smoothed, raw_step = np.array(steps).max(axis=0)
    result['hand_over'] = {
        'value': round(float(smoothed), 3),
        'baselines': {'without_smoothing': round(float(raw_step), 3)},
        'seeds': seeds,
    }
    result['settings'] = {
        'value': chosen._asdict(),
        'trust_and_direction_only': without_past._asdict(),
    }
    return result
