# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Remembers what was worth it, and recalls what the present is like."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter, OrderedDict, deque

import numpy as np
from builtin_interfaces.msg import Time
from sage_msgs.msg import LCT as LCTMessage
from sage_msgs.msg import AgreementArray, LCTArray, Memory, SnarcArray, SnarcScore
from sage_msgs.msg import Snarc as SnarcMessage
from sage_msgs.srv import Forget, QueryMemory, Remember
from std_msgs.msg import Float32

from sage_perception.codecs import codebook
from sage_perception.codecs.packing import Packer
from sage_perception.memory import (
    EpisodicMemory,
    Hit,
    Observed,
    Query,
    Snarc,
    Space,
    StoreFault,
    default_place,
    open_store,
    recalled,
)
from sage_perception.memory.sql_store import CAPACITY, ENVIRONMENT, LATEST_NS
from sage_perception.models import ModelError
from sage_perception.models import artifact as artifact
from sage_perception.models.registry import resolve
from sage_perception.ros import qos
from sage_perception.ros.conversions.latents import latent_from_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg
from sage_perception.ros.diagnostics import ERROR, OK, Status
from sage_perception.ros.endpoints import Node, Service, Topic
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.identity import KEY, KEYS, REQUIRE_SIGNATURES, Identity, TrustedKeys
from sage_perception.ros.parameters import Parameter
from sage_perception.ros.relayed import Frame, RelayedVerifier, claimed_camera
from sage_perception.ros.run import run
from sage_perception.ros.statistics import Durations

# The arbiter tells of agreement this long after what it trusts, at most.
PATIENCE_S = 0.25
COMMIT_PERIOD_S = 1.0
REOPEN_AFTER_S = 5.0
FRAMES_WAITING = 64
AGREEMENTS = 1024
MAX_ANSWERS = 64
ANSWERS = 10


class MemoryNode(Node):
    """Scores what the arbiter trusts and keeps it in a file, or in a fleet's PostgreSQL."""

    PARAMETERS = (
        Parameter(
            'model',
            'tinyvae',
            'Model whose latents are remembered, those of the arbiter: a name, or the folder of '
            'an artifact.',
            read_only=True,
        ),
        Parameter(
            'store',
            '',
            'Where: a file, or postgresql://user@host/database for a fleet; empty: a file named '
            f'as this node in ${ENVIRONMENT}, else ~/.local/share/sage.',
            read_only=True,
        ),
        Parameter(
            'capacity',
            CAPACITY,
            'Memories held at most; beyond it those worth least are forgotten.',
            minimum=1,
            maximum=10_000_000,
            read_only=True,
        ),
        Parameter(
            'half_life_h',
            24.0,
            'Hours in which a memory loses half its worth.',
            minimum=0.001,
            maximum=1e5,
            read_only=True,
        ),
        Parameter(
            'threshold',
            0.7,
            'Salience from which on an observation is kept; 0: all that is new.',
            minimum=0.0,
            maximum=1.0,
        ),
        Parameter(
            'min_novelty',
            0.1,
            'Difference to all that is in memory, 1 - similarity, below which nothing is kept.',
            minimum=0.0,
            maximum=1.0,
        ),
        Parameter(
            'rate',
            5.0,
            'Frames of each camera that are looked at, Hz.',
            minimum=0.1,
            maximum=60.0,
            read_only=True,
        ),
        Parameter(
            'recall_rate',
            1.0,
            'Recalls for each camera, Hz.',
            minimum=0.1,
            maximum=10.0,
            read_only=True,
        ),
        Parameter(
            'recall_count', 8, 'Memories in one recall at most.', minimum=1, maximum=MAX_ANSWERS
        ),
        Parameter(
            'min_recall_age_s',
            10.0,
            'Age from which on a memory is recalled, seconds: what is in view needs no recall.',
            minimum=0.0,
            maximum=1e6,
        ),
        REQUIRE_SIGNATURES,
        KEYS,
        KEY,
    )
    SUBSCRIBES = (
        Topic('trusted', LCTArray, qos.DEFAULT, 'LCTs that the arbiter believes, of any camera.'),
        Topic('agreement', AgreementArray, qos.DEFAULT, 'How alike two cameras saw the same.'),
        Topic(
            'reward',
            Float32,
            qos.DEFAULT,
            'How well the task goes, -1 to 1: failure is as memorable as success.',
        ),
    )
    PUBLISHES = (
        Topic('snarc', SnarcArray, qos.DEFAULT, 'The salience of what was looked at.'),
        Topic(
            'recall',
            LCTArray,
            qos.DEFAULT,
            "Memories most like a camera's present latents, best first, with the present frame's "
            'header; stamps and regions are those of then.',
        ),
    )
    SERVES = (
        Service('~/query', QueryMemory, 'Memories by likeness, time, entity and track.'),
        Service('~/remember', Remember, 'Keep an LCT, however salient it is.'),
        Service('~/forget', Forget, 'Forget for good by time, entity and track.'),
    )

    def __init__(self, **options):
        super().__init__('memory', **options)

    def setup(self) -> None:
        """Open the memory and create the endpoints."""
        self._speaker = Identity(self)
        self._place = self.parameters.store or default_place(self._speaker.entity)
        self._read_model()
        self._trusted = RelayedVerifier(self, 'trusted', TrustedKeys(self), self._packers)
        self._fault, self._failed_at = '', 0.0
        self._memory: EpisodicMemory | None = None
        try:
            self._memory = self._open_memory()
        except StoreFault as error:
            raise ConfigurationError(f"parameter 'store': {error}") from error
        self._store = str(self._memory.store)  # without the password
        self._waiting: deque[tuple[float, LCTArray, bytes]] = deque(maxlen=FRAMES_WAITING)
        self._present: dict[str, Frame] = {}
        self._agreements: OrderedDict[bytes, float] = OrderedDict()
        self._counts = Counter(observed=0, stored=0, forgotten=0, recalled=0)
        self._held, self._size_bytes = 0, 0
        self._took = Durations()
        self._snarc = self.publisher('snarc')
        self._recall = self.publisher('recall')
        self.subscribe('trusted', self._receive, guard=self._trusted)
        self.subscribe('agreement', self._note_agreement, timeout_s=0)
        self.subscribe('reward', self._note_reward, timeout_s=0)
        self.serve('~/query', self._answer)
        self.serve('~/remember', self._remember)
        self.serve('~/forget', self._forget)
        clock = self.diagnostics.clock
        self.create_timer(1 / self.parameters.rate, self._observe, clock=clock)
        self.create_timer(1 / self.parameters.recall_rate, self._publish_recall, clock=clock)
        self.create_timer(COMMIT_PERIOD_S, self._commit, clock=clock)
        self.diagnostics.add('memory', self._report)

    def close(self) -> None:
        """Keep what was added last."""
        if self._memory is not None:
            self._commit()
        if self._memory is not None:
            self._memory.store.close()

    def on_parameters_changed(self) -> None:
        """Judge by the new thresholds."""
        if self._memory is not None:
            self._memory.threshold = self.parameters.threshold
            self._memory.min_novelty = self.parameters.min_novelty

    def _read_model(self) -> None:
        try:
            model = artifact.read(resolve(self.parameters.model))
            self._space = Space.of(model.path)
            mean, std = (model.tensors[f'latent.{what}'].ravel() for what in ('mean', 'std'))
            packer = Packer(mean, std, codebook.read(model.path))
        except (ModelError, ValueError) as error:
            raise ConfigurationError(f"parameter 'model': {error}") from error
        self._packers = {model.id.fingerprint: packer}

    def _open_memory(self) -> EpisodicMemory:
        store = open_store(
            self._place,
            self._space,
            capacity=self.parameters.capacity,
            half_life_s=self.parameters.half_life_h * 3600,
        )
        memory = EpisodicMemory(store, self.parameters.threshold, self.parameters.min_novelty)
        memory.store.novelty(self._space.mean[None])  # Reads all of it now rather than later.
        return memory

    # What comes in

    def _receive(self, message: LCTArray, publisher: bytes) -> None:
        self._waiting.append((time.monotonic(), message, publisher))

    def _note_agreement(self, message: AgreementArray) -> None:
        for agreement in message.agreements:
            for own in (bytes(agreement.lct_a), bytes(agreement.lct_b)):
                # Of several cameras the one that agrees least counts.
                known = self._agreements.pop(own, math.inf)
                self._agreements[own] = min(known, agreement.similarity)
        while len(self._agreements) > AGREEMENTS:
            self._agreements.popitem(last=False)

    def _note_reward(self, message: Float32) -> None:
        if self._memory is not None:
            self._memory.reward(message.data, self.get_clock().now().nanoseconds)

    # What is done with it

    def _observe(self) -> None:
        """Judge the newest frame of each camera whose agreement must be known by now."""
        due = []
        while self._waiting and self._waiting[0][0] <= time.monotonic() - PATIENCE_S:
            due.append(self._waiting.popleft())
        if self._memory is None:
            return
        frames: dict[str, Frame] = {}
        for _, message, publisher in reversed(due):
            # An older one of a camera only if nothing newer is believed of it.
            if claimed_camera(message) not in frames:
                for frame in self._trusted.frames(message, publisher):
                    frames.setdefault(frame.camera, frame)
        for camera, frame in frames.items():
            start = time.monotonic()
            try:
                seen = self._memory.observe(frame.lcts, self._agreements)
            except StoreFault as error:
                self._give_up(error)
                return
            self._took.add(time.monotonic() - start)
            self._present[camera] = frame
            self._counts['stored'] += sum(each.stored for each in seen)
            self._counts['observed'] += len(seen)
            scores = [_score_message(each) for each in seen]
            self._snarc.publish(SnarcArray(header=frame.header, scores=scores, camera=camera))

    def _publish_recall(self) -> None:
        present, self._present = self._present, {}
        if self._memory is None or not self._recall.get_subscription_count():
            return
        after_ns = round(self.parameters.min_recall_age_s * 1e9)
        for camera, frame in present.items():
            before_ns = frame.stamp_ns - after_ns
            try:
                hits = self._memory.recall(frame.lcts, before_ns, self.parameters.recall_count)
            except StoreFault as error:
                self._give_up(error)
                return
            self._counts['recalled'] += len(hits)
            self._recall.publish(
                LCTArray(
                    header=frame.header,
                    source_width=frame.size[0],
                    source_height=frame.size[1],
                    lcts=[self._recalled(hit) for hit in hits],
                    camera=camera,
                )
            )

    def _recalled(self, hit: Hit) -> LCTMessage:
        speaker = self._speaker
        return speaker.say(recalled(hit.entry, speaker.entity, speaker.next()))

    def _commit(self) -> None:
        if self._memory is None:
            self._open_again()
            return
        try:
            done = self._memory.store.commit()
        except StoreFault as error:
            self._give_up(error)
            return
        self._held, self._size_bytes = done.entries, done.size_bytes
        self._counts['forgotten'] += done.forgotten

    def _give_up(self, error: StoreFault) -> None:
        """Go on without a memory for a while: a full disk or a lost server is no end."""
        self.get_logger().error(f'{error}; tried again every {REOPEN_AFTER_S:g} s')
        self._fault, self._failed_at = str(error), time.monotonic()
        self._memory.store.close()
        self._memory = None

    def _open_again(self) -> None:
        if not self._fault or time.monotonic() - self._failed_at < REOPEN_AFTER_S:
            return
        try:
            self._memory = self._open_memory()
        except StoreFault as error:
            self._fault, self._failed_at = str(error), time.monotonic()
        else:
            self._fault = ''
            self.get_logger().info(f'{self._place} is open again')

    # Services

    def _answer(self, request: QueryMemory.Request, response: QueryMemory.Response):
        def search():
            like = [latent_from_msg(latent, self._packers) for latent in request.like]
            if like and like[0].model.fingerprint != self._space.model.fingerprint:
                raise ValueError(f'a latent of {like[0].model}: this memory is of its own model')
            if request.count > MAX_ANSWERS:
                raise ValueError(f'count is {request.count}: at most {MAX_ANSWERS}')
            query = _query(
                request, like=like[0].mean if like else None, count=request.count or ANSWERS
            )
            response.memories = [
                Memory(
                    lct=self._recalled(hit),
                    entity_id=hit.entry.entity,
                    snarc=_snarc_message(hit.entry.snarc),
                    similarity=hit.similarity,
                )
                for hit in self._memory.store.find(query)
            ]

        return self._serve(response, search)

    def _remember(self, request: Remember.Request, response: Remember.Response):
        def keep():
            self._counts['stored'] += self._memory.remember(self._trusted.vouched(request.lct))

        return self._serve(response, keep)

    def _forget(self, request: Forget.Request, response: Forget.Response):
        def forget():
            times = (request.since, request.until)
            if times == (Time(), Time()) and not (request.entity_id or request.track_id):
                raise ValueError('say what to forget: since, until, entity_id or track_id')
            response.forgotten = self._memory.store.forget(_query(request))
            self._counts['forgotten'] += response.forgotten

        return self._serve(response, forget)

    def _serve(self, response, work):
        """Do what a service asks for, and say why it cannot be done."""
        try:
            if self._memory is None:
                raise StoreFault(self._fault)
            work()
            response.success = True
        except ValueError as error:
            response.message = str(error)
        except StoreFault as error:
            response.message = str(error)
            if self._memory is not None:
                self._give_up(error)
        return response

    def _report(self) -> Status:
        figures = {
            **self._counts,
            'entries': self._held,
            'capacity': self.parameters.capacity,
            'size_mb': self._size_bytes / 1e6,
            'store': self._store,
            'unreadable': self._memory.store.unreadable if self._memory is not None else 0,
            'observe_ms_p95': self._took.percentile_ms(95),
            'signs_with': self._speaker.signs_with,
        }
        if self._memory is None:
            return ERROR, f'without memory: {self._fault}', figures
        return OK, f'{self._held} memories', figures


def _query(request, **more) -> Query:
    """Return what a request narrows by; `ValueError` for what cannot be."""
    return Query(
        since_ns=stamp_from_msg(request.since),
        until_ns=stamp_from_msg(request.until) if request.until != Time() else LATEST_NS,
        entity=request.entity_id or None,
        track=request.track_id or None,
        **more,
    )


def _snarc_message(snarc: Snarc) -> SnarcMessage:
    return SnarcMessage(
        surprise=snarc.surprise,
        novelty=snarc.novelty,
        arousal=snarc.arousal,
        reward=snarc.reward,
        conflict=snarc.conflict,
    )


def _score_message(seen: Observed) -> SnarcScore:
    return SnarcScore(
        lct=np.frombuffer(seen.lct.id, np.uint8),
        track_id=seen.lct.latent.track_id,
        snarc=_snarc_message(seen.snarc),
        salience=seen.snarc.salience,
        stored=seen.stored,
    )


def main(args: list[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run(MemoryNode, args))


if __name__ == '__main__':
    main()
