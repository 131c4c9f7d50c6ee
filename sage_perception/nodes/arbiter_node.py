# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Decides which latents may be used, and fuses what the cameras agree on."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from functools import partial

import numpy as np
from sage_msgs.msg import (
    Agreement,
    AgreementArray,
    LCTArray,
    ModelInfo,
    TrustReport,
)

from sage_perception import models
from sage_perception.latent import ModelId
from sage_perception.models import codebook
from sage_perception.ros import qos
from sage_perception.ros.diagnostics import OK, WARN, Input, Report
from sage_perception.ros.messages import (
    Packers,
    UnknownModel,
    check_entity,
    info_packer,
    lct_message,
    lct_value,
    model_value,
    stamp_ns,
)
from sage_perception.ros.node import CAMERAS, Node, Topic, run
from sage_perception.ros.parameters import Parameter
from sage_perception.trust import agreement
from sage_perception.trust.lct import LCT, Refusal
from sage_perception.trust.pairing import StampPairs
from sage_perception.trust.screening import Screen

REPORT_PERIOD_S = 1.0


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
        self._screens = {camera: Screen() for camera in cameras}
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
        self.diagnostics.add('agreement', self._report)

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
        accepted = []
        screen = self._screens[camera]
        dims = {bytes(info.model.fingerprint): info.latent_dim for info in self._models.values()}
        for lct in message.lcts:
            try:
                value = lct_value(lct, self._packers[camera])
            except ValueError as error:
                unknown = isinstance(error, UnknownModel)
                reason = Refusal.UNKNOWN_MODEL if unknown else Refusal.MALFORMED
                screen.refuse(reason)
                self._complain(camera, f'{reason.value}: {error}')
                continue
            fault = screen.judge(value, dims.get(value.latent.model.fingerprint))
            if fault is None:
                accepted.append((lct, value))
            else:
                self._complain(camera, fault.value)
        trusted = LCTArray(header=message.header, lcts=[lct for lct, _ in accepted])
        trusted.source_width, trusted.source_height = message.source_width, message.source_height
        if self._trusted.get_subscription_count():
            self._trusted.publish(trusted)

        frame = (trusted, [value for _, value in accepted])
        stamp = stamp_ns(message.header.stamp)
        if not self._pairs:
            self._settle('', frame, None, 0)
        for other, pairs in self._pairs.items():
            if camera in (other, self.parameters.cameras[0]):
                for decided in pairs.add(stamp, frame, primary=camera != other):
                    self._settle(other, *decided)

    def _complain(self, camera: str, why: str) -> None:
        self.get_logger().warning(f'refused an LCT of {camera}: {why}', throttle_duration_sec=5.0)

    def _expire(self) -> None:
        now = self.get_clock().now().nanoseconds
        for other, pairs in self._pairs.items():
            for decided in pairs.expire(now):
                self._settle(other, *decided)

    def _settle(self, other: str, primary_frame, other_frame, delta_ns: int) -> None:
        """Publish what the primary camera and `other` make of one moment together."""
        header, primary = primary_frame[0].header, primary_frame[1]
        partners: dict[int, tuple[LCT, float]] = {}
        if other_frame is None:
            self._alone[other] += 1
        else:
            partners = self._agree(other, header, primary, other_frame[1], delta_ns)
        fused = LCTArray(header=header)
        fused.source_width = primary_frame[0].source_width
        fused.source_height = primary_frame[0].source_height
        for i, lct in enumerate(primary):
            self._sequence += 1
            partner = [partners[i]] if i in partners else []
            fused.lcts.append(
                lct_message(agreement.fuse(lct, partner, self._entity, self._sequence))
            )
        self._fused.publish(fused)

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
        figures = {'high': self._high, 'low': self._low, 'fused_alone': sum(self._alone.values())}
        worries = []
        for camera, screen in self._screens.items():
            figures[f'{camera} accepted'] = screen.accepted
            figures[f'{camera} refused'] = screen.refused
            for reason, count in screen.reasons.items():
                figures[f'{camera} refused: {reason.value}'] = count
            if camera not in self._models:
                worries.append(f'{camera} has not announced its model')
        message = '; '.join(worries) or 'arbitrating'
        return (WARN if worries else OK), message, figures


def main(args: list[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run(ArbiterNode, args))


if __name__ == '__main__':
    main()
