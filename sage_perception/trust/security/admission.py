# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Admission of received LCTs: one verdict for each, made by steps in order, counted once.

>>> admission = AdmissionFilter(TrustStore(key_folder()))
>>> verdict = admission.judge(lct, Expected(dim=64), wire=wire, unpack=unpack, now_ns=now_ns)
>>> admission.record(verdict)  # the only place with counters
>>> verdict.accepted  # the LCT with its latent unpacked, or None: see verdict.reason
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from sage_perception.core.latent import Latent
from sage_perception.core.lct import LCT
from sage_perception.trust.security.canonical import PLAIN, Wire
from sage_perception.trust.security.rejection import RejectionReason
from sage_perception.trust.security.replay import ReplayGuard
from sage_perception.trust.security.trust_store import TrustStore
from sage_perception.trust.security.validation import find_latent_fault
from sage_perception.trust.security.verification import (
    ATTRIBUTABLE,
    TOLERANCE_NS,
    SignatureStatus,
    check,
)

Unpack = Callable[[Latent], Latent]


# Named tuples are cheaper to create than frozen dataclasses, and a flood creates many.
class Verdict(NamedTuple):
    """The result of admitting one received LCT.

    Exactly one of `accepted` and `reason` is set.

    Attributes
    ----------
    received : LCT, optional
        The LCT as received; None for a message that is not an LCT, or was not read.
    accepted : LCT, optional
        The LCT to use: the received one, with its latent unpacked and translated if necessary.
    reason : RejectionReason, optional
        The reason for rejecting it.
    detail : str
        More about `reason`; may quote the message.
    signature : SignatureStatus
        The result of the signature check.
    attributable : bool
        Whether the fault is the entity's own and may lower its reputation.
    key : bytes
        The public key that verifies the signature; empty if none does.

    """

    received: LCT | None = None
    accepted: LCT | None = None
    reason: RejectionReason | None = None
    detail: str = ''
    signature: SignatureStatus = SignatureStatus.UNCHECKED
    attributable: bool = False
    key: bytes = b''

    def rejected(self, reason: RejectionReason, detail: str = '') -> Verdict:
        """Return this verdict with the LCT rejected instead."""
        return self.rejection(self.received, reason, detail, self.signature)

    @classmethod
    def rejection(
        cls,
        received: LCT | None,
        reason: RejectionReason,
        detail: str = '',
        signature: SignatureStatus = SignatureStatus.UNCHECKED,
    ) -> Verdict:
        """Return the verdict that rejects `received`."""
        attributable = reason in ATTRIBUTABLE and signature.authentic
        return cls(received, None, reason, detail, signature, attributable)


class Expected(NamedTuple):
    """The properties that a receiver expects of an entity's latents, as far as they are known.

    Attributes
    ----------
    dim, fingerprint : int, bytes, optional
        The number of dimensions and the fingerprint of the announced model.
    undecodable : RejectionReason
        The reason for rejecting a packed latent that cannot be unpacked.

    """

    dim: int | None = None
    fingerprint: bytes | None = None
    undecodable: RejectionReason = RejectionReason.MALFORMED


NOTHING_EXPECTED = Expected()


class AdmissionFilter:
    """Judges the LCTs of one sender or topic, and counts the verdicts.

    With a `store`, only signed LCTs of the entities in it are accepted; with `require_signatures`
    off, also unsigned LCTs of entities that are not in it. Without a store, signatures are not
    checked: for a robot that shares its network with no other machine.

    A `replay_guard` may be shared with the filters of other topics.
    """

    def __init__(
        self,
        store: TrustStore | None = None,
        *,
        require_signatures: bool | None = None,
        replay_guard: ReplayGuard | None = None,
    ) -> None:
        self.accepted = 0
        self.reasons: Counter[RejectionReason] = Counter()
        self.require_signatures = (
            store is not None if require_signatures is None else require_signatures
        )
        self._store = store or TrustStore()
        self._replay_guard = replay_guard or ReplayGuard()

    @property
    def rejected(self) -> int:
        """Return the number of rejected LCTs."""
        return self.reasons.total()

    def judge(
        self,
        lct: LCT,
        expected: Expected = NOTHING_EXPECTED,
        *,
        wire: Wire = PLAIN,
        unpack: Unpack | None = None,
        now_ns: int | None = None,
    ) -> Verdict:
        """Return the verdict on `lct`; changes nothing.

        Replay, then `verification.check`, then replay for the key that signed, then the entities
        in the provenance, then unpacking: no decoder sees a payload that is not signed. `unpack`
        returns a latent with the elements of its payload, or raises `ValueError`; without it a
        packed latent stays packed.
        """
        keys = self._store.valid_keys_of(lct.entity_id)
        if self._replay_guard.is_replay(lct, keys):
            return Verdict.rejection(lct, RejectionReason.REPLAYED)
        reason, signature, key = check(
            lct,
            self._store,
            dim=expected.dim,
            fingerprint=expected.fingerprint,
            now_ns=now_ns,
            tolerance_ns=TOLERANCE_NS,
            wire=wire,
            require_signature=self.require_signatures,
        )
        if reason is not None:
            return Verdict.rejection(lct, reason, signature=signature)
        # With several keys, it is known only now which one counts.
        if len(keys) > 1 and self._replay_guard.is_replay(lct, (key,)):
            return Verdict.rejection(lct, RejectionReason.REPLAYED, signature=signature)
        verdict = Verdict(lct, lct, signature=signature, key=key)
        if self.require_signatures and not self._trusts_provenance(lct):
            return verdict.rejected(RejectionReason.UNKNOWN_STEP)
        if not wire.packed or unpack is None:
            return verdict
        try:
            latent = unpack(lct.latent)
        except ValueError as error:
            return verdict.rejected(expected.undecodable, str(error))
        fault = find_latent_fault(latent, expected.dim)
        if fault is not None:
            return verdict.rejected(fault)
        return verdict._replace(accepted=replace(lct, latent=latent))

    def record(self, verdict: Verdict) -> None:
        """Count a verdict, and remember an accepted LCT as received."""
        if verdict.reason is not None:
            self.reasons[verdict.reason] += 1
            return
        self.accepted += 1
        if verdict.received is not None:
            self._replay_guard.note(verdict.received, verdict.key)

    def admit(
        self,
        lct: LCT,
        expected: Expected = NOTHING_EXPECTED,
        *,
        wire: Wire = PLAIN,
        unpack: Unpack | None = None,
        now_ns: int | None = None,
    ) -> Verdict:
        """Return the verdict of `judge` after recording it."""
        verdict = self.judge(lct, expected, wire=wire, unpack=unpack, now_ns=now_ns)
        self.record(verdict)
        return verdict

    def _has_key(self, entity_id: str) -> bool:
        return bool(self._store.keys_of(entity_id))

    def _trusts_provenance(self, lct: LCT) -> bool:
        """Return whether all entities in the provenance have a key: others prove nothing."""
        return all(self._has_key(step.entity_id) for step in lct.provenance)
