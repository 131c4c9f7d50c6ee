# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Values of cross-view fusion: accepted frames, matched frames, and fused moments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sage_perception.core.lct import LCT
from sage_perception.trust.fusion.matching import Match


@dataclass(frozen=True)
class AcceptedFrame:
    """The accepted LCTs of one frame of a camera.

    All latents are in one latent space. `stamp_ns` is the capture time. `tag` is passed through
    unchanged for the caller.
    """

    stamp_ns: int
    lcts: Sequence[LCT]
    tag: Any = None


@dataclass(frozen=True)
class Pairing:
    """A frame of another camera, with its crops matched to those of the primary frame.

    `delta_ns` is its stamp minus that of the primary frame. `matches` index into the LCTs of both
    frames. `agree` has one flag per match: true if both crops are taken for the same object.
    """

    camera: str
    frame: AcceptedFrame
    delta_ns: int
    matches: Sequence[Match]
    agree: Sequence[bool]


@dataclass(frozen=True)
class Moment:
    """One frame of the primary camera with the frames of the other cameras at the same time.

    `fused` has one LCT per LCT of `frame`, in the same order. `evidence` in [0, 1] rates the
    cameras whose agreement with others could be judged; see `majority.agreement_evidence`.
    """

    frame: AcceptedFrame
    pairings: Sequence[Pairing]
    fused: Sequence[LCT]
    evidence: Mapping[str, float] = field(default_factory=dict)

    @property
    def agreements(self) -> int:
        """Return the number of matches above the threshold."""
        return sum(sum(pairing.agree) for pairing in self.pairings)

    @property
    def disagreements(self) -> int:
        """Return the number of matches up to the threshold."""
        return sum(len(pairing.agree) for pairing in self.pairings) - self.agreements
