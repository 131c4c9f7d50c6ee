# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The settings of an arbiter."""

from __future__ import annotations

from dataclasses import dataclass

from sage_perception.core.settings import NonNegativeFloat, check


@dataclass(frozen=True)
class ArbiterConfig:
    """How an arbiter synchronizes, challenges and fuses its cameras.

    Raises `ValueError` that names the field and the allowed range for a value out of range.

    Attributes
    ----------
    sync_slop_s, sync_timeout_s : float
        Largest difference between the stamps of one moment, and the time that the primary camera
        waits for the others, seconds; see `FrameSynchronizer`.
    challenge_period_s : float
        Mean time between the challenges of a camera, seconds; 0: none.
    shared_view : bool
        All cameras see the same scene: a camera that agrees with none for a minute, while the
        others agree, becomes suspect. Otherwise it may see other objects.
    consistency_power : float
        Exponent of the consistency of views with the past of their track, see
        `view_history.ViewHistory`; 0: views are weighed without the past.

    """

    sync_slop_s: NonNegativeFloat = 0.02
    sync_timeout_s: NonNegativeFloat = 0.15
    challenge_period_s: NonNegativeFloat = 60.0
    shared_view: bool = False
    consistency_power: NonNegativeFloat = 8.0

    def __post_init__(self) -> None:
        check(self)
