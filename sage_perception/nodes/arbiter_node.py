# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Node that admits the LCTs of several cameras and fuses them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from sage_msgs.msg import LCT as LCTMessage
from sage_msgs.msg import (
    AgreementArray,
    LCTArray,
    ModelInfo,
    ProbeChallenge,
    ProbeSet,
    TrustReport,
)
from sage_msgs.srv import Align
from std_msgs.msg import Header, String

from sage_perception import models
from sage_perception.core.lct import LCT
from sage_perception.ros import qos
from sage_perception.ros.authentication import RequestGuard
from sage_perception.ros.camera_models import CameraModels
from sage_perception.ros.camera_mounts import MOUNT_TOPIC, CameraMounts
from sage_perception.ros.camera_poses import POSE_TOPICS
from sage_perception.ros.control import CONTROL, serve_control
from sage_perception.ros.conversions.latents import Packers, unpack
from sage_perception.ros.conversions.lct_arrays import ReceivedLCT, received_lcts
from sage_perception.ros.conversions.lcts import lct_to_msg
from sage_perception.ros.conversions.packers import packers_of
from sage_perception.ros.conversions.stamps import stamp_from_msg, stamp_to_msg
from sage_perception.ros.conversions.trust import agreements_to_msg, trust_report_to_msg
from sage_perception.ros.diagnostics import OK, WARN, Status
from sage_perception.ros.endpoints import Node
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.identity import (
    TrustedKeys,
    node_identity,
)
from sage_perception.ros.message_form import sign_message
from sage_perception.ros.node_parameters.arbiter import ARBITER, arbiter_config, read_geometry
from sage_perception.ros.rate_limit import RateLimitGuard, ThrottledWarnings
from sage_perception.ros.relayed import publish_relayed
from sage_perception.ros.run import run
from sage_perception.ros.tables import Service, Topic
from sage_perception.trust.arbiter import Arbiter
from sage_perception.trust.compatibility.map_cache import latent_map_folder
from sage_perception.trust.fitted import Similarity, similarity_of
from sage_perception.trust.fusion.comparison import CosineComparer
from sage_perception.trust.fusion.geometry import CameraGeometry
from sage_perception.trust.fusion.moments import AcceptedFrame, Moment
from sage_perception.trust.security.admission import Verdict
from sage_perception.trust.security.rejection import RejectionReason

REPORT_PERIOD_S = 1.0

Forwarded = Callable[[], LCTMessage]
"""Returns the message that forwards an LCT as it was received."""

UNSIGNED_MODE = (
    'arbitrating, signatures not required: use this only on a network without other machines'
)


class ArbiterNode(Node):
    """Receives the LCTs of one or more cameras; the first camera is the primary one."""

    PARAMETERS = ARBITER
    SUBSCRIBES = (
        Topic('{camera}/lcts', LCTArray, qos.LCTS, 'LCTs of each camera.'),
        Topic('{camera}/model_info', ModelInfo, qos.LATCHED_SHARED, 'Model of each camera.'),
        Topic(
            '{camera}/probe_latents',
            ProbeSet,
            qos.LATCHED_SHARED,
            'Latents of the probe images, for measuring compatibility.',
        ),
        Topic(
            '{camera}/probe_answers',
            ProbeSet,
            qos.DEFAULT,
            'Latents of the images of a challenge.',
        ),
        *POSE_TOPICS,
        Topic(
            'goal',
            String,
            qos.DEFAULT,
            'Words for what all cameras look for, such as "a red car"; empty: nothing.',
        ),
    )
    PUBLISHES = (
        Topic('{camera}/goal', String, qos.LATCHED, 'The goal, for the encoder of each camera.'),
        Topic(
            '{camera}/probe_challenge',
            ProbeChallenge,
            qos.DEFAULT,
            'Challenges to encode new images, at random times.',
        ),
        Topic(
            'trusted',
            LCTArray,
            qos.DEFAULT,
            'Accepted LCTs of all cameras, translated if they are of another model. LCTs of a '
            'camera that has a key and a low reputation are withheld.',
        ),
        Topic(
            'fused',
            LCTArray,
            qos.DEFAULT,
            'LCTs of each frame of the primary camera, fused with the agreeing LCTs of the other '
            'cameras; LCTs that no other camera confirms have a low trust.',
        ),
        Topic(
            'agreement',
            AgreementArray,
            qos.DEFAULT,
            'Matched crops of the primary camera and another one, for each pair of frames.',
        ),
        Topic(
            'trust_report',
            TrustReport,
            qos.DEFAULT,
            'Compatibility, counts and reputation of each camera, once a second.',
        ),
        MOUNT_TOPIC,
    )
    SERVES = (
        Service(
            '~/align',
            Align,
            'Measure again how well one entity can use the latents of another.',
        ),
        CONTROL,
    )

    def __init__(self, **options: Any):
        super().__init__('arbiter', **options)

    def setup(self) -> None:
        """Create the endpoints."""
        parameters = self.parameters
        self._keys = TrustedKeys(self)
        serve_control(self, self._keys)
        self._entities = self.camera_entities()
        model, similarity, packers = self._load_model()
        geometry = self._load_geometry()
        self._comparer = similarity.comparer
        if similarity.note:
            self.get_logger().info(similarity.note)
        self._arbiter = Arbiter(
            parameters.cameras,
            model,
            arbiter_config(parameters.values),
            identity=node_identity(self),
            entities=self._entities,
            geometry=geometry,
            store=self._keys.store,
            require_signatures=parameters.require_signatures,
            cache=latent_map_folder(),
            similarity=similarity,
        )
        self._mounts = CameraMounts(
            self, parameters.pose_tolerance_px, geometry, self._arbiter.set_geometry
        )
        requests = RequestGuard(self, self._keys.store)
        self._models = CameraModels(self, self._arbiter, requests, packers)
        self._lct_guards = {
            c: RateLimitGuard(partial(self._reject, c)) for c in parameters.cameras
        }
        self._warnings = ThrottledWarnings(self)
        self._trusted = self.publisher('trusted')
        self._fused = self.publisher('fused')
        self._agreement = self.publisher('agreement')
        self._reports = self.publisher('trust_report')
        for camera in parameters.cameras:
            receive = partial(self._receive, camera)
            self.subscribe(
                '{camera}/lcts',
                receive,
                camera,
                max_age_s=parameters.max_age_s,
                guard=self._lct_guards[camera],
            )
        self._goals = [self.publisher('{camera}/goal', c) for c in parameters.cameras]
        self.subscribe('goal', self._relay_goal, timeout_s=0)
        self.add_timer(parameters.sync_timeout_s / 2 or 0.01, self._expire)
        self.add_timer(REPORT_PERIOD_S, self._publish_reports)
        self.diagnostics.add('agreement', self._report)

    def _load_model(self) -> tuple[models.Codec, Similarity, Packers]:
        """Return the model, how its latents are compared, and their packer."""
        parameters = self.parameters
        try:
            model = models.load_observation_model(parameters.model)
            similarity = similarity_of(
                model, parameters.agreement_threshold, parameters.agreement_fpr
            )
            return model, similarity, packers_of(parameters.model)
        except (models.ModelError, ValueError) as error:
            raise ConfigurationError(f"parameter 'model': {error}") from error

    def _load_geometry(self) -> dict[str, CameraGeometry]:
        parameters = self.parameters
        try:
            return read_geometry(parameters.camera_geometry, parameters.cameras)
        except ValueError as error:
            raise ConfigurationError(str(error)) from error

    def on_parameters_changed(self) -> None:
        """Apply the threshold, unless the error rate determines it."""
        if isinstance(self._comparer, CosineComparer):
            self._comparer.threshold = self.parameters.agreement_threshold

    # LCTs

    def _receive(self, camera: str, message: LCTArray, publisher: bytes) -> None:
        """Admit the LCTs of an array, forward the accepted ones by frame, and fuse them."""
        guard, required = self._lct_guards[camera], self.parameters.require_signatures
        size = message.source_width, message.source_height
        received = received_lcts(message)
        # The stamps of `lcts` are signed, the header of the array is signed for `crops` only.
        frames: dict[int, list[tuple[LCT, Forwarded | None]]] = {}
        admit = partial(self._admit, camera, self.get_clock().now().nanoseconds)
        for lct, forwarded in guard.admit_each(publisher, received, admit):
            frames.setdefault(lct.stamp_ns, []).append((lct, forwarded))
        if not frames and not required:
            frames[stamp_from_msg(message.header.stamp)] = []
        if not received and required:
            guard.note_empty_array(publisher)
        for stamp_ns, lcts in sorted(frames.items()):
            header = Header(stamp=stamp_to_msg(stamp_ns), frame_id=message.header.frame_id)
            forward = self._arbiter.may_forward(camera, len(lcts))
            if ((forward and lcts) or not required) and self._trusted.get_subscription_count():
                self._forward(
                    message
                    if forward and _is_whole(message, lcts)
                    else self._array(camera, header, size, _messages(lcts) if forward else [])
                )
            frame = AcceptedFrame(stamp_ns, [lct for lct, _ in lcts], (header, size))
            for moment in self._arbiter.add_frame(camera, frame):
                self._publish(moment)

    def _forward(self, array: LCTArray) -> None:
        publish_relayed(self._trusted, array, self._arbiter.identity)

    def _admit(
        self, camera: str, now_ns: int, received: ReceivedLCT
    ) -> tuple[LCT, Forwarded | None] | None:
        """Return an accepted LCT, and how to forward it; None for a rejected one.

        An LCT that is not translated is forwarded as it was received.
        """
        verdict = self._verdict(camera, now_ns, received)
        if verdict.reason is not None:
            self._warn(camera, verdict, received.entity_id)
        lct = verdict.accepted
        if lct is None or verdict.received is None:
            return None
        return lct, received.message if lct.id == verdict.received.id else None

    def _verdict(self, camera: str, now_ns: int, received: ReceivedLCT) -> Verdict:
        try:
            lct, wire = received.read()
        except ValueError as error:
            return self._arbiter.reject(camera, RejectionReason.MALFORMED, str(error))
        return self._arbiter.admit(
            camera,
            lct,
            wire,
            lambda latent: unpack(latent, wire, self._models.packers(camera)),
            now_ns,
        )

    def _reject(self, camera: str, reason: RejectionReason) -> None:
        """Count and log a message that cannot be deserialized, or was not read."""
        self._warn(camera, self._arbiter.reject(camera, reason))

    def _warn(self, camera: str, verdict: Verdict, entity: str = '') -> None:
        if verdict.reason is not None:
            self._warnings.warn(f'{camera}/lcts', verdict.reason, entity, verdict.detail)

    def _relay_goal(self, message: String) -> None:
        for publisher in self._goals:
            publisher.publish(message)

    # Fusion

    def _expire(self) -> None:
        for moment in self._arbiter.expire(self.get_clock().now().nanoseconds):
            self._publish(moment)

    def _publish(self, moment: Moment) -> None:
        header, size = moment.frame.tag
        primary = self.parameters.cameras[0]
        for pairing in moment.pairings:
            message = agreements_to_msg(header, primary, moment.frame, pairing)
            self._agreement.publish(sign_message(message, self._arbiter.identity))
        fused = [lct_to_msg(lct) for lct in moment.fused]
        self._fused.publish(self._array(primary, header, size, fused))

    def _array(
        self, camera: str, header: Header, size: tuple[int, int], lcts: list[LCTMessage]
    ) -> LCTArray:
        width, height = size
        return LCTArray(
            header=header,
            source_width=width,
            source_height=height,
            lcts=lcts,
            camera=self._entities[camera],
        )

    # Reports

    def _publish_reports(self) -> None:
        now = self.get_clock().now().to_msg()
        for camera in self.parameters.cameras:
            message = trust_report_to_msg(self._arbiter.report(camera), now)
            self._reports.publish(sign_message(message, self._arbiter.identity))

    def _report(self) -> Status:
        required = self.parameters.require_signatures
        arbiter, store = self._arbiter, self._keys.store
        values: dict[str, Any] = {
            'model': arbiter.model.id,
            'agreements': arbiter.counts['agreements'],
            'disagreements': arbiter.counts['disagreements'],
            'unpaired_frames': arbiter.counts['unpaired'],
            'signatures': 'required' if required else 'not required',
            'entities_trusted': len(store.entities),
            'public_key': arbiter.identity.public_key,
        }
        warnings = self._keys.warnings
        for camera in self.parameters.cameras:
            report, state = arbiter.report(camera), arbiter.state(camera)
            values[f'{camera} accepted'] = report.accepted
            values[f'{camera} rejected'] = report.refused
            values[f'{camera} reputation'] = report.reputation
            values[f'{camera} compression trust'] = report.compression_trust
            values[f'{camera} latents'] = report.reason
            for reason, count in state.admission.reasons.items():
                values[f'{camera} rejected: {reason.value}'] = count
            if state.withheld:
                values[f'{camera} withheld'] = state.withheld
            if state.announcement is None:
                warnings.append(f'{camera} has not announced its model')
            elif not state.compatible:
                warnings.append(f'latents of {camera} are {report.reason}')
            values[f'{camera} challenges passed'] = state.challenges.passed
            if not state.consistent:
                warnings.append(
                    f'latents of {camera} are not those of the encoder of its probe latents'
                )
            if state.reputation.suspect:
                warnings.append(f'the reputation of {camera} is low: its LCTs are not fused')
        mode = 'arbitrating' if required else UNSIGNED_MODE
        return (WARN if warnings else OK), '; '.join([*warnings, mode]), values

    def close(self) -> None:
        """Wait for the evaluation in progress, and cancel all others."""
        self._models.close()


def _is_whole(message: LCTArray, lcts: list[tuple[LCT, Forwarded | None]]) -> bool:
    """Return whether accepted LCTs are all those of an array of crops, none translated."""
    untranslated = all(forwarded is not None for _, forwarded in lcts)
    return not message.lcts and len(lcts) == len(message.crops) > 0 and untranslated


def _messages(lcts: list[tuple[LCT, Forwarded | None]]) -> list[LCTMessage]:
    return [lct_to_msg(lct) if forwarded is None else forwarded() for lct, forwarded in lcts]


def main(args: list[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run(ArbiterNode, args))


if __name__ == '__main__':
    main()
