# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The reasons for rejecting an LCT or an announcement, and their explanations for users."""

from __future__ import annotations

import enum
import shlex

from sage_perception.trust.security.entity import FORM
from sage_perception.trust.security.limits import MAX_TEXT_BYTES


class RejectionReason(str, enum.Enum):
    """The reason for rejecting an LCT or an announcement; diagnostics count LCTs by its value."""

    MALFORMED = 'malformed message'
    OVERSIZED = 'field too long'
    NO_ENTITY = 'missing entity id'
    BAD_ENTITY = 'invalid entity id'
    NO_STAMP = 'missing time stamp'
    STAMP = 'time stamp outside tolerance'
    NOT_FINITE = 'value not finite'
    OUT_OF_RANGE = 'value out of range'
    UNKNOWN_MODEL = 'unknown model'
    WRONG_MODEL = 'model fingerprint mismatch'
    DIMENSION = 'latent dimension mismatch'
    BROKEN_CHAIN = 'invalid provenance'
    REPLAYED = 'replayed or outdated sequence'
    UNKNOWN_KEY = 'no trusted key'
    REVOKED_KEY = 'revoked key'
    UNSIGNED = 'missing signature'
    BAD_SIGNATURE = 'invalid signature'
    MISSING_PROOF = 'missing provenance proof'
    BAD_PROOF = 'invalid provenance proof'
    UNKNOWN_STEP = 'provenance of an untrusted entity'
    WRONG_ENTITY = 'wrong entity for this topic'
    NOT_RELAYED = 'not signed by the arbiter'
    WRONG_RELAY = 'relayed by another entity'
    PROBE_SET_MISMATCH = 'different probe images'
    NOT_MEASURED = 'compatibility not measured'
    INCOMPATIBLE = 'incompatible latent space'
    RATE_LIMITED = 'rate limit exceeded'


# The fix for each reason that the message itself does not explain.
FIXES = {
    RejectionReason.BAD_ENTITY: f'rename the sender: an entity id is {FORM}',
    RejectionReason.STAMP: 'synchronize the clocks of the machines; '
    'for a recording, set use_sim_time on all nodes',
    RejectionReason.WRONG_MODEL: 'the latent is of a model other than the one announced on '
    'model_info, or other than the one of this node',
    RejectionReason.REPLAYED: 'it was received before, two nodes use the same entity id, or the '
    'clock of its machine was set back: it is accepted again when the clocks agree',
    RejectionReason.UNKNOWN_KEY: 'if you know the owner of the key, run: '
    'sage keys trust {entity} KEY',
    RejectionReason.REVOKED_KEY: 'make a new key on the machine of the entity with '
    'sage keys create {entity} --rotate, then run here: sage keys trust {entity} KEY',
    RejectionReason.UNSIGNED: "set the parameter 'key' of the node that publishes it",
    RejectionReason.BAD_SIGNATURE: 'it was forged or changed in transit, '
    'or the entity has a new key: then run sage keys trust {entity} KEY',
    RejectionReason.MISSING_PROOF: 'it names steps of other entities without their signatures: '
    'the sender runs an older version of sage, or invents the steps',
    RejectionReason.BAD_PROOF: 'it claims steps that their entity did not sign',
    RejectionReason.UNKNOWN_STEP: 'trust every entity in its provenance: sage keys trust ENTITY '
    'KEY',
    RejectionReason.WRONG_ENTITY: 'another entity publishes on this topic: see the parameter '
    "'camera_entities' of the arbiter, or 'arbiter_entity' and 'memory_entity' of this node",
    RejectionReason.NOT_RELAYED: "set the parameter 'key' of the arbiter, or of the memory for "
    'recall; if it is set, the message was copied from another topic',
    RejectionReason.WRONG_RELAY: 'not the entity that may sign on this topic: see the parameter '
    "'arbiter_entity' of this node, or 'memory_entity' for recall",
    RejectionReason.PROBE_SET_MISMATCH: 'the sender runs another version of sage: update the '
    'older one',
    RejectionReason.NOT_MEASURED: 'it uses another model and has not published its probe latents '
    'yet',
    RejectionReason.RATE_LIMITED: 'too many messages of this publisher were rejected: the next '
    'ones are not read',
    RejectionReason.INCOMPATIBLE: 'no alignment maps its latents to the latent space of this '
    'node: see trust_report',
}


def explain(reason: RejectionReason, entity: str = '', detail: str = '') -> str:
    """Return one line with the reason, the entity, the detail and the fix.

    Senders choose `entity`, and `detail` may quote message contents. Both are escaped so that they
    can neither control a terminal nor, copied from it, inject a shell command.
    """
    name = _escaped(entity)[:MAX_TEXT_BYTES]
    what = f'{reason.value} (entity {name!r})' if entity else reason.value
    fix = FIXES.get(reason, '').format(entity=shlex.quote(name) if entity else 'ENTITY')
    return ': '.join(part for part in (what, _escaped(detail), fix) if part)


def _escaped(text: str) -> str:
    return text if text.isprintable() else ascii(text)[1:-1]
