# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Decides which latents may be used, and fuses what the cameras agree on."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from sage_msgs.msg import LCT as LCTMessage
from sage_msgs.msg import (
    Agreement,
    AgreementArray,
    LCTArray,
    ModelInfo,
    TrustReport,
)
from std_msgs.msg import Header

from sage_perception import models
from sage_perception.latent import ModelId
from sage_perception.models import codebook
from sage_perception.ros import qos
from sage_perception.ros.diagnostics import OK, WARN, Input, Report
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.messages import (
    Packers,
    UnknownModel,
    check_entity,
    info_packer,
    lct_as_sent,
    lct_message,
    model_value,
    stamp_ns,
    stamp_of,
    unpack,
)
from sage_perception.ros.node import CAMERAS, Node, Topic, run
from sage_perception.ros.parameters import Parameter
from sage_perception.trust import TrustStore, agreement
from sage_perception.trust.keys import KeyFault, key_folder
from sage_perception.trust.lct import LCT, Refusal
from sage_perception.trust.pairing import StampPairs
from sage_perception.trust.screening import History, Screen, explain
from sage_perception.trust.signing import signing_key, signs_with

REPORT_PERIOD_S = 1.0
# How long a revocation may take to be seen.
REFRESH_PERIOD_S = 1.0
COMPLAIN_EVERY_S = 5.0
UNSIGNED_MODE = 'arbitrating in unsigned mode, for a robot alone: who has no key need not sign'


class Frame(NamedTuple):
    """What was accepted of one moment of one camera; the stamp of `header` is that of its LCTs."""

    header: Header
    size: tuple[int, int]
    lcts: list[LCT]


def _array(header: Header, size: tuple[int, int], lcts: list[LCTMessage]) -> LCTArray:
    return LCTArray(header=header, source_width=size[0], source_height=size[1], lcts=lcts)


class ArbiterNode(Node):
    """Receives the LCTs of one or more cameras; the first camera is the primary one."""

    PARAMETERS = (
        CAMERAS,
        Parameter(
            'agreement_threshold',
            0.7,
            'Similarity above which two crops show the same thing and are fused.',
            minimum=-1.0,
            maximum=1.0,
        ),
        Parameter(
            'sync_slop_s',
            0.02,
            'Seconds by which the stamps of two cameras may differ to be the same moment.',
            minimum=0.0,
            maximum=1.0,
            read_only=True,
        ),
        Parameter(
            'sync_patience_s',
            0.15,
            'Seconds to wait for the other camera before the primary one is used alone.',
            minimum=0.0,
            maximum=10.0,
            read_only=True,
        ),
        Parameter(
            'require_signatures',
            False,
            'Believe only LCTs that are signed with a trusted key. false: also unsigned ones of '
            'whoever has no trusted key, for a robot alone.',
            read_only=True,
        ),
        Parameter(
            'keys',
            '',
            'Folder of the keys that are trusted, as `sage keys trust` writes it; empty: '
            '$SAGE_KEYS, else ~/.config/sage/keys.',
            read_only=True,
        ),
        Parameter(
            'key',
            '',
            'Secret key that fused LCTs are signed with: its file, or the folder that holds it, '
            'as made by `sage keys create`; empty: they are not signed.',
            read_only=True,
        ),
    )
    SUBSCRIBES = (
        Topic('{camera}/lcts', LCTArray, qos.DATA, 'LCTs of each camera.'),
        Topic('{camera}/model_info', ModelInfo, qos.LATCHED, "Each camera's model."),
    )
    PUBLISHES = (
        Topic('trusted', LCTArray, qos.DATA, 'LCTs that were accepted, of any camera.'),
        Topic(
            'fused',
            LCTArray,
            qos.DATA,
            'For each frame of the primary camera its LCTs, fused with the agreeing ones of the '
            'other camera, or alone with a low trust.',
        ),
        Topic(
            'agreement',
            AgreementArray,
            qos.DATA,
            'Matched crops of the primary and another camera, for each pair of frames.',
        ),
        Topic('trust_report', TrustReport, qos.DATA, 'How each camera fares, once a second.'),
    )

    def __init__(self, **options):
        super().__init__('arbiter', **options)

    def setup(self) -> None:
        """Create the endpoints."""
        cameras = self.parameters.cameras
        self._entity = check_entity(f'{self.get_namespace()}/{self.get_name()}'.strip('/'))
        self._sequence = time.time_ns()
        self._models: dict[str, ModelInfo] = {}
        self._packers: dict[str, Packers] = {camera: {} for camera in cameras}
        self._model_inputs: dict[str, Input] = {}
        self._open_keys()
        # One for all: what one camera said is not said again on the topic of another.
        history = History()
        self._screens = {
            camera: Screen(
                self._store,
                require_signatures=self.parameters.require_signatures,
                history=history,
            )
            for camera in cameras
        }
        self._complained: dict[tuple[str, Refusal], float] = {}
        slop, patience = self.parameters.sync_slop_s, self.parameters.sync_patience_s
        self._pairs = {
            other: StampPairs(round(slop * 1e9), round(patience * 1e9)) for other in cameras[1:]
        }
        self._high = self._low = 0
        self._alone = Counter()
        self._trusted = self.publisher('trusted')
        self._fused = self.publisher('fused')
        self._agreement = self.publisher('agreement')
        self._reports = self.publisher('trust_report')
        for camera in cameras:
            self.subscribe('{camera}/lcts', partial(self._receive, camera), camera)
            self._model_inputs[camera] = self.subscribe(
                '{camera}/model_info', partial(self._meet, camera), camera, 0
            )
        self.create_timer(patience / 2 or 0.01, self._expire)
        self.create_timer(REPORT_PERIOD_S, self._publish_reports)
        self.create_timer(REFRESH_PERIOD_S, self._refresh_keys, clock=self.diagnostics.clock)
        self.diagnostics.add('agreement', self._report)

    def _open_keys(self) -> None:
        try:
            self._store = TrustStore(key_folder(self.parameters.keys))
        except KeyFault as error:
            raise ConfigurationError(f"parameter 'keys': {error}") from error
        try:
            self._key = signing_key(self.parameters.key, self._entity)
        except KeyFault as error:
            raise ConfigurationError(f"parameter 'key': {error}") from error
        self._key_fault = ''

    def _refresh_keys(self) -> None:
        """Take note of keys that were trusted or revoked; the old ones hold while none can be."""
        fault = ''
        try:
            if self._store.refresh():
                self.get_logger().info(f'{self._store.path} has changed: it holds from now on')
        except KeyFault as error:
            fault = f'{error}; what was trusted before still is'
        if fault and fault != self._key_fault:
            self.get_logger().error(fault)
        self._key_fault = fault

    def _meet(self, camera: str, info: ModelInfo) -> None:
        """Note a camera's model, unless what it says of its latents cannot be."""
        model = model_value(info.model)
        try:
            packer = info_packer(info, self._codebook(model))
        except ValueError as error:
            self._model_inputs[camera].reject(str(error))
        else:
            self._models[camera] = info
            self._packers[camera] = {model.fingerprint: packer}

    def _codebook(self, model: ModelId) -> codebook.Codebook | None:
        """Return the codebook of a model, where the model is installed here too."""
        try:
            book = codebook.read(models.available()[model.name])
        except KeyError:
            return None
        except models.ModelError as error:
            self.get_logger().warning(f'latents of {model} as tokens cannot be read: {error}')
            return None
        return book if book and book.fingerprint == model.fingerprint else None

    def _receive(self, camera: str, message: LCTArray) -> None:
        accepted, values = [], []
        for lct in message.lcts:
            value = self._believed(camera, lct)
            if value is not None:
                accepted.append(lct)
                values.append(value)
        size = message.source_width, message.source_height
        if self._trusted.get_subscription_count():
            self._trusted.publish(_array(message.header, size, accepted))

        # The header of an array is anybody's word: only the stamp of an LCT is signed.
        moments: dict[int, list[LCT]] = {}
        for value in values:
            moments.setdefault(value.stamp_ns, []).append(value)
        if not moments and not self.parameters.require_signatures:
            moments[stamp_ns(message.header.stamp)] = []
        for stamp, lcts in sorted(moments.items()):
            header = Header(stamp=stamp_of(stamp), frame_id=message.header.frame_id)
            self._pair(camera, stamp, Frame(header, size, lcts))

    def _believed(self, camera: str, message: LCTMessage) -> LCT | None:
        """Return an LCT that passes; what is packed is unpacked only when it does."""
        screen = self._screens[camera]
        info = self._models.get(camera)
        dim = info.latent_dim if info else None
        fingerprint = bytes(info.model.fingerprint) if info else None
        judged = False
        try:
            value, wire = lct_as_sent(message)
            fault = screen.judge(
                value,
                dim,
                fingerprint=fingerprint,
                now_ns=self.get_clock().now().nanoseconds,
                wire=wire,
            )
            judged = fault is None
            if judged and wire.packed:
                value = replace(value, latent=unpack(value.latent, wire, self._packers[camera]))
                fault = screen.judge_numbers(value.latent, dim)
        except ValueError as error:
            unknown = isinstance(error, UnknownModel)
            fault = Refusal.UNKNOWN_MODEL if unknown else Refusal.MALFORMED
            (screen.withdraw if judged else screen.refuse)(fault)
            self._complain(camera, fault, message.entity_id, str(error))
            return None
        if fault is not None:
            self._complain(camera, fault, message.entity_id)
            return None
        return value

    def _pair(self, camera: str, stamp: int, frame: Frame) -> None:
        if not self._pairs:
            self._settle('', frame, None, 0)
        for other, pairs in self._pairs.items():
            if camera in (other, self.parameters.cameras[0]):
                for decided in pairs.add(stamp, frame, primary=camera != other):
                    self._settle(other, *decided)

    def _complain(self, camera: str, reason: Refusal, entity: str, detail: str = '') -> None:
        """Warn of a refusal, of each kind now and then: one flood is not to hide another."""
        now = time.monotonic()
        if now - self._complained.get((camera, reason), -math.inf) < COMPLAIN_EVERY_S:
            return
        self._complained[camera, reason] = now
        self.get_logger().warning(f'refused an LCT of {camera}: {explain(reason, entity, detail)}')

    def _expire(self) -> None:
        now = self.get_clock().now().nanoseconds
        for other, pairs in self._pairs.items():
            for decided in pairs.expire(now):
                self._settle(other, *decided)

    def _settle(self, other: str, frame: Frame, other_frame: Frame | None, delta_ns: int) -> None:
        """Publish what the primary camera and `other` make of one moment together."""
        partners: dict[int, tuple[LCT, float]] = {}
        if other_frame is None:
            self._alone[other] += 1
        else:
            partners = self._agree(other, frame.header, frame.lcts, other_frame.lcts, delta_ns)
        fused = []
        for i, lct in enumerate(frame.lcts):
            self._sequence += 1
            partner = [partners[i]] if i in partners else []
            both = agreement.fuse(lct, partner, self._entity, self._sequence)
            try:
                fused.append(lct_message(both, key=self._key))
            except ValueError as error:
                # What came unsigned may say what no message can hold.
                self.get_logger().warning(f'not fused: {error}', throttle_duration_sec=5.0)
        self._fused.publish(_array(frame.header, frame.size, fused))

    def _agree(self, other: str, header, a: list[LCT], b: list[LCT], delta_ns: int) -> dict:
        """Match the crops of two frames; return the agreeing partner of each primary one."""
        mean = self._common_mean(a, b)
        if mean is None:
            return {}
        matches = agreement.match(
            *(
                agreement.centre(np.stack([lct.latent.mean for lct in lcts]), mean)
                if lcts
                else np.empty((0, len(mean)))
                for lcts in (a, b)
            )
        )
        message = AgreementArray(
            header=header,
            entity_a=self.parameters.cameras[0],
            entity_b=other,
            stamp_delta_s=delta_ns * 1e-9,
            unmatched_a=len(a) - len(matches),
            unmatched_b=len(b) - len(matches),
        )
        partners = {}
        for match in matches:
            high = match.similarity > self.parameters.agreement_threshold
            self._high += high
            self._low += not high
            if high:
                partners[match.a] = (b[match.b], match.similarity)
            message.agreements.append(
                Agreement(
                    lct_a=np.frombuffer(a[match.a].id, np.uint8),
                    lct_b=np.frombuffer(b[match.b].id, np.uint8),
                    track_a=a[match.a].latent.track_id,
                    track_b=b[match.b].latent.track_id,
                    similarity=match.similarity,
                    level=Agreement.LEVEL_HIGH if high else Agreement.LEVEL_LOW,
                )
            )
        self._agreement.publish(message)
        return partners

    def _common_mean(self, a: list[LCT], b: list[LCT]):
        """Return the mean of the space that all latents share; None when there is none."""
        spaces = {(lct.latent.model.fingerprint, lct.latent.dim) for lct in (*a, *b)}
        for info in self._models.values():
            if not spaces or spaces == {(bytes(info.model.fingerprint), info.latent_dim)}:
                return np.array(info.latent_mean, float)
        if self._models:
            self.get_logger().warning(
                'the cameras speak different latent spaces: their latents are not compared',
                throttle_duration_sec=5.0,
            )
        return None

    def _publish_reports(self) -> None:
        cameras = self.parameters.cameras
        for camera, screen in self._screens.items():
            report = TrustReport(entity_a=self._entity, entity_b=camera)
            report.header.stamp = self.get_clock().now().to_msg()
            report.forward = report.backward = report.compression_trust = math.nan
            if camera in self._models:
                report.model_b = self._models[camera].model
                spaces = {bytes(info.model.fingerprint) for info in self._models.values()}
                if len(spaces) == 1 and len(self._models) == len(cameras):
                    # One and the same encoder: the same picture gives the same latent.
                    report.forward = report.backward = report.compression_trust = 1.0
                    report.level = TrustReport.LEVEL_HIGH
                    report.reason = 'same model'
                else:
                    report.reason = 'not measured: the models differ'
            else:
                report.reason = 'no model announced'
            report.accepted, report.refused = screen.accepted, screen.refused
            self._reports.publish(report)

    def _report(self) -> Report:
        required = self.parameters.require_signatures
        figures = {
            'high': self._high,
            'low': self._low,
            'fused_alone': sum(self._alone.values()),
            'signatures': 'required' if required else 'not required',
            'entities_trusted': len(self._store.entities),
            'signs_with': signs_with(self._key),
        }
        worries = [self._key_fault] if self._key_fault else []
        if required and not self._store.entities:
            worries.append(f'{self._store.path} trusts nobody: sage keys trust ENTITY KEY')
        for camera, screen in self._screens.items():
            figures[f'{camera} accepted'] = screen.accepted
            figures[f'{camera} refused'] = screen.refused
            for reason, count in screen.reasons.items():
                figures[f'{camera} refused: {reason.value}'] = count
            if camera not in self._models:
                worries.append(f'{camera} has not announced its model')
        mode = 'arbitrating' if required else UNSIGNED_MODE
        return (WARN if worries else OK), '; '.join([*worries, mode]), figures


def main(args: list[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run(ArbiterNode, args))


if __name__ == '__main__':
    main()
