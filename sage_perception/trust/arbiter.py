# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Decides what may be believed, brings it into one latent space, and fuses what agrees.

>>> arbiter = Arbiter(['cam0', 'cam1'], load('tinyvae'), store=TrustStore(key_folder()))
>>> arbiter.meet('cam1', announcement)
>>> arbiter.present('cam1', probe_set)
>>> arbiter.measure('cam1')  # takes a second: not where messages are waiting
>>> believed = arbiter.hear('cam1', lct, now_ns=now_ns)  # an LCT, or why not
>>> moments = arbiter.see('cam1', Frame(lct.stamp_ns, [believed]))
"""

from __future__ import annotations

import hashlib
import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sage_perception.core.latent import Latent, ModelId
from sage_perception.core.lct import LCT, Operation, chain_trust, step_from
from sage_perception.trust.compatibility.estimator import (
    CompatibilityEstimator,
    CompatibilityResult,
)
from sage_perception.trust.compatibility.model import Model
from sage_perception.trust.compatibility.report import Level, TrustReport
from sage_perception.trust.fusion import matching as agreement
from sage_perception.trust.fusion.fusion import View, fuse
from sage_perception.trust.fusion.geometry import CameraGeometry
from sage_perception.trust.fusion.matching import Match
from sage_perception.trust.fusion.synchronizer import FrameSynchronizer, Partner
from sage_perception.trust.reputation import Reputation
from sage_perception.trust.security.admission import AdmissionFilter, ReplayGuard
from sage_perception.trust.security.announcements import (
    ModelAnnouncement,
    ProbeSet,
    verify_announcement,
)
from sage_perception.trust.security.canonical import PLAIN, Wire, canonical_form
from sage_perception.trust.security.rejection import RejectionReason, find_number_fault
from sage_perception.trust.security.signing import find_forgery
from sage_perception.trust.security.trust_store import TrustStore

# What only its speaker can be blamed for, once it is known to have said so. Not what somebody else
# could have kept back or said again, nor what may be missing here, a codebook say.
ATTRIBUTABLE = frozenset(
    {
        RejectionReason.BROKEN_CHAIN,
        RejectionReason.DIMENSION,
        RejectionReason.NOT_FINITE,
        RejectionReason.OUT_OF_RANGE,
        RejectionReason.OVERSIZED,
    }
)
# Telemetry trust from which on nothing speaks against the one that measured it.
EXPECTED_TRUST = 0.5
# Who sees what nobody else does may be looking elsewhere.
DISAGREEMENT = 0.5
MAX_CACHED_RESULTS = 64


@dataclass(frozen=True)
class Frame:
    """What was believed of one moment of a camera; `tag` is whatever its owner wants back."""

    stamp_ns: int
    lcts: Sequence[LCT]
    tag: object = None


@dataclass(frozen=True)
class Pairing:
    """The crops of the primary and another camera that were matched, by index into the frames.

    `agree` tells of each match whether both show the same thing.
    """

    camera: str
    frame: Frame
    delta_ns: int
    matches: Sequence[Match]
    agree: Sequence[bool]


@dataclass(frozen=True)
class Moment:
    """What all cameras make of one frame of the primary one; `fused` in the order of its LCTs."""

    frame: Frame
    pairings: Sequence[Pairing]
    fused: Sequence[LCT]


@dataclass
class CameraState:
    """What is known of one camera."""

    entity: str
    screen: AdmissionFilter
    reputation: Reputation = field(default_factory=Reputation)
    announcement: ModelAnnouncement | None = None
    probes: ProbeSet | None = None
    heard: CompatibilityResult | None = None
    blamed: int = -1  # the last sequence that counted against it
    withheld: int = 0


class Arbiter:
    """Hears the LCTs of several cameras; the first one is the primary.

    Everything is brought into the latent space of `model`. Who speaks another one is measured by
    its latents of the probes, and translated as far as it is trusted (`compatibility.py`); until
    then it is refused. Who speaks the same one is believed until its probes say otherwise.

    `entities` names who speaks for a camera where that is not the camera's own name: with
    signatures required nobody else is believed there, and who speaks in the name of `entity`, its
    own, never is. `threshold` is the similarity above which
    two crops show the same thing; `weights` `[D]` is what each dimension of the model's latents is
    worth there (`sage_perception.trust.fitted.similarity_weights`).
    `relations` rule out by geometry what a camera cannot see together with the primary one.
    `cache` is a folder for calibrations. For all other arguments see `AdmissionFilter` and
    `FrameSynchronizer`.

    One thread may call `measure` and `compare` while another one calls the rest.
    """

    def __init__(
        self,
        cameras: Sequence[str],
        model: Model,
        *,
        entity: str = 'arbiter',
        entities: Mapping[str, str] | None = None,
        store: TrustStore | None = None,
        require_signatures: bool | None = None,
        threshold: float = 0.7,
        slop_ns: int = 20_000_000,
        patience_ns: int = 150_000_000,
        relations: Mapping[str, CameraGeometry] | None = None,
        cache: Path | None = None,
        weights: np.ndarray | float = 1.0,
    ):
        self.cameras = list(cameras)
        self.model = model
        self.entity = entity
        self.threshold = threshold
        self.high = self.low = self.alone = 0
        self._store = store or TrustStore()
        self._required = store is not None if require_signatures is None else require_signatures
        self._relations = relations or {}
        self._cache = cache
        self._mean = np.asarray(model.latent_mean, np.float64).ravel()
        self._weights = weights
        self._listener: CompatibilityEstimator | None = None
        self._memory: dict[bytes, CompatibilityResult] = {}
        # Later than any this entity has used before, so that a restart is no replay.
        self._sequence = time.time_ns()
        # One for all: what one camera said is not said again on the topic of another.
        history = ReplayGuard()
        self._seats = {}
        for camera in self.cameras:
            screen = AdmissionFilter(
                self._store, require_signatures=self._required, history=history
            )
            self._seats[camera] = CameraState((entities or {}).get(camera, camera), screen)
        self._moments: FrameSynchronizer[Frame] = FrameSynchronizer(
            self.cameras, slop_ns, patience_ns
        )

    # Who they are

    def meet(self, camera: str, announcement: ModelAnnouncement) -> RejectionReason | None:
        """Take note of a camera's model; return why not, if not."""
        seat = self._seats[camera]
        fault = self._refuses(seat, announcement, seat.announcement)
        same = announcement.model.fingerprint == self.model.id.fingerprint
        if fault is None and same and announcement.dim != self._mean.size:
            fault = RejectionReason.DIMENSION
        if fault is None:
            seat.announcement = announcement
        return fault

    def present(self, camera: str, probe_set: ProbeSet) -> RejectionReason | None:
        """Take a camera's latents of the probes, for `measure`; return why not, if not."""
        seat = self._seats[camera]
        fault = self._refuses(seat, probe_set, seat.probes)
        if fault is None:
            seat.probes = probe_set
        return fault

    def _refuses(self, seat: CameraState, statement, last) -> RejectionReason | None:
        if self._required and statement.entity_id != seat.entity:
            return RejectionReason.WRONG_ENTITY
        fault = verify_announcement(statement, self._store, require_signature=self._required)
        # What nobody signed says nothing of what came before it.
        known = last is not None and last.signature and last.entity_id == statement.entity_id
        if fault is None and known and statement.sequence < last.sequence:
            return RejectionReason.SEQUENCE
        return fault

    def measure(self, camera: str, force: bool = False) -> CompatibilityResult:
        """Measure how far a camera's latents may be used here, and fit the map to translate them.

        Takes about a second. What was measured before of the same latents stands, unless `force`.
        Raises `ValueError` when the camera has presented none.
        """
        seat = self._seats[camera]
        seat.heard = self._hear_probes(self._own_ear(), _presented(seat, camera), force)
        return seat.heard

    def compare(
        self, receiver: str, sender: str, find: Callable[[ModelId], Model], force: bool = True
    ) -> TrustReport:
        """Measure how far one camera can use what another one says; '' is the arbiter itself.

        `find` returns the receiver's model where that is not the arbiter's own, or raises
        `ValueError`, as this does for a camera that is unknown or has presented no probes.
        """
        for name, known in ((receiver, ('', *self.cameras)), (sender, self.cameras)):
            if name not in known:
                raise ValueError(f'{name!r} is not one of the cameras {", ".join(self.cameras)}')
        if not receiver:
            self.measure(sender, force)
            return self.report(sender)
        said = _presented(self._seats[sender], sender)
        model = self._seats[receiver].announcement
        if model is None:
            raise ValueError(f'{receiver} has announced no model')
        ear = self._own_ear()
        if model.model.fingerprint != self.model.id.fingerprint:
            ear = CompatibilityEstimator(find(model.model), self._cache)
        heard = self._hear_probes(ear, said, force)
        return replace(heard.report(receiver, sender), reputation=self._reputation(sender))

    def _own_ear(self) -> CompatibilityEstimator:
        if self._listener is None:
            self._listener = CompatibilityEstimator(self.model, self._cache)
        return self._listener

    def _hear_probes(
        self, ear: CompatibilityEstimator, said: ProbeSet, force: bool
    ) -> CompatibilityResult:
        spoken = said.model.fingerprint + ear.model.id.fingerprint + said.latents.tobytes()
        key = hashlib.sha256(spoken).digest()
        if force or key not in self._memory:
            while len(self._memory) >= MAX_CACHED_RESULTS:
                del self._memory[next(iter(self._memory))]
            self._memory[key] = ear.evaluate(said.latents, said.model, force)
        return self._memory[key]

    # What they say

    def hear(
        self,
        camera: str,
        lct: LCT,
        wire: Wire = PLAIN,
        unpack: Callable[[Latent], Latent] | None = None,
        now_ns: int | None = None,
    ) -> LCT | RejectionReason:
        """Return what is believed of an LCT, in our own latent space, or why it is not.

        What passes as it is keeps its speaker's signature; what is translated is said by the
        arbiter and has none. A packed latent comes without its numbers: `unpack` returns them, or
        raises `ValueError`.
        """
        seat = self._seats[camera]
        said = self._judge(seat, lct, wire, unpack, now_ns)
        # Once for each number: what it said once, others can say again.
        if said in ATTRIBUTABLE and lct.sequence > seat.blamed and self._said_so(lct, wire):
            seat.blamed = lct.sequence
            seat.reputation.note(0.0)
        return said

    def _judge(
        self, seat: CameraState, lct: LCT, wire: Wire, unpack, now_ns
    ) -> LCT | RejectionReason:
        ours = lct.entity_id == self.entity
        if ours or (self._required and lct.entity_id != seat.entity):
            seat.screen.refuse(RejectionReason.WRONG_ENTITY)
            return RejectionReason.WRONG_ENTITY
        own, spoken = self.model.id.fingerprint, lct.latent.model.fingerprint
        announced = seat.announcement
        dim = announced.dim if announced else (self._mean.size if spoken == own else None)
        fingerprint = announced.model.fingerprint if announced else None
        admitted = seat.screen.admit(
            lct,
            dim,
            fingerprint=fingerprint,
            now_ns=now_ns,
            wire=wire,
            unpack=unpack,
            unreadable=RejectionReason.MALFORMED if announced else RejectionReason.UNKNOWN_MODEL,
        )
        if isinstance(admitted, RejectionReason):
            return admitted
        said = self._translated(admitted, _valid(seat.heard, spoken))
        if isinstance(said, RejectionReason):
            seat.screen.withdraw(said)
        return said

    def _translated(self, lct: LCT, heard: CompatibilityResult | None) -> LCT | RejectionReason:
        """Return an LCT in our own latent space, or why that cannot be."""
        latent, own = lct.latent, self.model.id
        same = latent.model.fingerprint == own.fingerprint
        if heard is None:
            return lct if same else RejectionReason.NOT_MEASURED
        if heard.trust.level is Level.NONE:
            return RejectionReason.INCOMPATIBLE
        if same:
            return lct
        if latent.dim != heard.latent_map.input_dim:
            return RejectionReason.DIMENSION
        log_var = latent.log_var
        if log_var is not None and heard.calibrated:
            log_var = heard.latent_map.apply_log_var(log_var[None])[0]
        mean = heard.translate(latent.mean[None])[0]
        ours = replace(latent, mean=mean, log_var=log_var, model=own)
        trust = heard.trust.compression_trust
        step = step_from(lct, Operation.TRANSLATE, self.entity, own, trust)
        chain = (*lct.provenance, step)
        said = LCT(self.entity, self._next(), lct.stamp_ns, ours, chain, chain_trust(chain))
        return find_number_fault(ours, self._mean.size) or said

    def _said_so(self, lct: LCT, wire: Wire) -> bool:
        """Return whether it is the entity's own fault: who has a key can be imitated by nobody."""
        keys = self._store.keys_of(lct.entity_id)
        return not keys or not find_forgery(lct.signature, lambda: canonical_form(lct, wire), keys)

    def refuse(self, camera: str, fault: RejectionReason) -> None:
        """Count what was refused before it was any LCT."""
        seat = self._seats[camera]
        seat.screen.refuse(fault)
        if fault is RejectionReason.MALFORMED and not self._store.keys_of(seat.entity):
            seat.reputation.note(0.0)

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    # What they see together

    def see(self, camera: str, frame: Frame) -> list[Moment]:
        """Add what was believed of a camera's frame; return the moments that it completes."""
        trusts = [lct.latent.telemetry.trust for lct in frame.lcts]
        if trusts:
            evidence = min(sum(trusts) / len(trusts) / EXPECTED_TRUST, 1.0)
            self._seats[camera].reputation.note(evidence)
        return [self._settle(*m) for m in self._moments.add(camera, frame.stamp_ns, frame)]

    def expire(self, now_ns: int) -> list[Moment]:
        """Return the moments that have waited too long for a camera."""
        return [self._settle(*moment) for moment in self._moments.expire(now_ns)]

    def _settle(self, frame: Frame, partners: Mapping[str, Partner[Frame]]) -> Moment:
        centered = {
            camera: self._centered(frame.lcts if partner is None else partner.item.lcts)
            for camera, partner in {self.cameras[0]: None, **partners}.items()
        }
        ours = self.cameras[0]
        pairings = []
        views = [[View(lct, self.camera_weight(ours))] for lct in frame.lcts]
        for camera, partner in partners.items():
            theirs, delta_ns = partner.item, partner.delta_ns
            possible = self._possible(camera, frame.lcts, theirs.lcts)
            matches = agreement.match(centered[ours], centered[camera], possible)
            agree = [match.similarity > self.threshold for match in matches]
            pairings.append(Pairing(camera, theirs, delta_ns, matches, agree))
            self.high += sum(agree)
            self.low += len(agree) - sum(agree)
            believed = not self._seats[camera].reputation.suspect
            for match, agrees in zip(matches, agree, strict=True):
                if agrees and believed:
                    view = View(theirs.lcts[match.b], self.camera_weight(camera))
                    views[match.a].append(view)
        self.alone += not partners
        self._note_witnesses(centered, pairings)
        fused = [
            fuse(same, self._mean, self.entity, self._next(), self._weights) for same in views
        ]
        return Moment(frame, pairings, fused)

    def _possible(self, camera: str, ours: Sequence[LCT], theirs: Sequence[LCT]):
        if camera not in self._relations:
            return None
        rois = ([lct.latent.roi for lct in lcts] for lcts in (ours, theirs))
        return self._relations[camera].possible(*rois)

    def _note_witnesses(
        self, centered: Mapping[str, np.ndarray], pairings: Sequence[Pairing]
    ) -> None:
        """Give credit to cameras that agree, less to one that alone sees what nobody else does."""
        agreeing: set[str] = set()
        for pairing in pairings:
            if any(pairing.agree):
                agreeing |= {self.cameras[0], pairing.camera}
        others = [pairing.camera for pairing in pairings]
        for a, b in itertools.combinations(others, 2):
            if not {a, b} <= agreeing:
                matches = agreement.match(centered[a], centered[b])
                if any(match.similarity > self.threshold for match in matches):
                    agreeing |= {a, b}
        for camera, latents in centered.items():
            if camera in agreeing:
                self._seats[camera].reputation.note(1.0)
            elif agreeing and len(latents):
                self._seats[camera].reputation.note(DISAGREEMENT)

    def _centered(self, lcts: Sequence[LCT]) -> np.ndarray:
        if not lcts:
            return np.empty((0, self._mean.size))
        latents = np.stack([lct.latent.mean for lct in lcts])
        return agreement.center(latents, self._mean, self._weights)

    # How they fare

    def camera_weight(self, camera: str) -> float:
        """Return what is thought of a camera, in [0, 1]: the factor for what is fused of it.

        That is its reputation, times the measured trust in its latents where they are not
        translated: a translation's step has that already.
        """
        seat = self._seats[camera]
        heard = _valid(seat.heard, self.model.id.fingerprint)
        measured = 1.0 if heard is None else heard.trust.compression_trust
        return seat.reputation.value * measured

    def screen(self, camera: str) -> AdmissionFilter:
        """Return what judges a camera's LCTs, and counts them."""
        return self._seats[camera].screen

    def announced(self, camera: str) -> ModelAnnouncement | None:
        """Return what a camera has announced."""
        return self._seats[camera].announcement

    def suspects(self, camera: str) -> bool:
        """Return whether a camera has lost its reputation."""
        return self._seats[camera].reputation.suspect

    def may_forward(self, camera: str, count: int) -> bool:
        """Return whether others may have what was believed of a camera; if not, count it.

        Not of one that has lost its reputation by its own doing, which only a key can show: where
        anybody may speak in its name, anybody could have it silenced.
        """
        seat = self._seats[camera]
        if not seat.reputation.suspect or not self._store.keys_of(seat.entity):
            return True
        seat.withheld += count
        return False

    def withheld(self, camera: str) -> int:
        """Return how many LCTs of a camera were accepted and not vouched for."""
        return self._seats[camera].withheld

    def _reputation(self, camera: str) -> float:
        return self._seats[camera].reputation.value

    def report(self, camera: str) -> TrustReport:
        """Return how a camera fares; what was not measured of it is NaN."""
        seat = self._seats[camera]
        counts = {
            'accepted': seat.screen.accepted,
            'refused': seat.screen.refused,
            'reputation': seat.reputation.value,
        }
        model = seat.announcement.model if seat.announcement else ModelId()
        heard = _valid(seat.heard, model.fingerprint) if seat.announcement else seat.heard
        if heard is not None:
            return replace(heard.report(self.entity, camera), **counts)
        if seat.announcement is None:
            reason = 'no model announced'
        elif model.fingerprint == self.model.id.fingerprint:
            reason = 'same model; not measured, no probes yet'
        else:
            reason = 'refused: another model, not measured, no probes yet'
        return TrustReport(
            self.entity, camera, model, math.nan, math.nan, False, 0, reason, **counts
        )


def _valid(heard: CompatibilityResult | None, fingerprint: bytes) -> CompatibilityResult | None:
    """Return what was measured, if it was of this latent space."""
    return heard if heard is not None and heard.sender.fingerprint == fingerprint else None


def _presented(seat: CameraState, camera: str) -> ProbeSet:
    if seat.probes is None:
        raise ValueError(f'{camera} has presented no latents of the probes')
    return seat.probes
