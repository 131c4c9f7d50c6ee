# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The state of the body as a 32-D latent, standardized by the limits of the joints.

The latent is a layout, not a trained code: its dimensions are quantities divided by their limits,
so it decodes exactly. Positions come first, then the inertial measurements, then velocities and
efforts as far as they fit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sage_perception.core.latent import Latent, LatentKind, ModelId, Telemetry
from sage_perception.puzzle.joints import Joint

DIM = 32
INERTIAL = 9
"""Direction of gravity, angular velocity and linear acceleration, three values each."""
MAX_ANGULAR_VELOCITY = 10.0
"""rad/s that correspond to 1."""
MAX_ACCELERATION = 20.0
"""m/s² that correspond to 1."""
TOLERANCE = 0.05
"""Excess over a limit that counts as a valid measurement, relative to the range."""
MAX_STANDARDIZED = 1.5
"""Magnitude that standardized values are clipped to."""
LOG_VAR_GIVEN, LOG_VAR_MISSING = -12.0, 0.0
"""Log-variance of measured and of missing dimensions; a missing one is 0 ± 1."""
_GROUPS = ('velocity', 'effort')


@dataclass(frozen=True, eq=False)
class BodyState:
    """Joint states in the order of the joints, and an inertial measurement; NaN: not known.

    Attributes:
        position, velocity, effort: float `[J]`, units of the limits.
        gravity: unit vector of gravity in the frame of the sensor, `[3]`.
        angular_velocity: rad/s, `[3]`.
        acceleration: m/s², `[3]`.
    """

    position: np.ndarray
    velocity: np.ndarray
    effort: np.ndarray
    gravity: np.ndarray = field(default_factory=lambda: np.full(3, np.nan))
    angular_velocity: np.ndarray = field(default_factory=lambda: np.full(3, np.nan))
    acceleration: np.ndarray = field(default_factory=lambda: np.full(3, np.nan))


class ProprioceptionSpace:
    """The latent space of a body; its fingerprint covers the joints and their limits.

    Raises `ValueError` if the positions and the inertial measurements exceed 32 dimensions.
    """

    def __init__(self, joints: Sequence[Joint], inertial: bool = False):
        self.joints = tuple(joints)
        self.inertial = inertial
        count = len(self.joints)
        first = count + INERTIAL * inertial
        if not count or first > DIM:
            limit = DIM - INERTIAL * inertial
            raise ValueError(f'{count} joints do not fit in {DIM} dimensions: give 1 to {limit}')
        groups = [name for i, name in enumerate(_GROUPS) if first + (i + 1) * count <= DIM]
        self.groups = ('position', *groups)
        """The quantities of joints that the latent holds."""
        self.used = first + count * len(groups)
        """Number of dimensions that are used; the others are 0."""
        self._lower = np.array([joint.lower for joint in self.joints])
        self._range = np.array([joint.upper for joint in self.joints]) - self._lower
        self._scales = {
            'velocity': np.array([joint.velocity for joint in self.joints]),
            'effort': np.array([joint.effort for joint in self.joints]),
        }
        tree = [
            [[j.name, j.lower, j.upper, j.velocity, j.effort] for j in self.joints],
            inertial, self.groups, MAX_ANGULAR_VELOCITY, MAX_ACCELERATION,
        ]  # fmt: skip
        digest = hashlib.sha256(b'sage.Proprioception' + json.dumps(tree).encode()).digest()
        self.id = ModelId('proprioception', '1', digest)

    def encode(self, state: BodyState) -> Latent:
        """Return a state as a latent of kind PROPRIOCEPTION, with the trust in its telemetry.

        The trust is the share of the used dimensions that are known and within their limits.
        Unknown dimensions are 0 and have `LOG_VAR_MISSING`.
        """
        values = np.concatenate(self._standardized(state))
        known = np.isfinite(values)
        valid = known & (np.abs(np.where(known, values, 0)) <= 1 + 2 * TOLERANCE)
        mean = np.zeros(DIM, np.float32)
        mean[: self.used] = np.where(known, values, 0).clip(-MAX_STANDARDIZED, MAX_STANDARDIZED)
        log_var = np.full(DIM, LOG_VAR_MISSING, np.float32)
        log_var[: self.used][known] = LOG_VAR_GIVEN
        norm = float(np.linalg.norm(mean))
        telemetry = Telemetry(trust=float(valid.mean()), latent_norm=norm)
        return Latent(mean, log_var, LatentKind.PROPRIOCEPTION, self.id, telemetry=telemetry)

    def decode(self, latent: Latent) -> BodyState:
        """Return the state of a latent; what the latent does not hold is NaN.

        Without a log-variance, as in a packed latent, it is not known what was measured: all is
        NaN. Raises `ValueError` for a latent of another space.
        """
        if latent.model.fingerprint != self.id.fingerprint or latent.dim != DIM:
            raise ValueError(f'a latent of {latent.model} cannot be decoded by {self.id}')
        measured = False if latent.log_var is None else latent.log_var < LOG_VAR_MISSING
        values = np.where(measured, latent.mean.astype(float), np.nan)
        count = len(self.joints)
        found = {'position': self._lower + (values[:count] + 1) / 2 * self._range}
        start = count
        missing = np.full(3, np.nan)
        sensed = dict.fromkeys(('gravity', 'angular_velocity', 'acceleration'), missing)
        if self.inertial:
            parts = values[start : start + INERTIAL].reshape(3, 3)
            scales = (1.0, MAX_ANGULAR_VELOCITY, MAX_ACCELERATION)
            sensed = {n: p * s for n, p, s in zip(sensed, parts, scales, strict=True)}
            start += INERTIAL
        for name in self.groups[1:]:
            found[name] = values[start : start + count] * self._scales[name]
            start += count
        unknown = np.full(count, np.nan)
        return BodyState(
            found['position'],
            found.get('velocity', unknown),
            found.get('effort', unknown),
            **sensed,
        )

    def _standardized(self, state: BodyState) -> list[np.ndarray]:
        """Return the parts of a latent in order, without limits to their values."""
        parts = [2 * (np.asarray(state.position, float) - self._lower) / self._range - 1]
        if self.inertial:
            parts += [
                np.asarray(state.gravity, float),
                np.asarray(state.angular_velocity, float) / MAX_ANGULAR_VELOCITY,
                np.asarray(state.acceleration, float) / MAX_ACCELERATION,
            ]
        for name in self.groups[1:]:
            parts.append(np.asarray(getattr(state, name), float) / self._scales[name])
        return parts


def gravity_direction(quaternion: Sequence[float]) -> np.ndarray:
    """Return the unit vector of gravity in the frame of a body with an orientation (x, y, z, w).

    The world's z axis points up (REP-103). NaN if the quaternion has no direction: an IMU without
    orientation publishes zeros.
    """
    q = np.asarray(quaternion, float)
    norm = np.linalg.norm(q)
    if not np.isfinite(norm) or norm < 1e-6:
        return np.full(3, np.nan)
    x, y, z, w = q / norm
    return -np.array([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)])
