# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Signs and verifies arrays of LCTs that the arbiter or the memory relays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sage_msgs.msg import LCT as LCTMessage
from sage_msgs.msg import LCTArray
from std_msgs.msg import Header

from sage_perception.core.lct import LCT
from sage_perception.ros.conversions.latents import Packers, unpack
from sage_perception.ros.conversions.lct_arrays import (
    PackedLCT,
    ReceivedLCT,
    camera_of,
    received_lcts,
)
from sage_perception.ros.conversions.lcts import packed_lct_from_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg, stamp_to_msg
from sage_perception.ros.diagnostics import OK, WARN, Status
from sage_perception.ros.endpoints import Endpoints
from sage_perception.ros.identity import TrustedKeys
from sage_perception.ros.local_bus import ProcessId, TopicPublisher
from sage_perception.ros.message_form import find_relay_fault, sign_relay
from sage_perception.ros.rate_limit import RateLimitGuard, ThrottledWarnings
from sage_perception.trust.security.admission import AdmissionFilter, Expected, Verdict
from sage_perception.trust.security.entity import is_entity
from sage_perception.trust.security.identity import Identity
from sage_perception.trust.security.limits import MAX_CHAIN
from sage_perception.trust.security.rejection import RejectionReason, explain


@dataclass(frozen=True, eq=False)
class RelayedFrame:
    """The accepted LCTs of one frame; `camera` is the entity of their first provenance step."""

    camera: str
    stamp_ns: int
    frame_id: str
    size: tuple[int, int]
    lcts: list[LCT]

    @property
    def header(self) -> Header:
        """Return the header of the source frame."""
        return Header(stamp=stamp_to_msg(self.stamp_ns), frame_id=self.frame_id)


def publish_relayed(publisher: TopicPublisher, array: LCTArray, identity: Identity) -> None:
    """Publish an array, signed by `identity` for receivers in other processes."""
    if publisher.uses_dds:
        array = sign_relay(array, identity, publisher.topic_name)
    publisher.publish(array)


class LCTRejected(ValueError):
    """A rejected LCT; the message is one line with the reason and the fix."""


class RelayedVerifier(RateLimitGuard):
    """Verifies the LCTs on a topic of relayed LCTs, and guards its subscription.

    It accepts LCTs of the models that `packers` has a packer for, and with room for one more
    provenance step. The fields around `lcts` of an array are not signed: frames are identified
    by the LCTs themselves, and an array without LCTs is used only if signatures are not required.

    With `relay`, an entity, arrays of other processes must have its signature if signatures are
    required: LCTs are signed by their cameras, and could be copied from the topics of these.
    """

    def __init__(
        self,
        node: Endpoints,
        topic: str,
        keys: TrustedKeys,
        packers: Packers,
        relay: str = '',
    ) -> None:
        super().__init__(self.reject)
        self._topic, self._keys, self._packers = node.resolve_topic_name(topic), keys, packers
        self._relay = relay if keys.required else ''
        self._admission = self._new_filter()
        self._warnings = ThrottledWarnings(node)
        self._clock = node.get_clock()
        node.diagnostics.add(f'verification of {topic}', self._report)

    def _new_filter(self) -> AdmissionFilter:
        return AdmissionFilter(self._keys.store, require_signatures=self._keys.required)

    def frames(self, message: LCTArray, publisher: bytes) -> list[RelayedFrame]:
        """Return the accepted LCTs of an array by frame, normally one; old LCTs are rejected."""
        frames: dict[tuple[str, int], list[LCT]] = {}
        for lct in self.lcts(message, publisher, self._clock.now().nanoseconds):
            frames.setdefault((camera_of(lct), lct.stamp_ns), []).append(lct)
        empty = not _lct_count(message)
        if empty and is_entity(message.camera) and not self._keys.required:
            frames[message.camera, stamp_from_msg(message.header.stamp)] = []
        size = message.source_width, message.source_height
        return [
            RelayedFrame(camera, stamp_ns, message.header.frame_id, size, lcts)
            for (camera, stamp_ns), lcts in frames.items()
        ]

    def lcts(self, message: LCTArray, publisher: bytes, now_ns: int | None = None) -> list[LCT]:
        """Return the accepted LCTs of an array; with `now_ns`, only those with a recent stamp."""
        if self._relay and not isinstance(publisher, ProcessId):
            fault = find_relay_fault(message, self._keys.store, self._relay, self._topic)
            if fault is not None:
                self.note_rejected(publisher)
                entity = message.relay[0].entity_id if message.relay else ''
                self.reject(fault, entity)
                return []
        if not _lct_count(message) and self._keys.required:
            self.note_empty_array(publisher)

        def admit(lct: ReceivedLCT) -> LCT | None:
            verdict = self._judge(lct.read, self._admission, now_ns)
            self._record(verdict, lct.entity_id)
            return verdict.accepted

        return self.admit_each(publisher, received_lcts(message), admit)

    def verify(self, message: LCTMessage) -> LCT:
        """Return the LCT of a message; raise `LCTRejected` if it is rejected.

        The LCT may have any age and may be verified repeatedly; it is not counted.
        """
        verdict = self._judge(partial(packed_lct_from_msg, message), self._new_filter())
        if verdict.reason is not None:
            raise LCTRejected(explain(verdict.reason, message.entity_id, verdict.detail))
        assert verdict.accepted is not None
        return verdict.accepted

    def reject(self, reason: RejectionReason, entity: str = '', detail: str = '') -> None:
        """Count and log a message that is not an LCT, was not read, or cannot be used."""
        self._record(Verdict(reason=reason, detail=detail), entity)

    @property
    def rejections(self) -> dict[str, int]:
        """Return the number of rejected LCTs by reason."""
        return {reason.value: count for reason, count in self._admission.reasons.items()}

    def _judge(
        self,
        read: Callable[[], PackedLCT],
        admission: AdmissionFilter,
        now_ns: int | None = None,
    ) -> Verdict:
        try:
            lct, wire = read()
        except ValueError as error:
            return Verdict(reason=RejectionReason.MALFORMED, detail=str(error))
        packer = self._packers.get(lct.latent.model.fingerprint)
        if packer is None:
            detail = f'the model of its latent is {lct.latent.model}'
            return Verdict.rejection(lct, RejectionReason.WRONG_MODEL, detail)
        if len(lct.provenance) >= MAX_CHAIN:
            detail = 'its provenance has no room for one more step'
            return Verdict.rejection(lct, RejectionReason.OUT_OF_RANGE, detail)
        return admission.judge(
            lct,
            Expected(packer.dim),
            wire=wire,
            unpack=lambda latent: unpack(latent, wire, self._packers),
            now_ns=now_ns,
        )

    def _record(self, verdict: Verdict, entity: str) -> None:
        self._admission.record(verdict)
        if verdict.reason is not None:
            self._warnings.warn(self._topic, verdict.reason, entity, verdict.detail)

    def _report(self) -> Status:
        values = {'accepted': self._admission.accepted, 'rejected': self._admission.rejected}
        for reason, count in self.rejections.items():
            values[f'rejected: {reason}'] = count
        mode = 'signatures required' if self._keys.required else 'signatures not required'
        warnings = self._keys.warnings
        return (WARN if warnings else OK), '; '.join([*warnings, mode]), values


def _lct_count(message: LCTArray) -> int:
    return len(message.crops) + len(message.lcts)
