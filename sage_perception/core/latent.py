# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Basic values: image regions, model identities, latents and their telemetry."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import numpy as np

UNKNOWN_FINGERPRINT = bytes(32)


@dataclass(frozen=True)
class Roi:
    """An axis-aligned region of a frame, pixels; x to the right, y down."""

    x: int
    y: int
    width: int
    height: int

    @property
    def center(self) -> tuple[float, float]:
        """Return the center (x, y), pixels."""
        return self.x + self.width / 2, self.y + self.height / 2

    @property
    def area(self) -> int:
        """Return the area, square pixels."""
        return self.width * self.height

    def iou(self, other: Roi) -> float:
        """Return intersection over union with `other`, in [0, 1]; 0 if both are empty."""
        shared = self._shared(other)
        union = self.area + other.area - shared
        return shared / union if union else 0.0

    def fraction_inside(self, other: Roi) -> float:
        """Return the fraction of this region inside `other`, in [0, 1]; 0 if it is empty."""
        return self._shared(other) / self.area if self.area else 0.0

    def _shared(self, other: Roi) -> int:
        width = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        height = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return max(width, 0) * max(height, 0)


@dataclass(frozen=True)
class ModelId:
    """The identity of a model; models with equal fingerprints have the same latent space.

    The fingerprint alone identifies a model: `name` and `version` are for people, may be empty,
    and do not count in comparisons.
    """

    name: str = field(default='', compare=False)
    version: str = field(default='', compare=False)
    fingerprint: bytes = UNKNOWN_FINGERPRINT

    def __post_init__(self) -> None:
        if len(self.fingerprint) != 32:
            raise ValueError(
                f'fingerprint of model {self.name!r} has {len(self.fingerprint)} bytes, not 32'
            )

    def __str__(self) -> str:
        known = f'{self.name}@{self.version}' if self.name else 'model '
        return f'{known}#{self.fingerprint.hex()[:8]}'


class LatentKind(enum.IntEnum):
    """The content of a latent; the values of the `KIND_*` constants of `sage_msgs/Latent`."""

    UNKNOWN = 0
    VISION = 1
    H_CONTEXT = 2
    L_CONTEXT = 3
    AUDIO = 4
    TEXT = 5
    SLOT = 6
    FUSED = 7
    IDENTITY = 8
    SEMANTIC = 9
    VARIANCE = 10
    PROPRIOCEPTION = 11
    ACTION = 12


class HaltReason(enum.IntEnum):
    """The reason for the end of a refinement; the `HALT_*` constants of `IrpTelemetry`."""

    UNKNOWN = 0
    SINGLE_SHOT = 1
    CONVERGED = 2
    BUDGET = 3
    OSCILLATION = 4
    DIVERGED = 5
    NOT_FINITE = 6


@dataclass(frozen=True)
class Telemetry:
    """Measurements of an encoder or a refinement for one latent.

    `reconstruction_error` (mean squared error, pixels in [0, 1]) and `kl_per_dim` (nats) are NaN
    if not measured; `trust` is in [0, 1], `budget_spent` in units of ATP. `iterations` is 0 if
    only the trust is known; see `trust_only`.
    """

    trust: float = 0.0
    reconstruction_error: float = float('nan')
    kl_per_dim: float = float('nan')
    latent_norm: float = 0.0
    time_s: float = 0.0
    iterations: int = 1
    energy_trajectory: tuple[float, ...] = ()
    converged: bool = True
    halt_reason: HaltReason = HaltReason.SINGLE_SHOT
    budget_spent: float = 0.0

    @classmethod
    def trust_only(cls, trust: float) -> Telemetry:
        """Return the telemetry of a latent that was transmitted without it."""
        return cls(trust=trust, iterations=0)

    @property
    def given(self) -> bool:
        """Whether more than the trust is known."""
        return self.iterations > 0


@dataclass(frozen=True)
class Code:
    """A further code of an observation, as it is transmitted.

    `payload` is the code of the model `model` in the encoding `encoding`, one of
    `codecs.packing.Encoding`. `trust` is the calibrated confidence in the code, in units of 1/255;
    0: not given. Raises `ValueError` for a trust that is not a byte.
    """

    kind: LatentKind
    model: ModelId
    encoding: int
    payload: bytes
    trust: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.trust <= 255:
            raise ValueError(f'the trust of a code is {self.trust}: it must be 0 to 255')

    @property
    def confidence(self) -> float:
        """Return the trust in [0, 1], NaN if it is not given."""
        return self.trust / 255 if self.trust else float('nan')


@dataclass(frozen=True, eq=False)
class Latent:
    """A compressed observation.

    `mean` is float32 `[D]`; `log_var`, if given, is the natural logarithm of its variance, float32
    `[D]`. `roi` is in pixels of the source frame; `track_id` 0 means none. `codes` are further
    codes of the same observation. `snarc`, if given, are its surprise, novelty, arousal, reward
    and conflict, each in [0, 1]. Raises `ValueError` if `mean` has another shape or dtype, or
    `log_var` has another shape than `mean`.
    """

    mean: np.ndarray
    log_var: np.ndarray | None = None
    kind: LatentKind = LatentKind.VISION
    model: ModelId = field(default_factory=ModelId)
    roi: Roi | None = None
    track_id: int = 0
    telemetry: Telemetry = field(default_factory=Telemetry)
    codes: tuple[Code, ...] = ()
    snarc: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.mean.ndim != 1 or self.mean.dtype != np.float32:
            raise ValueError(
                f'a latent must be float32 [D], not {self.mean.dtype} {list(self.mean.shape)}'
            )
        if self.log_var is not None and self.log_var.shape != self.mean.shape:
            raise ValueError(
                f'log_var has shape {list(self.log_var.shape)}, mean has {list(self.mean.shape)}'
            )

    @property
    def dim(self) -> int:
        """Return the number of dimensions."""
        return self.mean.size
