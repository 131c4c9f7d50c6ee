# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Lets LCTs pass that may be believed, and counts the others by reason."""

from __future__ import annotations

import shlex
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import replace

from sage_perception.core.latent import Latent
from sage_perception.core.lct import LCT
from sage_perception.trust.security.canonical import PLAIN, Wire
from sage_perception.trust.security.rejection import (
    MAX_TEXT_BYTES,
    RejectionReason,
    find_number_fault,
)
from sage_perception.trust.security.signing import TOLERANCE_NS, verify
from sage_perception.trust.security.trust_store import TrustStore

# What can be done about a refusal, where the message itself does not say it.
FIXES = {
    RejectionReason.STAMP: 'synchronize the clocks of the machines; '
    'for a recording give all use_sim_time',
    RejectionReason.WRONG_MODEL: 'it is not of the model that was announced on model_info, '
    'or that is understood here',
    RejectionReason.SEQUENCE: 'it was heard already, or two nodes speak in this name',
    RejectionReason.UNKNOWN_KEY: 'if you know whose it is: sage keys trust {entity} KEY',
    RejectionReason.REVOKED_KEY: 'make a new key where it speaks: '
    'sage keys create {entity} --rotate, and here sage keys trust {entity} KEY',
    RejectionReason.UNSIGNED: "set parameter 'key' of the node that speaks in this name",
    RejectionReason.BAD_SIGNATURE: 'it was forged or changed on the way, '
    'or it has a new key: then sage keys trust {entity} KEY',
    RejectionReason.UNPROVEN: 'it names steps of others without their signatures: '
    'its version of sage is older, or it invents them',
    RejectionReason.BAD_PROOF: 'it says of another entity what that one never signed',
    RejectionReason.UNKNOWN_STEP: 'trust all whom it went through: sage keys trust ENTITY KEY',
    RejectionReason.WRONG_ENTITY: 'another one speaks there: see parameter '
    "'camera_entities' of the arbiter",
    RejectionReason.OTHER_PROBES: 'its version of sage has other images: update one of both',
    RejectionReason.NOT_MEASURED: 'it speaks another model and has not published its probes yet',
    RejectionReason.FLOOD: 'so much was refused there that some is left unread',
    RejectionReason.INCOMPATIBLE: 'no map brings its latents into ours: see trust_report',
}


class ReplayGuard:
    """What was accepted: how far each entity has counted, and the ids of the last signed LCTs.

    All screens of a process share one, so that what one camera said is not said again on the
    topic of another. Its memory is bounded: entities with a key are as many as are trusted, and of
    all others only the last to speak are remembered.
    """

    RECENT = 4096
    STRANGERS = 256

    def __init__(self):
        self._counts: dict[str, int] = {}
        self._strangers: OrderedDict[str, int] = OrderedDict()
        self._ids: OrderedDict[bytes, None] = OrderedDict()

    def repeats(self, lct: LCT, signed: bool) -> bool:
        """Return whether this was said before, or something later was."""
        counts = self._counts if signed else self._strangers
        return lct.sequence <= counts.get(lct.entity_id, -1) or lct.id in self._ids

    def note(self, lct: LCT, signed: bool) -> None:
        """Remember an LCT that was accepted."""
        if not signed:
            self._strangers[lct.entity_id] = lct.sequence
            self._strangers.move_to_end(lct.entity_id)
            if len(self._strangers) > self.STRANGERS:
                self._strangers.popitem(last=False)
            return
        self._counts[lct.entity_id] = lct.sequence
        self._ids[lct.id] = None
        if len(self._ids) > self.RECENT:
            self._ids.popitem(last=False)


class TokenBucket:
    """How much may be refused before it is a flood: a token bucket.

    An honest speaker has next to nothing refused; a signature that is none costs as much to look
    at as one that is. `RATE` refusals a second are always looked at, and `BURST` at once.
    """

    RATE, BURST = 50.0, 100.0

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        rate: float = RATE,
        burst: float = BURST,
    ):
        self._clock = clock
        self._rate, self._burst = rate, burst
        self._left = burst
        self._last = clock()

    def spend(self) -> None:
        """Take note of a refusal."""
        self._refill()
        self._left = max(self._left - 1, 0.0)

    @property
    def whole(self) -> bool:
        """Return whether all is left."""
        self._refill()
        return self._left == self._burst

    @property
    def spent(self) -> bool:
        """Return whether nothing is left."""
        self._refill()
        return self._left < 1

    def _refill(self) -> None:
        now = self._clock()
        self._left = min(self._left + (now - self._last) * self._rate, self._burst)
        self._last = now


class PublisherRateLimiter:
    """Holds a flood on a topic back before it costs anything to look at it.

    A publisher that was believed has a budget of refusals of its own; all others share one, so
    that to come as many helps nobody, and to flood a topic takes nothing from who speaks there.
    `publisher` is what the middleware knows it by; where that is nothing, all count as one.
    """

    KNOWN = 16  # publishers remembered

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._strangers = TokenBucket(clock)
        self._known: OrderedDict[bytes, TokenBucket] = OrderedDict()

    def admits(self, publisher: bytes) -> bool:
        """Return whether to look at what a publisher says."""
        return not self._known.get(publisher, self._strangers).spent

    def note(self, publisher: bytes, believed: bool) -> None:
        """Take note of whether an LCT was believed."""
        if not believed:
            self._known.get(publisher, self._strangers).spend()
            return
        if publisher not in self._known:
            self._known[publisher] = TokenBucket(self._clock)
        self._known.move_to_end(publisher)
        if len(self._known) > self.KNOWN:
            self._known.popitem(last=False)


class PublisherQuota:
    """Lets each publisher say a few things, then few: for topics where all is said but once.

    To leave unread what is latched, because others say too much, would be never to hear it. So
    every publisher has a budget of its own, known or not, and whatever it says costs, also what is
    believed: that has to be measured. Only who comes as more than `MOST` shares one.
    """

    RATE, BURST, MOST = 0.2, 8.0, 64

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._budgets: dict[bytes, TokenBucket] = {}
        self._others = self._budget()

    def admits(self, publisher: bytes) -> bool:
        """Return whether to look at what a publisher says; if so, it has cost."""
        budget = self._budgets.get(publisher) or self._welcome(publisher)
        if budget.spent:
            return False
        budget.spend()
        return True

    def _budget(self) -> TokenBucket:
        return TokenBucket(self._clock, self.RATE, self.BURST)

    def _welcome(self, publisher: bytes) -> TokenBucket:
        """Return the budget of a publisher that is new, or has not spoken for long."""
        if len(self._budgets) >= self.MOST:
            self._budgets = {p: b for p, b in self._budgets.items() if not b.whole}
        if len(self._budgets) >= self.MOST:
            return self._others
        return self._budgets.setdefault(publisher, self._budget())


class AdmissionFilter:
    """Judges what comes from one sender.

    With a `store` only signed LCTs of the entities in it pass; with `require_signatures` off also
    unsigned ones of entities that are not. Without a store signatures are not looked at: for a
    robot alone.
    """

    def __init__(
        self,
        store: TrustStore | None = None,
        *,
        require_signatures: bool | None = None,
        tolerance_ns: int = TOLERANCE_NS,
        history: ReplayGuard | None = None,
    ):
        self.accepted = 0
        self.reasons: Counter[RejectionReason] = Counter()
        self.require_signatures = (
            store is not None if require_signatures is None else require_signatures
        )
        self._store = store or TrustStore()
        self._tolerance_ns = tolerance_ns
        self._history = history or ReplayGuard()

    @property
    def refused(self) -> int:
        """Return how many were refused, for whatever reason."""
        return self.reasons.total()

    def judge(
        self,
        lct: LCT,
        dim: int | None = None,
        *,
        fingerprint: bytes | None = None,
        now_ns: int | None = None,
        wire: Wire = PLAIN,
    ) -> RejectionReason | None:
        """Return why `lct` is refused, or None when it is accepted; either is counted.

        Takes what `verify` does. A packed latent may be judged before it is unpacked: `admit` does
        both.
        """
        signed = bool(self._store.keys_of(lct.entity_id))
        fault = RejectionReason.SEQUENCE if self._history.repeats(lct, signed) else None
        fault = fault or verify(
            lct,
            self._store,
            dim=dim,
            fingerprint=fingerprint,
            now_ns=now_ns,
            tolerance_ns=self._tolerance_ns,
            wire=wire,
            require_signature=self.require_signatures,
        )
        if fault is None and self.require_signatures and not self._knows_all(lct):
            fault = RejectionReason.UNKNOWN_STEP
        if fault is not None:
            self.refuse(fault)
            return fault
        self._history.note(lct, signed)
        self.accepted += 1
        return None

    def _knows_all(self, lct: LCT) -> bool:
        """Return whether whoever took part in an LCT has a key: the others prove nothing."""
        return all(self._store.keys_of(step.entity_id) for step in lct.provenance)

    def admit(
        self,
        lct: LCT,
        dim: int | None = None,
        *,
        unpack: Callable[[Latent], Latent],
        unreadable: RejectionReason = RejectionReason.MALFORMED,
        wire: Wire = PLAIN,
        **known,
    ) -> LCT | RejectionReason:
        """Return `lct` with the numbers of its latent, or why it is refused.

        Takes what `judge` does. A packed latent is unpacked once it has been judged: what nobody
        signed for reaches no decoder. Where `unpack` raises `ValueError` it is refused as
        `unreadable`.
        """
        fault = self.judge(lct, dim, wire=wire, **known)
        if fault is not None or not wire.packed:
            return fault or lct
        try:
            lct = replace(lct, latent=unpack(lct.latent))
        except ValueError:
            fault = unreadable
        else:
            fault = find_number_fault(lct.latent, dim)
        if fault is not None:
            self.withdraw(fault)
        return fault or lct

    def withdraw(self, reason: RejectionReason) -> None:
        """Count an LCT that was accepted as refused after all."""
        self.accepted -= 1
        self.refuse(reason)

    def refuse(self, reason: RejectionReason) -> None:
        """Count a refusal that was decided elsewhere."""
        self.reasons[reason] += 1


def explain(reason: RejectionReason, entity: str, detail: str = '') -> str:
    """Return on one line why what `entity` said is refused, and what to do about it.

    A name is anybody's to choose, and `detail` may quote more: both are shown so that they can
    neither write to a terminal nor, copied from it, to a shell.
    """
    name = _shown(entity)[:MAX_TEXT_BYTES]
    fix = FIXES.get(reason, '').format(entity=shlex.quote(name))
    parts = (f'{reason.value}, said in the name of {name!r}', _shown(detail), fix)
    return ': '.join(part for part in parts if part)


def _shown(text: str) -> str:
    return text if text.isprintable() else ascii(text)[1:-1]
