# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Admits the LCTs of several cameras, translates them to one latent space, and fuses them.

>>> arbiter = Arbiter(['cam0', 'cam1'], load('tinyvae'), store=TrustStore(key_folder()))
>>> arbiter.register_model('cam1', announcement)
>>> arbiter.submit_probes('cam1', probe_set)
>>> arbiter.evaluate('cam1')  # takes a second: call it from a worker thread
>>> verdict = arbiter.admit('cam1', lct, now_ns=now_ns)
>>> moments = arbiter.add_frame('cam1', AcceptedFrame(lct.stamp_ns, [verdict.accepted]))
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sage_perception.core.latent import ModelId
from sage_perception.core.lct import LCT
from sage_perception.trust.arbiter_config import ArbiterConfig
from sage_perception.trust.camera_state import CameraState
from sage_perception.trust.compatibility.challenge import challenge_trust, passes
from sage_perception.trust.compatibility.estimator import CompatibilityResult
from sage_perception.trust.compatibility.model import Model
from sage_perception.trust.compatibility.report import Level, TrustReport
from sage_perception.trust.compatibility.translator import Translator
from sage_perception.trust.fitted import Similarity
from sage_perception.trust.fusion.cross_view import CrossViewFusion
from sage_perception.trust.fusion.geometry import Geometry
from sage_perception.trust.fusion.majority import agrees
from sage_perception.trust.fusion.moments import AcceptedFrame, Moment
from sage_perception.trust.fusion.synchronizer import FrameSynchronizer, Synchronized
from sage_perception.trust.probe_evaluation import ProbeEvaluator
from sage_perception.trust.security.admission import Unpack, Verdict
from sage_perception.trust.security.announcements import (
    ModelAnnouncement,
    ProbeAnswer,
    ProbeSet,
)
from sage_perception.trust.security.canonical import PLAIN, Wire
from sage_perception.trust.security.identity import Identity
from sage_perception.trust.security.rejection import RejectionReason
from sage_perception.trust.security.replay import ReplayGuard
from sage_perception.trust.security.trust_store import TrustStore


class Arbiter:
    """Admits and fuses the LCTs of several cameras; the first camera is the primary one.

    All LCTs end in the latent space of `model`. LCTs of another model are rejected until the
    compatibility of that model was measured on probe latents, then translated if it suffices. LCTs
    of the same model are accepted until probe latents show that they are incompatible.

    One thread may call `evaluate`, `compare` and `judge_answer` while another one calls all other
    methods.

    Parameters
    ----------
    cameras : sequence of str
        The cameras; the first is the primary one.
    model : Model
        The arbiter's model.
    config : ArbiterConfig, optional
        The settings.
    identity : Identity, optional
        The entity that makes, and signs, translated and fused LCTs. LCTs received in its name are
        rejected.
    entities : mapping, optional
        The entity that publishes for a camera, if it differs from the camera's name. With
        signatures required, LCTs of other entities are rejected.
    store : TrustStore, optional
        The trusted keys.
    require_signatures : bool, optional
        Reject LCTs of entities without a trusted key. Default: on if a store is given.
    geometry : mapping, optional
        For other cameras, the geometry that excludes matches with the primary camera.
    cache : Path, optional
        Folder for alignments.
    similarity : Similarity, optional
        How the crops of two cameras are compared, see `fitted.similarity_of`; by default by the
        cosine of latents.

    """

    def __init__(
        self,
        cameras: Sequence[str],
        model: Model,
        config: ArbiterConfig | None = None,
        *,
        identity: Identity | None = None,
        entities: Mapping[str, str] | None = None,
        store: TrustStore | None = None,
        require_signatures: bool | None = None,
        geometry: Mapping[str, Geometry] | None = None,
        cache: Path | None = None,
        similarity: Similarity | None = None,
    ) -> None:
        config = config or ArbiterConfig()
        self.cameras = list(cameras)
        self.model = model
        self.identity = identity or Identity('arbiter')
        # Counts agreements, disagreements, and primary frames without a partner ("unpaired").
        self.counts: Counter[str] = Counter()
        self._dim = np.asarray(model.latent_mean).size
        self._evaluator = ProbeEvaluator(model, cache)
        self._translator = Translator(model, self.identity.entity_id, self.identity.next_sequence)
        self._required = store is not None if require_signatures is None else require_signatures
        store, entities = store or TrustStore(), entities or {}
        # Shared: an LCT accepted from one camera is a replay on the topics of the others.
        replay_guard = ReplayGuard()
        self._states = {
            camera: CameraState(
                camera,
                entities.get(camera, camera),
                store,
                model=model.id,
                dim=self._dim,
                require_signatures=self._required,
                replay_guard=replay_guard,
                challenge_period_s=config.challenge_period_s,
            )
            for camera in self.cameras
        }
        self._synchronizer: FrameSynchronizer[AcceptedFrame] = FrameSynchronizer(
            self.cameras,
            round(config.sync_slop_s * 1e9),
            round(config.sync_timeout_s * 1e9),
        )
        self._fusion = CrossViewFusion(
            self.cameras,
            model.latent_mean,
            entity=self.identity.entity_id,
            comparer=None if similarity is None else similarity.comparer,
            weights=1.0 if similarity is None else similarity.weights,
            geometry=geometry,
            shared_view=config.shared_view,
            consistency_power=config.consistency_power,
        )

    def set_geometry(self, camera: str, geometry: Geometry) -> None:
        """Set the geometry of another camera that excludes matches with the primary one."""
        self._fusion.geometry[camera] = geometry

    def state(self, camera: str) -> CameraState:
        """Return the state of a camera."""
        return self._states[camera]

    # Announcements and compatibility

    def register_model(
        self, camera: str, announcement: ModelAnnouncement
    ) -> RejectionReason | None:
        """Register the model of a camera; return the reason if the announcement is rejected."""
        return self._states[camera].register_model(announcement)

    def submit_probes(self, camera: str, probe_set: ProbeSet) -> RejectionReason | None:
        """Store the probe latents of a camera for `evaluate`; return the reason if rejected."""
        return self._states[camera].submit_probes(probe_set)

    def evaluate(self, camera: str, force: bool = False) -> CompatibilityResult:
        """Measure how well the arbiter can use a camera's latents, and align the latent spaces.

        Takes about a second. Earlier results for the same probe latents are reused unless `force`.
        Raises `ValueError` if the camera has submitted no probe latents.
        """
        state = self._states[camera]
        probes = _submitted(state)
        result = self._evaluator.evaluate(probes, force)
        state.use_compatibility(result, probes)
        return result

    def challenge(self, camera: str, now_ns: int) -> bytes | None:
        """Return the nonce of a challenge to send to a camera now; None if none is due.

        A camera is challenged after its probe latents were evaluated, and then at random times.
        """
        state = self._states[camera]
        return None if state.compatibility is None else state.challenges.next(now_ns)

    def submit_answer(self, camera: str, answer: ProbeAnswer) -> RejectionReason | None:
        """Accept the answer to a challenge for `judge_answer`; return the reason if rejected."""
        return self._states[camera].submit_answer(answer)

    def judge_answer(self, camera: str, answer: ProbeAnswer) -> float:
        """Return the trust that an accepted answer supports, and take account of it.

        Takes half a second, like `evaluate`.
        """
        state = self._states[camera]
        result = state.compatibility
        if result is None or result.trust.level is Level.NONE:
            return 0.0
        trust = challenge_trust(result, self.model, answer.nonce, answer.latents)
        state.challenges.note(trust, passes(result, trust))
        return trust

    def compare(
        self, receiver: str, sender: str, find: Callable[[ModelId], Model], force: bool = True
    ) -> TrustReport:
        """Measure how well one camera can use the latents of another; '' is the arbiter itself.

        `find` returns the receiver's model if it is not the arbiter's own, or raises `ValueError`.
        Raises `ValueError` for an unknown camera, and for a sender without probe latents.
        """
        for name, known in ((receiver, ('', *self.cameras)), (sender, self.cameras)):
            if name not in known:
                raise ValueError(f'{name!r} is not one of the cameras {", ".join(self.cameras)}')
        if not receiver:
            self.evaluate(sender, force)
            return self.report(sender)
        probes = _submitted(self._states[sender])
        announcement = self._states[receiver].announcement
        if announcement is None:
            raise ValueError(f'{receiver} has announced no model: start its encoder')
        same = announcement.model.fingerprint == self.model.id.fingerprint
        model = None if same else find(announcement.model)
        result = self._evaluator.evaluate(probes, force, model)
        reputation = self._states[sender].reputation.value
        return replace(result.report(receiver, sender), reputation=reputation)

    # Received LCTs

    def admit(
        self,
        camera: str,
        lct: LCT,
        wire: Wire = PLAIN,
        unpack: Unpack | None = None,
        now_ns: int | None = None,
    ) -> Verdict:
        """Return the verdict on an LCT received from a camera, and record it.

        An accepted LCT of the arbiter's own model keeps its signature. A translated one is made
        and signed by the arbiter. `wire` and `unpack` are as for `AdmissionFilter.judge`; a packed
        latent needs `unpack`.
        """
        state = self._states[camera]
        verdict = self._judge(state, lct, wire, unpack, now_ns)
        state.record(verdict)
        return verdict

    def _judge(
        self,
        state: CameraState,
        lct: LCT,
        wire: Wire,
        unpack: Unpack | None,
        now_ns: int | None,
    ) -> Verdict:
        own = lct.entity_id == self.identity.entity_id
        if own or (self._required and lct.entity_id != state.entity):
            return Verdict.rejection(lct, RejectionReason.WRONG_ENTITY)
        expected = state.expected(lct.latent.model)
        verdict = state.admission.judge(lct, expected, wire=wire, unpack=unpack, now_ns=now_ns)
        if verdict.accepted is None:
            return verdict
        translated = self._translator.translate(verdict.accepted, state.compatibility)
        if isinstance(translated, RejectionReason):
            return verdict.rejected(translated)
        if translated is verdict.accepted:
            return verdict
        try:
            return verdict._replace(accepted=self.identity.sign(translated))
        except ValueError as error:
            return verdict.rejected(RejectionReason.MALFORMED, str(error))

    def reject(self, camera: str, reason: RejectionReason, detail: str = '') -> Verdict:
        """Return and record the verdict on a message that is not an LCT, or was not read."""
        state = self._states[camera]
        verdict = state.reject(reason, detail)
        state.record(verdict)
        return verdict

    def may_forward(self, camera: str, count: int) -> bool:
        """Return whether to forward `count` accepted LCTs; see `CameraState.may_forward`."""
        return self._states[camera].may_forward(count)

    # Fusion

    def add_frame(self, camera: str, frame: AcceptedFrame) -> list[Moment]:
        """Add the accepted LCTs of a camera's frame; return the moments that it completes."""
        self._states[camera].note_frame(frame.lcts)
        return [
            self._fuse(moment) for moment in self._synchronizer.add(camera, frame.stamp_ns, frame)
        ]

    def expire(self, now_ns: int) -> list[Moment]:
        """Return the moments whose timeout has passed at `now_ns`."""
        return [self._fuse(moment) for moment in self._synchronizer.expire(now_ns)]

    def _fuse(self, synchronized: Synchronized[AcceptedFrame]) -> Moment:
        frame, partners = synchronized
        primary = self.cameras[0]
        weights = {
            camera: self.camera_weight(camera)
            for camera in (primary, *partners)
            if camera == primary or not self._states[camera].reputation.suspect
        }
        overlapping = [c for c in partners if self._states[c].overlap.supported]
        moment = self._fusion.fuse(
            frame, partners, weights, self.identity.next_sequence, overlapping
        )
        for pairing in moment.pairings:
            if pairing.matches:
                overlap = self._states[pairing.camera].overlap
                overlap.note(agrees(pairing.agree), frame.stamp_ns)
        for camera, evidence in moment.evidence.items():
            self._states[camera].note_evidence(evidence, frame.stamp_ns)
        self.counts['agreements'] += moment.agreements
        self.counts['disagreements'] += moment.disagreements
        self.counts['unpaired'] += not partners
        return replace(moment, fused=[self.identity.sign(lct) for lct in moment.fused])

    # Reports

    def camera_weight(self, camera: str) -> float:
        """Return the weight of a camera in the fusion, in [0, 1]; see `CameraState.weight`."""
        return self._states[camera].weight

    def report(self, camera: str) -> TrustReport:
        """Return the trust report of a camera; see `CameraState.report`."""
        return self._states[camera].report(self.identity.entity_id)


def _submitted(state: CameraState) -> ProbeSet:
    """Return the probe latents of a camera; raise `ValueError` if there are none."""
    if state.probes is None:
        raise ValueError(f'{state.name} has submitted no probe latents: start its encoder')
    return state.probes
