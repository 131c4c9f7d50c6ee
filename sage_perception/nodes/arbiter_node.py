# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Decides which latents may be used, and fuses what the cameras agree on."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import numpy as np
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.task import Future
from sage_msgs.msg import LCT as LCTMessage
from sage_msgs.msg import AgreementArray, LCTArray, ModelInfo, ProbeSet, TrustReport
from sage_msgs.srv import Align
from std_msgs.msg import Header

from sage_perception import models
from sage_perception.codecs import codebook
from sage_perception.codecs.packing import Packer
from sage_perception.core.latent import ModelId
from sage_perception.ros import qos
from sage_perception.ros.background import Worker
from sage_perception.ros.common_parameters import CAMERA_ENTITIES, CAMERAS
from sage_perception.ros.conversions.announcements import model_info_from_msg, probe_set_from_msg
from sage_perception.ros.conversions.latents import Packers, unpack
from sage_perception.ros.conversions.lcts import packed_lct_from_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg, stamp_to_msg
from sage_perception.ros.conversions.trust import agreements_to_msg, trust_report_to_msg
from sage_perception.ros.diagnostics import OK, WARN, Status
from sage_perception.ros.endpoints import Node, Service, Topic
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.identity import KEY, KEYS, REQUIRE_SIGNATURES, Identity, TrustedKeys
from sage_perception.ros.input_monitor import InputMonitor
from sage_perception.ros.parameters import Parameter
from sage_perception.ros.rate_limit import QuotaGuard, RateLimitGuard, ThrottledWarnings
from sage_perception.ros.run import run
from sage_perception.trust import LCT, Arbiter
from sage_perception.trust.arbiter import Frame, Moment
from sage_perception.trust.compatibility.map_cache import latent_map_folder
from sage_perception.trust.fitted import similarity_weights
from sage_perception.trust.fusion.geometry import CameraGeometry
from sage_perception.trust.security.admission import explain
from sage_perception.trust.security.rejection import RejectionReason

REPORT_PERIOD_S = 1.0
UNSIGNED_MODE = 'arbitrating in unsigned mode, for a robot alone: who has no key need not sign'


class ArbiterNode(Node):
    """Receives the LCTs of one or more cameras; the first camera is the primary one."""

    PARAMETERS = (
        CAMERAS,
        Parameter(
            'model',
            'tinyvae',
            'Model in whose latent space all is brought together: a name, or the folder of an '
            'artifact. Who speaks another one is translated, as far as it is trusted.',
            read_only=True,
        ),
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
            'sync_timeout_s',
            0.15,
            'Seconds to wait for the other cameras before it is done without them.',
            minimum=0.0,
            maximum=10.0,
            read_only=True,
        ),
        REQUIRE_SIGNATURES,
        CAMERA_ENTITIES,
        Parameter(
            'camera_geometry',
            '',
            'Files that tell what a camera can see together with the primary one, as camera=file, '
            'separated by commas: a homography or fundamental matrix (trust/fusion/geometry.py).',
            read_only=True,
        ),
        KEYS,
        KEY,
    )
    SUBSCRIBES = (
        Topic('{camera}/lcts', LCTArray, qos.LCTS, 'LCTs of each camera.'),
        Topic('{camera}/model_info', ModelInfo, qos.LATCHED_SHARED, "Each camera's model."),
        Topic(
            '{camera}/probe_latents',
            ProbeSet,
            qos.LATCHED_SHARED,
            'Its latents of the probe images.',
        ),
    )
    PUBLISHES = (
        Topic(
            'trusted',
            LCTArray,
            qos.DEFAULT,
            'LCTs that were accepted, of any camera; those of another model translated, and none '
            'of one that has a key and has lost its reputation.',
        ),
        Topic(
            'fused',
            LCTArray,
            qos.DEFAULT,
            'For each frame of the primary camera its LCTs, fused with the agreeing ones of the '
            'other cameras, or alone with a low trust.',
        ),
        Topic(
            'agreement',
            AgreementArray,
            qos.DEFAULT,
            'Matched crops of the primary and another camera, for each pair of frames.',
        ),
        Topic('trust_report', TrustReport, qos.DEFAULT, 'How each camera fares, once a second.'),
    )
    SERVES = (Service('~/align', Align, 'Measure anew how far one entity can use another.'),)

    def __init__(self, **options):
        super().__init__('arbiter', **options)

    def setup(self) -> None:
        """Create the endpoints."""
        wanted = self.parameters
        self._speaker, self._keys = Identity(self), TrustedKeys(self)
        self._speakers = self.camera_entities()
        model, weights = self._load_model()
        self._arbiter = Arbiter(
            wanted.cameras,
            model,
            entity=self._speaker.entity,
            entities=self._speakers,
            relations=self._relations(),
            store=self._keys.store,
            require_signatures=wanted.require_signatures,
            threshold=wanted.agreement_threshold,
            slop_ns=round(wanted.sync_slop_s * 1e9),
            patience_ns=round(wanted.sync_timeout_s * 1e9),
            cache=latent_map_folder(),
            weights=weights,
        )
        self._worker = Worker(self, 'measuring')
        self._to_measure: set[str] = set()
        self._packers: dict[str, Packers] = {camera: {} for camera in wanted.cameras}
        self._gates = {c: RateLimitGuard(partial(self._refuse, c)) for c in wanted.cameras}
        self._complaints = ThrottledWarnings(self.get_logger())
        self._trusted = self.publisher('trusted')
        self._fused = self.publisher('fused')
        self._agreement = self.publisher('agreement')
        self._reports = self.publisher('trust_report')
        self._model_inputs: dict[str, InputMonitor] = {}
        self._probe_inputs: dict[str, InputMonitor] = {}
        for camera in wanted.cameras:
            receive = partial(self._receive, camera)
            self.subscribe('{camera}/lcts', receive, camera, guard=self._gates[camera])
            self._listen('{camera}/model_info', camera, self._meet, self._model_inputs)
            self._listen('{camera}/probe_latents', camera, self._present, self._probe_inputs)
        # It answers later: a group of its own, for its callback counts as under way until then.
        self.serve('~/align', self._serve_calibrate, ReentrantCallbackGroup())
        self.add_timer(wanted.sync_timeout_s / 2 or 0.01, self._expire)
        self.add_timer(REPORT_PERIOD_S, self._publish_reports)
        self.diagnostics.add('agreement', self._report)

    def _listen(self, topic: str, camera: str, take, inputs: dict[str, InputMonitor]) -> None:
        """Subscribe to what a camera's entity says once; `take` it."""
        guard = QuotaGuard(lambda reason: inputs[camera].reject(explain(reason, 'somebody')))
        inputs[camera] = self.subscribe(topic, partial(take, camera), camera, 0, guard=guard)

    def _load_model(self) -> tuple[models.Codec, np.ndarray]:
        """Return the model, and what each dimension of its latents is worth."""
        try:
            model = models.load_crop_codec(self.parameters.model)
            return model, similarity_weights(model)
        except (models.ModelError, ValueError) as error:
            raise ConfigurationError(f"parameter 'model': {error}") from error

    def _relations(self) -> dict[str, CameraGeometry]:
        try:
            return {
                camera: CameraGeometry.read(Path(path).expanduser())
                for camera, path in self.parameters.by_camera('camera_geometry').items()
            }
        except ValueError as error:
            raise ConfigurationError(f"parameter 'camera_geometry': {error}") from error

    def on_parameters_changed(self) -> None:
        """Apply the threshold."""
        self._arbiter.threshold = self.parameters.agreement_threshold

    # Who they are

    def _meet(self, camera: str, info: ModelInfo, _publisher: bytes) -> None:
        """Note a camera's model, unless what it says of its latents cannot be or is forged."""
        try:
            said = model_info_from_msg(info)
            fault = self._arbiter.meet(camera, said)
            if fault is not None:
                raise ValueError(explain(fault, said.entity_id))
            packer = Packer(said.mean, said.std, self._codebook(said.model))
        except ValueError as error:
            self._model_inputs[camera].reject(str(error))
        else:
            self._packers[camera] = {said.model.fingerprint: packer}

    def _present(self, camera: str, message: ProbeSet, _publisher: bytes) -> None:
        """Have a camera's latents of the probes measured."""
        try:
            said = probe_set_from_msg(message)
            fault = self._arbiter.present(camera, said)
            if fault is not None:
                raise ValueError(explain(fault, said.entity_id))
        except ValueError as error:
            self._probe_inputs[camera].reject(str(error))
        else:
            if camera not in self._to_measure:
                self._to_measure.add(camera)
                self._worker.do(partial(self._measure, camera))

    def _measure(self, camera: str) -> None:
        """Measure the newest latents of the probes: more of them meanwhile make no queue."""
        self._to_measure.discard(camera)
        heard = self._arbiter.measure(camera)
        self.get_logger().info(f'{camera} speaks {heard.sender}: {heard.decision}')

    def _codebook(self, model: ModelId) -> codebook.Codebook | None:
        """Return the codebook of a model, where the model is installed here too."""
        try:
            return codebook.installed(model)
        except models.ModelError as error:
            self.get_logger().warning(f'latents of {model} as tokens cannot be read: {error}')
            return None

    def _find_model(self, model: ModelId) -> models.Codec:
        """Return a model that is installed here; `ValueError` for any other."""
        codec = models.load_crop_codec(model.name) if model.name in models.available() else None
        if codec is None or codec.id.fingerprint != model.fingerprint:
            raise ValueError(f'{model} is not installed here: only who has it can measure with it')
        return codec

    async def _serve_calibrate(self, request: Align.Request, response: Align.Response):
        done = Future(executor=self.executor)
        self._worker.do(partial(self._calibrate, request, response, done))
        await done
        return response

    def _calibrate(self, request: Align.Request, response: Align.Response, done) -> None:
        try:
            report = self._arbiter.compare(request.entity_a, request.entity_b, self._find_model)
            response.report = trust_report_to_msg(report, self.get_clock().now().to_msg())
            response.success = True
        except (ValueError, models.ModelError) as error:
            response.message = str(error)
        finally:
            done.set_result(None)
            self.executor.wake()

    # What they say

    def _receive(self, camera: str, message: LCTArray, publisher: bytes) -> None:
        """Hand on what is believed, one array a moment, and settle what that completes."""
        gate, required = self._gates[camera], self.parameters.require_signatures
        size = message.source_width, message.source_height
        # The header of an array is anybody's word: only the stamp of an LCT is signed.
        moments: dict[int, list[tuple[LCT, LCTMessage]]] = {}
        for value, said in gate.sift(publisher, message.lcts, partial(self._believed, camera)):
            moments.setdefault(value.stamp_ns, []).append((value, said))
        if not moments and not required:
            moments[stamp_from_msg(message.header.stamp)] = []
        if not message.lcts and required:
            gate.empty(publisher)
        for stamp, pairs in sorted(moments.items()):
            header = Header(stamp=stamp_to_msg(stamp), frame_id=message.header.frame_id)
            vouched = self._arbiter.may_forward(camera, len(pairs))
            handed = [said for _, said in pairs] if vouched else []
            if (handed or not required) and self._trusted.get_subscription_count():
                self._trusted.publish(self._array(camera, header, size, handed))
            frame = Frame(stamp, [value for value, _ in pairs], (header, size))
            for moment in self._arbiter.see(camera, frame):
                self._publish(moment)

    def _believed(self, camera: str, message: LCTMessage) -> tuple[LCT, LCTMessage] | None:
        """Return what is believed of an LCT, and what to hand on of it.

        What is packed is unpacked only when it passes.
        """
        detail = ''
        try:
            value, wire = packed_lct_from_msg(message)
        except ValueError as error:
            said, detail = RejectionReason.MALFORMED, str(error)
            self._arbiter.refuse(camera, said)
        else:
            said = self._arbiter.hear(
                camera,
                value,
                wire,
                lambda latent: unpack(latent, wire, self._packers[camera]),
                self.get_clock().now().nanoseconds,
            )
        if isinstance(said, LCT):
            try:
                # A new LCT is ours to sign, a translation; all else stays as it was said.
                return said, message if said.id == value.id else self._speaker.say(said)
            except ValueError as error:
                # What came unsigned may say what no message can hold.
                said, detail = RejectionReason.MALFORMED, str(error)
                self._arbiter.screen(camera).withdraw(said)
        self._complaints.warn(camera, said, message.entity_id, detail)
        return None

    def _refuse(self, camera: str, reason: RejectionReason) -> None:
        """Refuse what cannot be read, or is not to be."""
        self._arbiter.refuse(camera, reason)
        self._complaints.warn(camera, reason)

    # What they see together

    def _expire(self) -> None:
        for moment in self._arbiter.expire(self.get_clock().now().nanoseconds):
            self._publish(moment)

    def _publish(self, moment: Moment) -> None:
        header, size = moment.frame.tag
        for pairing in moment.pairings:
            ours = self.parameters.cameras[0]
            self._agreement.publish(agreements_to_msg(header, ours, moment.frame, pairing))
        fused = []
        for lct in moment.fused:
            try:
                fused.append(self._speaker.say(lct))
            except ValueError as error:
                # What came unsigned may say what no message can hold.
                self.get_logger().warning(f'not fused: {error}', throttle_duration_sec=5.0)
        self._fused.publish(self._array(self.parameters.cameras[0], header, size, fused))

    def _array(
        self, camera: str, header: Header, size: tuple[int, int], lcts: list[LCTMessage]
    ) -> LCTArray:
        width, height = size
        return LCTArray(
            header=header,
            source_width=width,
            source_height=height,
            lcts=lcts,
            camera=self._speakers[camera],
        )

    # How they fare

    def _publish_reports(self) -> None:
        now = self.get_clock().now().to_msg()
        for camera in self.parameters.cameras:
            self._reports.publish(trust_report_to_msg(self._arbiter.report(camera), now))

    def _report(self) -> Status:
        required = self.parameters.require_signatures
        arbiter, store = self._arbiter, self._keys.store
        figures = {
            'model': arbiter.model.id,
            'high': arbiter.high,
            'low': arbiter.low,
            'fused_alone': arbiter.alone,
            'signatures': 'required' if required else 'not required',
            'entities_trusted': len(store.entities),
            'signs_with': self._speaker.signs_with,
        }
        worries = self._keys.worries
        for camera in self.parameters.cameras:
            report = arbiter.report(camera)
            figures[f'{camera} accepted'] = report.accepted
            figures[f'{camera} refused'] = report.refused
            figures[f'{camera} reputation'] = report.reputation
            figures[f'{camera} compression trust'] = report.compression_trust
            figures[f'{camera} latents'] = report.reason
            for reason, count in arbiter.screen(camera).reasons.items():
                figures[f'{camera} refused: {reason.value}'] = count
            if withheld := arbiter.withheld(camera):
                figures[f'{camera} withheld'] = withheld
            if arbiter.announced(camera) is None:
                worries.append(f'{camera} has not announced its model')
            elif report.reason.startswith('refused'):
                worries.append(f'latents of {camera} are {report.reason}')
            if arbiter.suspects(camera):
                worries.append(f'{camera} has lost its reputation: it is heard, but not fused')
        mode = 'arbitrating' if required else UNSIGNED_MODE
        return (WARN if worries else OK), '; '.join([*worries, mode]), figures

    def close(self) -> None:
        """Measure no more."""
        self._worker.close()


def main(args: list[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run(ArbiterNode, args))


if __name__ == '__main__':
    main()
