# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The tolerances within which two summaries are considered equal."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Annotated, TypeVar

from sage_perception.core.settings import Interval, check

T = TypeVar('T')


def _tolerance(default: T, description: str) -> T:
    return field(default=default, metadata={'description': description})


@dataclass(frozen=True)
class Tolerances:
    """Maximum differences of the values of one second; the metadata describes each field.

    They cover other thread counts, processors and versions of OpenCV and ONNX Runtime, which
    change the last bits of a result, and through a threshold occasionally a count by one.

    Raises `ValueError` for a value that is negative or not a number.
    """

    count: Annotated[float, Interval(0)] = _tolerance(
        1.0, 'Numbers of frames, LCTs, matches, records.'
    )
    pixels: Annotated[float, Interval(0)] = _tolerance(0.5, 'Center and size of a region, pixels.')
    score: Annotated[float, Interval(0)] = _tolerance(
        0.05, 'Score of a region, salience, energy retained.'
    )
    trust: Annotated[float, Interval(0)] = _tolerance(
        0.02, 'Trust, reputation, compression trust.'
    )
    similarity: Annotated[float, Interval(0)] = _tolerance(0.02, 'Similarity of two latents.')
    relative: Annotated[float, Interval(0)] = _tolerance(
        0.05, 'Reconstruction error, latent norm and bytes, as a fraction of the baseline.'
    )
    latent: Annotated[float, Interval(0)] = _tolerance(
        0.02, 'Distance of two mean latents, as a fraction of the length of the baseline.'
    )
    code: Annotated[float, Interval(0)] = _tolerance(
        0.2,
        'Distance of two mean codes, likewise: an object more or less in a context changes it.',
    )
    brief_frames: Annotated[float, Interval(0)] = _tolerance(
        2.0, 'A track with at most this number of frames in a second may be missing.'
    )

    def __post_init__(self) -> None:
        check(self)

    def as_dict(self) -> dict[str, float]:
        """Return the tolerances by name."""
        return asdict(self)
