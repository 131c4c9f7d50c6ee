# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversion of a round of refinement to `sage_msgs/Budget`."""

from __future__ import annotations

from collections.abc import Sequence

from sage_msgs.msg import Budget, BudgetShare
from std_msgs.msg import Header

from sage_perception.irp.orchestrator import Result


def budget_to_msg(result: Result, tracks: Sequence[int], total: int, header: Header) -> Budget:
    """Return the distribution of a frame's budget over its crops as a message.

    Args:
        result: the round of refinement.
        tracks: the track of each crop; 0 for none.
        total: the budget, ATP.
        header: the header of the source frame.
    """
    return Budget(
        header=header,
        total=total,
        shares=[
            BudgetShare(
                plugin=share.plugin,
                track_id=track,
                trust=share.trust,
                need=share.need,
                granted=share.granted,
                extra=share.extra,
                spent=share.spent,
                outcome=int(result.outcome),
            )
            for share, track in zip(result.shares, tracks, strict=True)
        ],
    )
