# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The memory node: stores salient LCTs, and recalls LCTs similar to the present ones."""

from __future__ import annotations

import sys
import time
from typing import Any

from sage_msgs.msg import AgreementArray, LCTArray, SnarcArray
from std_msgs.msg import Float32

from sage_perception.memory import Space, StoreError, default_path
from sage_perception.memory.session import MemorySession, SessionConfig
from sage_perception.models import ModelError, artifact
from sage_perception.models.registry import resolve
from sage_perception.ros import memory_services, qos
from sage_perception.ros.authentication import AuthenticatedInput, RequestGuard
from sage_perception.ros.control import CONTROL, serve_control
from sage_perception.ros.conversions.memory import (
    recalled_to_msg,
    snarc_score_to_msg,
)
from sage_perception.ros.conversions.packers import packers_of
from sage_perception.ros.conversions.trust import agreements_from_msg
from sage_perception.ros.diagnostics import ERROR, OK, Status
from sage_perception.ros.endpoints import Node
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.identity import (
    TrustedKeys,
    arbiter_entity,
    node_identity,
)
from sage_perception.ros.message_form import sign_message
from sage_perception.ros.node_parameters.memory import MEMORY
from sage_perception.ros.relayed import RelayedFrame, RelayedVerifier, publish_relayed
from sage_perception.ros.run import run
from sage_perception.ros.statistics import Durations
from sage_perception.ros.tables import Topic
from sage_perception.ros.waiting_frames import WaitingFrames
from sage_perception.trust.fitted import reentry_comparer

COMMIT_PERIOD_S = 1.0
REENTRY_FPR = 0.01
"""Error rate of the comparison of tracks that come back; the evidence is its log-likelihood."""


class MemoryNode(Node):
    """Scores trusted LCTs and stores them in a file, or in the PostgreSQL of a fleet."""

    PARAMETERS = MEMORY
    SUBSCRIBES = (
        Topic('trusted', LCTArray, qos.DEFAULT, 'LCTs of all cameras that the arbiter trusts.'),
        Topic(
            'agreement',
            AgreementArray,
            qos.DEFAULT,
            'Similarities of matching LCTs of two cameras.',
        ),
        Topic(
            'reward',
            Float32,
            qos.DEFAULT,
            'Reward of the task, -1 to 1; only its magnitude counts.',
        ),
        Topic('arousal', Float32, qos.DEFAULT, 'Arousal of each sound, 0 to 1.'),
    )
    PUBLISHES = (
        Topic('snarc', SnarcArray, qos.DEFAULT, 'Salience of the observed LCTs.'),
        Topic(
            'recall',
            LCTArray,
            qos.DEFAULT,
            'Stored LCTs most similar to the present ones of a camera, the most similar first, '
            'with the header of the present frame, and their original stamps and regions.',
        ),
    )
    SERVES = (*memory_services.SERVES, CONTROL)

    def __init__(self, **options: Any) -> None:
        super().__init__('memory', **options)

    def setup(self) -> None:
        """Open the store and create the endpoints."""
        self._identity = node_identity(self)
        self._read_model()
        keys = TrustedKeys(self)
        serve_control(self, keys)
        arbiter = arbiter_entity(self)
        self._verifier = RelayedVerifier(self, 'trusted', keys, self._packers, arbiter)
        self._session = self._open_session()
        self._waiting = WaitingFrames(self._verifier)
        self._present: dict[str, RelayedFrame] = {}
        self._durations = Durations()
        self._snarc = self.publisher('snarc')
        self._recall = self.publisher('recall')
        self.subscribe('trusted', self._waiting.add, guard=self._verifier)
        self._agreements = AuthenticatedInput(
            self,
            'agreement',
            self._on_agreement,
            lambda: keys.store,
            keys.required,
            (lambda: [arbiter]) if keys.required else None,
            timeout_s=0,
        )
        self.subscribe('reward', self._on_reward, timeout_s=0)
        self.subscribe('arousal', self._on_sound, timeout_s=0)
        self._memory_services = memory_services.MemoryServices(
            self,
            self._session,
            self._space,
            self._packers,
            self._verifier,
            RequestGuard(self, keys.store),
            self._identity,
        )
        clock = self.diagnostics.clock
        self.add_timer(1 / self.parameters.rate, self._observe, clock=clock)
        self.add_timer(1 / self.parameters.recall_rate, self._publish_recall, clock=clock)
        self.add_timer(COMMIT_PERIOD_S, self._session.maintain, clock=clock)
        self.diagnostics.add('memory', self._report)

    def close(self) -> None:
        """Commit and close the store, and wait for a search in progress."""
        self._session.close()
        self._memory_services.close()

    def on_parameters_changed(self) -> None:
        """Apply the new thresholds."""
        self._session.set_thresholds(self.parameters.threshold, self.parameters.min_novelty)

    def _read_model(self) -> None:
        try:
            model = artifact.read(resolve(self.parameters.model))
            self._space = Space.of(model.path)
            self._packers = packers_of(self.parameters.model)
            mean = self._space.mean
            self._comparer = reentry_comparer(model.path, model.id, mean, REENTRY_FPR)
        except (ModelError, ValueError) as error:
            raise ConfigurationError(f"parameter 'model': {error}") from error

    def _open_session(self) -> MemorySession:
        config = SessionConfig(
            url=self.parameters.store or default_path(self._identity.entity_id),
            capacity=self.parameters.capacity,
            half_life_s=self.parameters.half_life_h * 3600,
            threshold=self.parameters.threshold,
            min_novelty=self.parameters.min_novelty,
            comparer=self._comparer,
        )
        try:
            return MemorySession(config, self._space, self.get_logger())
        except StoreError as error:
            raise ConfigurationError(f"parameter 'store': {error}") from error

    # Subscriptions

    def _on_agreement(self, message: AgreementArray) -> None:
        try:
            pairs = agreements_from_msg(message)
        except ValueError as error:
            self._agreements.reject(str(error))
            return
        for pair in pairs:
            self._session.add_agreement((pair.lct_a, pair.lct_b), pair.similarity, pair.log_ratio)

    def _on_reward(self, message: Float32) -> None:
        self._session.reward(message.data, self.get_clock().now().nanoseconds)

    def _on_sound(self, message: Float32) -> None:
        self._session.sound(message.data, self.get_clock().now().nanoseconds)

    # Timers

    def _observe(self) -> None:
        """Observe the newest frame of each camera whose agreements must have arrived."""
        if self._session.fault:
            self._waiting.drop_due()
            return
        due = self._waiting.take_due()
        for frame in due.coded:  # the codes of the newest are noted when they are observed
            self._session.note_codes(frame.lcts)
        for camera, frame in due.newest.items():
            start = time.monotonic()
            observations = self._session.observe(frame.lcts)
            if observations is None:
                return
            self._durations.add(time.monotonic() - start)
            self._present[camera] = frame
            scores = [snarc_score_to_msg(each) for each in observations]
            message = SnarcArray(header=frame.header, scores=scores, camera=camera)
            self._snarc.publish(sign_message(message, self._identity))

    def _publish_recall(self) -> None:
        present, self._present = self._present, {}
        if not self._recall.get_subscription_count():
            return
        min_age_ns = round(self.parameters.min_recall_age_s * 1e9)
        for camera, frame in present.items():
            before_ns = frame.stamp_ns - min_age_ns
            hits = self._session.recall(frame.lcts, before_ns, self.parameters.recall_count)
            if hits is None:
                return
            array = LCTArray(
                header=frame.header,
                source_width=frame.size[0],
                source_height=frame.size[1],
                lcts=[recalled_to_msg(hit, self._identity) for hit in hits],
                camera=camera,
            )
            publish_relayed(self._recall, array, self._identity)

    def _report(self) -> Status:
        session = self._session
        figures = {
            **session.counts,
            'records': session.records,
            'capacity': self.parameters.capacity,
            'size_mb': session.size_bytes / 1e6,
            'store': session.store_name,
            'unreadable': session.unreadable,
            **{f'thing_{name}': count for name, count in session.thing_counts.items()},
            'observe_ms_p95': self._durations.percentile_ms(95),
            'public_key': self._identity.public_key,
        }
        if session.fault:
            return ERROR, f'store not available: {session.fault}', figures
        return OK, f'{session.records} records', figures


def main(args: list[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run(MemoryNode, args))


if __name__ == '__main__':
    main()
