# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Values that report compatibility: levels, measured trust, and the trust report."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sage_perception.core.latent import ModelId

LEVEL_BOUNDS = (0.5, 0.7, 0.9)
"""Smallest trust of the levels LOW, MEDIUM and HIGH."""


class Level(enum.IntEnum):
    """Compatibility of latents; the values of `sage_msgs/TrustReport`'s LEVEL_ constants."""

    UNKNOWN = 0
    NONE = 1
    LOW = 2
    MEDIUM = 3
    HIGH = 4

    @classmethod
    def of(cls, trust: float) -> Level:
        """Return the level of a trust in [0, 1]; UNKNOWN for NaN, a trust not measured."""
        if math.isnan(trust):
            return cls.UNKNOWN
        return cls(cls.NONE + sum(trust >= bound for bound in LEVEL_BOUNDS))

    @property
    def action(self) -> str:
        """Return the recommended use of latents of this level (specification, section 7.3)."""
        return ACTIONS[self]


ACTIONS = {
    Level.UNKNOWN: 'not measured: reject',
    Level.NONE: 'incompatible: reject',
    Level.LOW: 'translation needed',
    Level.MEDIUM: 'minor adjustment needed',
    Level.HIGH: 'share directly',
}


@dataclass(frozen=True)
class MeasuredTrust:
    """The trust in latents, measured on the held-out probe images.

    `forward` and `backward` are in [0, 1]. `psnr` is that of the decoded images, dB; NaN if the
    latents cannot be decoded.
    """

    forward: float
    backward: float
    psnr: float

    @property
    def compression_trust(self) -> float:
        """Return the smaller of forward and backward trust."""
        return min(self.forward, self.backward)

    @cached_property
    def level(self) -> Level:
        """Return the level of the compression trust."""
        return Level.of(self.compression_trust)


NO_TRUST = MeasuredTrust(0.0, 0.0, math.nan)


@dataclass(frozen=True)
class TrustReport:
    """The fields of `sage_msgs/TrustReport` except the header; `entity_b` sends to `entity_a`.

    Trusts and `reputation` are in [0, 1], NaN if unknown; `accepted` and `refused`, which is the
    number of rejected ones, count LCTs.
    """

    entity_a: str
    entity_b: str
    model_b: ModelId
    forward: float
    backward: float
    calibrated: bool
    probes: int
    reason: str
    accepted: int = 0
    refused: int = 0
    reputation: float = math.nan

    @property
    def compression_trust(self) -> float:
        """Return the smaller of forward and backward trust; NaN if either is."""
        return float(np.minimum(self.forward, self.backward))

    @property
    def level(self) -> Level:
        """Return the level of the compression trust."""
        return Level.of(self.compression_trust)
