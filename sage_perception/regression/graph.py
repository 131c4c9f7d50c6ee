# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Arbiter, memory and contexts on the frames of all cameras, with one clock."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from sage_perception import models
from sage_perception.codecs import codebook
from sage_perception.codecs.packing import Packer
from sage_perception.core.lct import LCT
from sage_perception.core.text import one_line
from sage_perception.memory import EpisodicMemory, Space
from sage_perception.memory.feed import MemoryFeed, Schedule
from sage_perception.memory.opening import open_store
from sage_perception.models.compressor import Compressor
from sage_perception.pipeline.context_encoder import ContextEncoder
from sage_perception.pipeline.fusion_pipeline import FusionPipeline
from sage_perception.regression.events import (
    AgreementEvent,
    CodeEvent,
    FrameEvent,
    FusedEvent,
    LctEvent,
    MemoryEvent,
    Observer,
    Pair,
    Region,
    TrustEvent,
)
from sage_perception.regression.inputs import Processed
from sage_perception.regression.settings import GraphSettings
from sage_perception.regression.timebase import MAX_REORDER_S
from sage_perception.ros.conversions.latents import Packers, unpack
from sage_perception.ros.node_parameters.arbiter import arbiter_config, read_geometry
from sage_perception.trust.arbiter import Arbiter
from sage_perception.trust.fitted import similarity_of
from sage_perception.trust.fusion.moments import Moment
from sage_perception.trust.security.announcements import ModelAnnouncement, ProbeSet
from sage_perception.trust.security.canonical import Wire
from sage_perception.trust.security.identity import Identity, find_key
from sage_perception.trust.security.keys import key_folder
from sage_perception.trust.security.rejection import RejectionReason
from sage_perception.trust.security.trust_store import TrustStore

REPORT_PERIOD_S = 1.0


class Graph:
    """The nodes behind the encoders: `arbiter_node`, `memory_node` and `compressor_node`.

    The clock is that of the `now_ns` of the calls. `observer` receives the events.

    Raises `ModelError` and `ValueError` for a model, key or geometry that cannot be used.
    """

    def __init__(
        self,
        settings: GraphSettings,
        codec: models.Codec,
        compressor: Compressor | None,
        observer: Observer,
    ) -> None:
        self._settings, self._observe = settings, observer
        parameters = settings.of('arbiter')
        self._required: bool = parameters['require_signatures']
        self._packers: dict[str, Packers] = {camera: {} for camera in settings.cameras}
        self.arbiter = self._new_arbiter(codec)
        self._folder = tempfile.TemporaryDirectory(prefix='sage_regress_')
        self._memory, feed = self._new_memory()
        self._contexts: ContextEncoder | None = None
        if compressor is not None:
            values = settings.of('compressor')
            entities = list(settings.entities.values())
            self._contexts = ContextEncoder(compressor, entities, values['window_s'])
        self._fusion = FusionPipeline(
            self.arbiter,
            feed,
            None if self._contexts is None else self._contexts.builder,
            entities=settings.entities,
            require_signatures=self._required,
        )
        self._compressor = Identity('compressor', start=1)
        self._now_s = -math.inf
        self._due_s = dict.fromkeys(('report', 'commit', 'code'), -math.inf)
        self._encoded_frames = 0

    def close(self) -> None:
        """Delete the memory."""
        self._memory.store.close()
        self._folder.cleanup()

    def announce(self, camera: str, announcement: ModelAnnouncement | ProbeSet) -> str:
        """Receive the model or the probe latents of a camera; return why they are rejected, or ''.

        Probe latents are evaluated immediately, which takes about a second for a new model.
        """
        if isinstance(announcement, ProbeSet):
            fault = self.arbiter.submit_probes(camera, announcement)
            if fault is None:
                try:
                    self.arbiter.evaluate(camera)
                except ValueError as error:
                    return one_line(error)
        else:
            fault = self.arbiter.register_model(camera, announcement)
            if fault is None:
                model = announcement.model
                packer = Packer(announcement.mean, announcement.std, codebook.installed(model))
                self._packers[camera] = {model.fingerprint: packer}
        return '' if fault is None else fault.value

    def receive(self, camera: str, done: Processed, now_ns: int, *, attended: bool) -> None:
        """Receive a processed message of a camera; `attended` if it is a frame of attention."""
        if attended:
            regions = [Region(c.track_id, c.roi, c.score) for c in done.crops]
            self._observe(
                FrameEvent(
                    camera,
                    done.stamp_ns,
                    done.size,
                    done.fault,
                    regions,
                    done.rejected,
                    done.image,
                    done.inputs,
                )
            )
        if done.rejected:
            if not attended:
                self.arbiter.reject(camera, RejectionReason.MALFORMED, done.rejected)
                malformed = {RejectionReason.MALFORMED.value: 1}
                self._observe(LctEvent(camera, done.stamp_ns, [], malformed))
            return
        rejected: Counter[str] = Counter()
        accepted = list(self._admitted(camera, done.lcts, now_ns, rejected))
        self._observe(LctEvent(camera, done.stamp_ns, accepted, rejected, done.size_bytes))
        self._add(camera, done, accepted)
        self._step(max(now_ns, done.stamp_ns) if not attended else now_ns)

    def _admitted(
        self,
        camera: str,
        lcts: Iterable[tuple[LCT, Wire] | None],
        now_ns: int,
        rejected: Counter[str],
    ) -> Iterable[LCT]:
        """Yield the accepted LCTs, and count the rejected ones by reason."""
        for each in lcts:
            if each is None:
                verdict = self.arbiter.reject(camera, RejectionReason.MALFORMED)
            else:
                lct, wire = each
                verdict = self.arbiter.admit(
                    camera,
                    lct,
                    wire,
                    partial(unpack, wire=wire, packers=self._packers[camera]),
                    now_ns,
                )
            if verdict.reason is not None:
                rejected[verdict.reason.value] += 1
            elif verdict.accepted is not None:
                yield verdict.accepted

    def _add(self, camera: str, done: Processed, accepted: list[LCT]) -> None:
        """Pass the accepted LCTs on by frame; the header of an array is not signed."""
        frames: dict[int, list[LCT]] = {}
        for lct in accepted:
            frames.setdefault(lct.stamp_ns, []).append(lct)
        if not frames and not self._required:
            frames[done.stamp_ns] = []
        for stamp_ns, lcts in sorted(frames.items()):
            self._emit(self._fusion.add_frame(camera, stamp_ns, done.size, lcts))

    def _emit(self, moments: Iterable[Moment]) -> None:
        primary = self._settings.cameras[0]
        for moment in moments:
            ours, stamp_ns = moment.frame, moment.frame.stamp_ns
            for pairing in moment.pairings:
                pairs = [
                    Pair(
                        ours.lcts[match.a].latent.track_id,
                        pairing.frame.lcts[match.b].latent.track_id,
                        match.similarity,
                        agrees,
                    )
                    for match, agrees in zip(pairing.matches, pairing.agree, strict=True)
                ]
                self._observe(AgreementEvent(primary, pairing.camera, stamp_ns, pairs))
            self._observe(FusedEvent(stamp_ns, moment.fused))

    # Timers

    def _step(self, now_ns: int) -> None:
        """Run the timers of the nodes."""
        now_s = now_ns * 1e-9
        if now_s < self._now_s - MAX_REORDER_S:
            self._due_s = dict.fromkeys(self._due_s, now_s)
        self._now_s = now_s
        moments, scores = self._fusion.step(now_ns)
        self._emit(moments)
        for each in scores:
            self._observe(MemoryEvent(each.camera, each.stamp_ns, each.observations))
        if self._is_due('report', REPORT_PERIOD_S):
            self._report(now_ns)
        if self._is_due('commit', REPORT_PERIOD_S):
            self._memory.store.commit()
        if self._is_due('code', 1 / self._settings.of('compressor')['rate']):
            self._encode_context()

    def _is_due(self, timer: str, period_s: float) -> bool:
        if self._now_s < self._due_s[timer]:
            return False
        behind = self._now_s - self._due_s[timer] >= period_s
        self._due_s[timer] = (self._now_s if behind else self._due_s[timer]) + period_s
        return True

    def _report(self, now_ns: int) -> None:
        for camera in self._settings.cameras:
            report = self.arbiter.report(camera)
            self._observe(
                TrustEvent(
                    camera,
                    now_ns,
                    report.reputation,
                    report.compression_trust,
                    report.accepted,
                    report.refused,
                )
            )

    def _encode_context(self) -> None:
        fusion = self._fusion
        if self._contexts is None or self._encoded_frames == fusion.context_frames:
            return
        self._encoded_frames = fusion.context_frames
        encoded = self._contexts.encode(max(fusion.newest_ns.values()), self._compressor)
        if encoded.lct is not None:
            self._observe(
                CodeEvent(
                    encoded.lct.stamp_ns,
                    len(encoded.context.keys),
                    self._contexts.retained,
                    encoded.lct.latent.mean,
                )
            )

    # Construction

    def _new_arbiter(self, codec: models.Codec) -> Arbiter:
        settings, parameters = self._settings, self._settings.of('arbiter')
        store = TrustStore()
        # Without an explicit folder, the result must not depend on the keys of the user.
        if parameters['keys'] or self._required:
            store = TrustStore(key_folder(parameters['keys']))
        entity = f'{settings.namespace}/arbiter'.strip('/')
        similarity = similarity_of(
            codec, parameters['agreement_threshold'], parameters['agreement_fpr']
        )
        return Arbiter(
            settings.cameras,
            codec,
            arbiter_config(parameters),
            identity=Identity(entity, find_key(parameters['key'], entity), start=1),
            entities=settings.entities,
            geometry=read_geometry(parameters['camera_geometry'], settings.cameras),
            store=store,
            require_signatures=self._required,
            similarity=similarity,
        )

    def _new_memory(self) -> tuple[EpisodicMemory, MemoryFeed]:
        parameters = self._settings.of('memory')
        store = open_store(
            Path(self._folder.name, 'memory.db'),
            Space.of(parameters['model']),
            capacity=parameters['capacity'],
            half_life_s=parameters['half_life_h'] * 3600,
        )
        memory = EpisodicMemory(store, parameters['threshold'], parameters['min_novelty'])
        names = 'recall_count', 'min_recall_age_s', 'recall_rate'
        schedule = Schedule(parameters['rate'], **{name: parameters[name] for name in names})
        return memory, MemoryFeed(memory, schedule)
