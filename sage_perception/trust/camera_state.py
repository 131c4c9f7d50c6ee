# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The state that an arbiter keeps for each camera."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from sage_perception.core.latent import ModelId
from sage_perception.core.lct import LCT
from sage_perception.trust.compatibility.challenge import Challenges
from sage_perception.trust.compatibility.estimator import CompatibilityResult
from sage_perception.trust.compatibility.live import LiveStatistics
from sage_perception.trust.compatibility.report import Level, TrustReport
from sage_perception.trust.fusion.majority import AGREEMENT, CONTRADICTION
from sage_perception.trust.reputation import Corroboration, Elapsed, Reputation
from sage_perception.trust.security.admission import AdmissionFilter, Expected, Verdict
from sage_perception.trust.security.announcements import (
    Announcement,
    ModelAnnouncement,
    ProbeAnswer,
    ProbeSet,
    verify_announcement,
)
from sage_perception.trust.security.rejection import RejectionReason
from sage_perception.trust.security.replay import ReplayGuard
from sage_perception.trust.security.trust_store import TrustStore
from sage_perception.trust.security.verification import SignatureCheck

# Time constants of the reputation of a camera that no other one supports, seconds.
CONTRADICTION_TIME_S = 8.0
DISAGREEMENT_TIME_S = 1.0
# Time over which the overlap of its view with that of the primary camera is learned, seconds.
OVERLAP_TIME_S = 60.0
# Smallest mean telemetry trust of a frame that is fully good evidence.
EXPECTED_TRUST = 0.5


class CameraState:
    """The announcements, verdicts and reputation of the entity that publishes for one camera.

    `name` is the camera, `entity` the entity id that may publish on its topics. `model` and `dim`
    are the arbiter's model and the number of dimensions of its latents.
    """

    def __init__(
        self,
        name: str,
        entity: str,
        store: TrustStore,
        *,
        model: ModelId,
        dim: int,
        require_signatures: bool,
        replay_guard: ReplayGuard,
        challenge_period_s: float = 60.0,
    ) -> None:
        self.name = name
        self.entity = entity
        self.admission = AdmissionFilter(
            store, require_signatures=require_signatures, replay_guard=replay_guard
        )
        self.reputation = Reputation()
        self.corroboration = Corroboration()
        self.overlap = Corroboration(OVERLAP_TIME_S, rate=0.0)
        self.announcement: ModelAnnouncement | None = None
        self.probes: ProbeSet | None = None
        self.compatibility: CompatibilityResult | None = None
        self.live: LiveStatistics | None = None
        self.challenges = Challenges(challenge_period_s)
        self.withheld = 0
        self._store, self._replay_guard = store, replay_guard
        self._model, self._dim = model, dim
        self._elapsed = Elapsed()
        self._penalized = -1  # the last sequence that lowered the reputation

    # Announcements

    def register_model(self, announcement: ModelAnnouncement) -> RejectionReason | None:
        """Replace the announced model; return the reason if it is rejected."""
        fault, key = self._verify(announcement)
        if fault is None and self._is_own(announcement.model) and announcement.dim != self._dim:
            fault = RejectionReason.DIMENSION
        if fault is None:
            self.announcement = announcement
            self._note(announcement, key)
        return fault

    def submit_probes(self, probe_set: ProbeSet) -> RejectionReason | None:
        """Replace the probe latents; return the reason if they are rejected."""
        fault, key = self._verify(probe_set)
        if fault is None:
            self.probes = probe_set
            self._note(probe_set, key)
        return fault

    def submit_answer(self, answer: ProbeAnswer) -> RejectionReason | None:
        """Close the open challenge that an answer is for; return the reason if it is rejected."""
        fault, key = self._verify(answer)
        if fault is None and (
            self.probes is None or answer.model.fingerprint != self.probes.model.fingerprint
        ):
            fault = RejectionReason.WRONG_MODEL
        if fault is None and not self.challenges.close(answer.nonce):
            fault = RejectionReason.REPLAYED
        if fault is None:
            self._note(answer, key)
        return fault

    def use_compatibility(self, result: CompatibilityResult, probes: ProbeSet) -> None:
        """Use a compatibility result, and compare live latents with its probe latents from now on.

        Latents are compared in the space that `result` translates them to.
        """
        if self.compatibility is not result:
            z = probes.latents
            usable = result.trust.level is not Level.NONE
            self.live = LiveStatistics(result.translate(z)) if usable else None
        self.compatibility = result

    def _verify(self, announcement: Announcement) -> SignatureCheck:
        required = self.admission.require_signatures
        if required and announcement.entity_id != self.entity:
            return SignatureCheck(RejectionReason.WRONG_ENTITY)
        found = verify_announcement(announcement, self._store, require_signature=required)
        # Anyone can write the sequence of an unsigned announcement: it excludes no later one.
        if found.key and self._replay_guard.is_older(*_place(announcement), found.key):
            return SignatureCheck(RejectionReason.REPLAYED)
        return found

    def _note(self, announcement: Announcement, key: bytes) -> None:
        if key:
            self._replay_guard.note_sequence(*_place(announcement), key)

    def expected(self, received: ModelId) -> Expected:
        """Return the expected properties of a latent that claims to be of the model `received`.

        Until the camera announces a model, only latents of the arbiter's own model have a known
        number of dimensions, and packed latents cannot be unpacked.
        """
        if self.announcement is not None:
            return Expected(self.announcement.dim, self.announcement.model.fingerprint)
        dim = self._dim if self._is_own(received) else None
        return Expected(dim, undecodable=RejectionReason.UNKNOWN_MODEL)

    def _is_own(self, model: ModelId) -> bool:
        return model.fingerprint == self._model.fingerprint

    def compatibility_of(self, model: ModelId) -> CompatibilityResult | None:
        """Return the compatibility result, if it was measured for latents of `model`."""
        result = self.compatibility
        if result is None or result.sender.fingerprint != model.fingerprint:
            return None
        return result

    @property
    def compatible(self) -> bool:
        """Whether latents of the announced model can be used, as far as it is known."""
        if self.announcement is None:
            return True
        result = self.compatibility_of(self.announcement.model)
        if result is None:
            return self._is_own(self.announcement.model)
        return result.trust.level is not Level.NONE

    # Verdicts and reputation

    def record(self, verdict: Verdict) -> None:
        """Count a verdict, and lower the reputation for an attributable fault.

        A faulty LCT lowers the reputation once: once published, anyone can repeat it.
        """
        self.admission.record(verdict)
        if not verdict.attributable:
            return
        if verdict.received is not None:
            if verdict.received.sequence <= self._penalized:
                return
            self._penalized = verdict.received.sequence
        self.reputation.update(0.0)

    def reject(self, reason: RejectionReason, detail: str = '') -> Verdict:
        """Return the verdict on a message that is not an LCT, or was not read.

        A malformed message is attributable only if the entity has no key: otherwise anyone could
        have sent it.
        """
        own = reason is RejectionReason.MALFORMED and not self._store.keys_of(self.entity)
        return Verdict(reason=reason, detail=detail, attributable=own)

    def note_frame(self, lcts: Sequence[LCT]) -> None:
        """Update the reputation with the mean telemetry trust of the accepted LCTs of a frame.

        An entity reports it about itself. It lowers the reputation, but raises it only as long as
        other cameras do not withhold their support: their evidence counts for more.
        """
        trusts = [lct.latent.telemetry.trust for lct in lcts]
        if not trusts:
            return
        if self._contradicts_probes(lcts):
            return
        evidence = min(sum(trusts) / len(trusts) / EXPECTED_TRUST, 1.0)
        if evidence < self.reputation.value or self.corroboration.supported:
            self.reputation.update(evidence)

    def _contradicts_probes(self, lcts: Sequence[LCT]) -> bool:
        """Judge the latents of a frame by the probe latents; lower the reputation if they differ.

        The measured compatibility holds only for latents of the encoder of the probe latents.
        """
        live = self.live
        if live is not None:
            live.add(lct.latent.mean for lct in lcts)
        seconds = self._elapsed.step(lcts[0].stamp_ns)
        if self.consistent:
            return False
        self.reputation.decay(CONTRADICTION, seconds, CONTRADICTION_TIME_S)
        return True

    @property
    def consistent(self) -> bool:
        """Whether live latents and answers to challenges are those of the probe latents."""
        return (self.live is None or self.live.consistent) and not self.challenges.failed

    def note_evidence(self, evidence: float, stamp_ns: int) -> None:
        """Update the reputation with the evidence of the other cameras at one moment.

        `evidence` is that of `majority.agreement_evidence`.
        """
        agrees = evidence == AGREEMENT
        seconds = self.corroboration.note(agrees, stamp_ns)
        if agrees and self.corroboration.supported:
            self.reputation.update(evidence)
        elif self.corroboration.unsupported:
            slow = evidence == CONTRADICTION
            time_s = CONTRADICTION_TIME_S if slow else DISAGREEMENT_TIME_S
            self.reputation.decay(evidence, seconds, time_s)

    @property
    def weight(self) -> float:
        """Return the weight of the camera in the fusion, in [0, 1].

        It is the reputation, times the measured compression trust of latents that are used
        without translation. For translated ones, that trust is in the TRANSLATE step.
        """
        result = self.compatibility_of(self._model)
        measured = 1.0 if result is None else result.trust.compression_trust
        return self.reputation.value * measured

    def may_forward(self, count: int) -> bool:
        """Return whether to forward `count` accepted LCTs; if not, count them as withheld.

        LCTs of a suspect entity are withheld only if it has a key. Otherwise anyone could make it
        suspect by publishing in its name.
        """
        if not self.reputation.suspect or not self._store.keys_of(self.entity):
            return True
        self.withheld += count
        return False

    def report(self, receiver: str) -> TrustReport:
        """Return the trust report for the entity `receiver`, the arbiter.

        Values that were not measured are NaN.
        """
        announced = self.announcement.model if self.announcement else None
        result = self.compatibility if announced is None else self.compatibility_of(announced)
        if result is not None:
            report = result.report(receiver, self.name)
        else:
            if announced is None:
                reason = 'no model announced'
            elif self._is_own(announced):
                reason = 'same model; not measured, no probe latents received'
            else:
                reason = 'rejected: different model; not measured, no probe latents received'
            report = TrustReport(
                receiver, self.name, announced or ModelId(), math.nan, math.nan, False, 0, reason
            )
        return replace(
            report,
            accepted=self.admission.accepted,
            refused=self.admission.rejected,
            reputation=self.reputation.value,
        )


def _place(announcement: Announcement) -> tuple[int, str, str]:
    """Return the sequence, the stream and the entity of an announcement, for a replay guard."""
    return announcement.sequence, announcement.TAG.decode(), announcement.entity_id
