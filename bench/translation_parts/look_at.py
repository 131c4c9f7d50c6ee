# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The trust of the translator `look_at`: whether the object meant is then the one in the center.

Rendered scenes of six objects, of which each is meant in turn. The head starts at a random tilt,
and the fields of view in the parameters have an error of 10 % of their true values (standard
deviation). The action of `puzzle.head.look_at` turns the head; `value` is the share of objects
that are then nearer to the center of the image than all others, `error_deg` the median angle to
the center. `exact` has no errors of the fields of view, and the baseline `still` does not turn.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sage_perception.core.latent import Latent, LatentKind, Roi
from sage_perception.puzzle.action import ACTION, HEAD
from sage_perception.puzzle.head import look_at
from sage_perception.training.puzzle import cues
from sage_perception.training.puzzle.scenes import SIDE
from translation_parts.scenes import mean, scenes

MAX_TILT = 0.5
FIELD_ERROR = 0.1
JOINTS = cues.HEAD.joints[:2]


def measure(seeds: Sequence[int]) -> dict:
    """Return the shares and the angles; a seed is one of the tilts and of the errors."""
    rows = {error: [figures(seed, error) for seed in seeds] for error in (FIELD_ERROR, 0.0)}
    kept = [share for share, _, _ in rows[FIELD_ERROR]]
    return {
        'value': mean(kept),
        'seeds': kept,
        'error_deg': mean([angle for _, angle, _ in rows[FIELD_ERROR]]),
        'exact': {
            'value': mean([share for share, _, _ in rows[0.0]]),
            'error_deg': mean([angle for _, angle, _ in rows[0.0]]),
        },
        'baselines': {'still': mean([still for _, _, still in rows[FIELD_ERROR]])},
    }


def figures(seed: int, field_error: float) -> tuple[float, float, float]:
    """Return the share of objects in the center, their median angle, and the share before.

    The angle is in degrees.
    """
    rng = np.random.default_rng(seed)
    kept, still, angles = [], [], []
    for places in scenes(True).position:
        for meant, place in enumerate(places):
            start = 0.0, float(rng.uniform(-MAX_TILT, MAX_TILT))
            fields = np.array(cues.FIELD_OF_VIEW) * (1 + field_error * rng.standard_normal(2))
            end = turned(place, fields, start)
            before, after = off_center(places, start, start), off_center(places, start, end)
            still.append(before.argmin() == meant)
            kept.append(after.argmin() == meant)
            angles.append(after[meant])
    return mean(kept), float(np.degrees(np.median(angles))), mean(still)


def turned(place: np.ndarray, fields: np.ndarray, start: tuple[float, float]) -> np.ndarray:
    """Return pan and tilt after `look_at`, radians, for an object at a place of the image."""
    extent = place[2:] * SIDE
    x, y = (place[:2] + 1) / 2 * SIDE - extent / 2
    roi = Roi(*np.round((x, y, *extent)).astype(int).tolist())
    meant = Latent(np.zeros(1, np.float32), None, LatentKind.FUSED, ACTION, roi)
    action = look_at(meant, (SIDE, SIDE), (float(fields[0]), float(fields[1])), JOINTS, start)
    lower, upper = (np.array([getattr(j, name) for j in JOINTS]) for name in ('lower', 'upper'))
    return lower + (action.mean[HEAD] + 1) / 2 * (upper - lower)


def off_center(places: np.ndarray, start: Sequence[float], end: Sequence[float]) -> np.ndarray:
    """Return the angles of objects to the optical axis after a turn of the head, radians `[N]`.

    `places` are those in the image before; axes as in REP-103, x ahead, y to the left, z up.
    """
    tangents = np.tan(np.asarray(cues.FIELD_OF_VIEW) / 2)
    rays = np.concatenate((np.ones((len(places), 1)), -places[:, :2] * tangents), 1)
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    axis = (rotation(*start).T @ rotation(*end))[:, 0]
    angles: np.ndarray = np.arccos((rays @ axis).clip(-1, 1))
    return angles


def rotation(pan: float, tilt: float) -> np.ndarray:
    """Return the rotation of a head: its tilt about y, then its pan about z, `[3, 3]`."""
    c, s = np.cos(pan), np.sin(pan)
    about_z = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    c, s = np.cos(tilt), np.sin(tilt)
    return about_z @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
