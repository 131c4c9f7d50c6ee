# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Telemetry that calibrates a projector: summaries of a time window, and atlas frames."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sage_perception.zspace.checks import number


@dataclass(frozen=True)
class ChronoSummary:
    """Statistics of a time window (spec 004, Generative resonance coupling).

    `duration` and `latest_timestamp` are in seconds. Drift is the change of a signal per second,
    energy its mean square, and decay the change of the energy per second. Raises `ZSpaceError`
    for a value that is not finite.
    """

    frames: int = 0
    duration: float = 0.0
    latest_timestamp: float = 0.0
    mean_drift: float = 0.0
    mean_abs_drift: float = 0.0
    drift_std: float = 0.0
    mean_energy: float = 0.0
    energy_std: float = 0.0
    mean_decay: float = 0.0
    min_energy: float = 0.0
    max_energy: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            number(field.name, getattr(self, field.name))


@dataclass(frozen=True)
class AtlasFrame:
    """Live telemetry of a projector; None leaves a setting as it is.

    `z_signal` sets the focus, `suggested_pressure` the spread and `collapse_total` the energy
    bias; see `VisionProjector.calibrate_from_atlas`. Raises `ZSpaceError` for a value that is not
    finite.
    """

    timestamp: float = 0.0
    z_signal: float | None = None
    suggested_pressure: float | None = None
    collapse_total: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                number(field.name, value)
