# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversion of the distribution of a budget to `sage_msgs/Budget`."""

from __future__ import annotations

from collections.abc import Sequence

from sage_msgs.msg import Budget, BudgetShare
from std_msgs.msg import Header

from sage_perception.irp.orchestrator import Outcome, Share
from sage_perception.pipeline.crop_encoder import EncodedCrops

MAX_SHARES = 64


def frame_budget_to_msg(
    header: Header, encoded: EncodedCrops, refinement_budget: int
) -> Budget | None:
    """Return how the budgets of a frame were distributed among its crops; None without shares.

    Args:
        header: the header of the source frame.
        encoded: the crops; a message holds `MAX_SHARES` shares.
        refinement_budget: the budget of the refinement of a frame, ATP.
    """
    refined, coded = encoded.refinement, encoded.coded
    total, shares = 0, []
    if refined is not None:
        total = refinement_budget
        shares = _shares_to_msg(refined.shares, encoded.tracks, refined.outcome)
    if coded is not None and coded.shares:
        total += coded.budget
        shares += _shares_to_msg(coded.shares, coded.tracks)
    return Budget(header=header, total=total, shares=shares[:MAX_SHARES]) if shares else None


def _shares_to_msg(
    shares: Sequence[Share], tracks: Sequence[int], outcome: Outcome | None = None
) -> list[BudgetShare]:
    """Return shares with the tracks of their items, 0 for none.

    `outcome` is that of the round of their plugin; by default, shares with a grant are DONE and
    others IDLE.
    """
    default = {True: Outcome.DONE, False: Outcome.IDLE}
    return [
        BudgetShare(
            plugin=share.plugin,
            track_id=track,
            trust=share.trust,
            need=share.need,
            granted=share.granted,
            extra=share.extra,
            spent=share.spent,
            outcome=int(default[share.granted > 0] if outcome is None else outcome),
        )
        for share, track in zip(shares, tracks, strict=True)
    ]
