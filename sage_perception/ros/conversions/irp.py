# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversion of the distribution of a budget to `sage_msgs/Budget`."""

from __future__ import annotations

from collections.abc import Sequence

from sage_msgs.msg import Budget, BudgetShare
from std_msgs.msg import Header

from sage_perception.irp.orchestrator import Outcome, Share

MAX_SHARES = 64


def budget_shares(
    shares: Sequence[Share], tracks: Sequence[int], outcome: Outcome | None = None
) -> list[BudgetShare]:
    """Return shares of a budget as messages.

    Args:
        shares: the shares.
        tracks: the track of the item of each share; 0 for none.
        outcome: how the round of their plugin ended; by default DONE for shares with a grant and
            IDLE for others.
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


def budget_to_msg(total: int, shares: Sequence[BudgetShare], header: Header) -> Budget:
    """Return the distribution of a frame's budget as a message.

    Args:
        total: the budget, ATP.
        shares: those of the items; a message holds `MAX_SHARES`.
        header: the header of the source frame.
    """
    return Budget(header=header, total=total, shares=list(shares[:MAX_SHARES]))
