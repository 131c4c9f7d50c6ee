# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What a node believes of LCTs that it hears second hand: of the arbiter's, and of memory's."""

from __future__ import annotations

from dataclasses import dataclass

from sage_msgs.msg import LCT as LCTMessage
from sage_msgs.msg import LCTArray
from std_msgs.msg import Header

from sage_perception.core.lct import LCT
from sage_perception.ros.conversions.latents import Packers, unpack
from sage_perception.ros.conversions.lcts import packed_lct_from_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg, stamp_to_msg
from sage_perception.ros.diagnostics import OK, WARN, Status
from sage_perception.ros.identity import TrustedKeys
from sage_perception.ros.rate_limit import RateLimitGuard, ThrottledWarnings
from sage_perception.trust.security.admission import AdmissionFilter, ReplayGuard, explain
from sage_perception.trust.security.canonical import canonical_form
from sage_perception.trust.security.rejection import MAX_CHAIN, RejectionReason


@dataclass(frozen=True, eq=False)
class Frame:
    """What is believed of a frame; `camera` is the entity that speaks for its camera."""

    camera: str
    stamp_ns: int
    frame_id: str
    size: tuple[int, int]
    lcts: list[LCT]

    @property
    def header(self) -> Header:
        """Return the header of the source frame."""
        return Header(stamp=stamp_to_msg(self.stamp_ns), frame_id=self.frame_id)


class LCTRejected(ValueError):
    """Why an LCT is not believed, on one line, with the fix."""

    def __init__(self, reason: RejectionReason, entity: str, detail: str = ''):
        super().__init__(explain(reason, entity, detail))
        self.said = reason, entity, detail


class RelayedVerifier(RateLimitGuard):
    """Believes what others hand on, on one topic, as far as its own speakers have signed it.

    It is the guard of the subscription. Only latents that `packers` has a packer for are
    believed: a node keeps that of its model there. Nobody signs an array, so that its header is
    not gone by, and one without LCTs counts only where nobody need sign.
    """

    def __init__(self, node, topic: str, keys: TrustedKeys, packers: Packers):
        super().__init__(self.refuse)
        self._topic, self._keys, self._packers = topic, keys, packers
        self._screen = self._new_screen()
        self._complaints = ThrottledWarnings(node.get_logger())
        self._now = node.get_clock().now
        node.diagnostics.add(f'belief in {topic}', self._report)

    def _new_screen(self) -> AdmissionFilter:
        return AdmissionFilter(
            self._keys.store, require_signatures=self._keys.required, history=ReplayGuard()
        )

    def frames(self, message: LCTArray, publisher: bytes) -> list[Frame]:
        """Return what is believed of the frames of now in an array, which should be one."""
        frames: dict[tuple[str, int], list[LCT]] = {}
        for lct in self.lcts(message, publisher, self._now().nanoseconds):
            frames.setdefault((_camera(lct), lct.stamp_ns), []).append(lct)
        if not message.lcts and message.camera and not self._keys.required:
            frames[message.camera, stamp_from_msg(message.header.stamp)] = []
        size = message.source_width, message.source_height
        return [Frame(*of, message.header.frame_id, size, lcts) for of, lcts in frames.items()]

    def lcts(self, message: LCTArray, publisher: bytes, now_ns: int | None = None) -> list[LCT]:
        """Return what is believed of an array; of what was said near `now_ns`, where given."""
        if not message.lcts and self._keys.required:
            self.empty(publisher)

        def believed(said: LCTMessage) -> LCT | None:
            try:
                return self._judged(said, self._screen, now_ns)
            except LCTRejected as error:
                self._complaints.warn(f'topic {self._topic}', *error.said)
                return None

        return self.sift(publisher, message.lcts, believed)

    def vouched(self, message: LCTMessage) -> LCT:
        """Return an LCT, whenever it was said and however often; raises `LCTRejected`."""
        return self._judged(message, self._new_screen())

    def refuse(self, reason: RejectionReason, entity: str = 'somebody', detail: str = '') -> None:
        """Count a refusal that was decided elsewhere, and warn of it."""
        self._screen.refuse(reason)
        self._complaints.warn(f'topic {self._topic}', reason, entity, detail)

    def _judged(
        self, message: LCTMessage, screen: AdmissionFilter, now_ns: int | None = None
    ) -> LCT:
        def refused(reason: RejectionReason, detail: str) -> LCTRejected:
            screen.refuse(reason)
            return LCTRejected(reason, message.entity_id, detail)

        try:
            lct, wire = packed_lct_from_msg(message)
            if not self._keys.required:
                canonical_form(lct, wire)  # What is signed has one.
        except ValueError as error:
            raise refused(RejectionReason.MALFORMED, str(error)) from error
        packer = self._packers.get(lct.latent.model.fingerprint)
        if packer is None:
            raise refused(RejectionReason.WRONG_MODEL, f'its latent is of {lct.latent.model}')
        if len(lct.provenance) >= MAX_CHAIN:
            raise refused(
                RejectionReason.OUT_OF_RANGE, 'its provenance has no room for one step more'
            )
        said = screen.admit(
            lct,
            packer.dim,
            now_ns=now_ns,
            wire=wire,
            unpack=lambda latent: unpack(latent, wire, self._packers),
        )
        if isinstance(said, RejectionReason):
            raise LCTRejected(said, message.entity_id)
        return said

    def _report(self) -> Status:
        figures = {'believed': self._screen.accepted, 'refused': self._screen.refused}
        for reason, count in self._screen.reasons.items():
            figures[f'refused: {reason.value}'] = count
        mode = 'signatures required' if self._keys.required else 'unsigned mode'
        worries = self._keys.worries
        return (WARN if worries else OK), '; '.join([*worries, mode]), figures


def claimed_camera(message: LCTArray) -> str:
    """Return the entity that an array says speaks for its camera; not to be believed yet."""
    return _camera(message.lcts[0]) if message.lcts else message.camera


def _camera(lct: LCT | LCTMessage) -> str:
    return lct.provenance[0].entity_id if lct.provenance else lct.entity_id
