# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversions of memory: `sage_msgs/Snarc`, `SnarcScore`, `Memory` and the filters of queries."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from builtin_interfaces.msg import Time
from sage_msgs.msg import LCT as LCTMessage
from sage_msgs.msg import Memory, SnarcScore
from sage_msgs.msg import Snarc as SnarcMessage
from sage_msgs.srv import Forget, QueryMemory

from sage_perception.memory import Hit, Observation, Query, Snarc, recalled_lct
from sage_perception.memory.query import MAX_STAMP_NS
from sage_perception.ros.conversions.lcts import lct_to_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg
from sage_perception.trust.security.identity import Identity

MAX_EVIDENCE_BYTES = 512  # bound of `sage_msgs/Memory.evidence`


def snarc_to_msg(snarc: Snarc) -> SnarcMessage:
    """Return salience scores as a message."""
    return SnarcMessage(**{part.name: getattr(snarc, part.name) for part in fields(Snarc)})


def snarc_from_msg(message: SnarcMessage) -> Snarc:
    """Return salience scores."""
    return Snarc(*(getattr(message, part.name) for part in fields(Snarc)))


def snarc_score_to_msg(observation: Observation) -> SnarcScore:
    """Return the salience of one observation as a message."""
    return SnarcScore(
        lct=np.frombuffer(observation.lct.id, np.uint8),
        track_id=observation.lct.latent.track_id,
        snarc=snarc_to_msg(observation.snarc),
        salience=observation.snarc.salience,
        stored=observation.stored,
    )


def memory_to_msg(hit: Hit, lct: LCTMessage) -> Memory:
    """Return a hit as a message; `lct` is its recalled LCT, which the memory node signs."""
    return Memory(
        lct=lct,
        entity_id=hit.record.entity,
        snarc=snarc_to_msg(hit.record.snarc),
        similarity=hit.similarity,
        basis=int(hit.basis),
        thing=hit.thing,
        evidence=hit.evidence.encode()[:MAX_EVIDENCE_BYTES].decode(errors='ignore'),
    )


def recalled_to_msg(hit: Hit, identity: Identity) -> LCTMessage:
    """Return the LCT of a hit as a message, recalled and signed by `identity`."""
    lct = recalled_lct(hit.record, identity.entity_id, identity.next_sequence())
    return lct_to_msg(identity.sign(lct))


def query_from_msg(
    request: QueryMemory.Request | Forget.Request, like: np.ndarray | None = None, count: int = 1
) -> Query:
    """Return the query with the filters of a request; a zero or empty field is no filter.

    Args:
        request: the request of a service.
        like: the latent to search for, float32 `[D]`.
        count: the maximum number of hits.

    Raises:
        ValueError: a filter is out of range.
    """
    return Query(
        like=like,
        since_ns=stamp_from_msg(request.since),
        until_ns=stamp_from_msg(request.until) if request.until != Time() else MAX_STAMP_NS,
        entity=request.entity_id or None,
        track=request.track_id or None,
        count=count,
        thing=getattr(request, 'thing', 0) or None,
    )
