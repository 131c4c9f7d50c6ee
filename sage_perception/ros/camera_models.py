# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Receives the announcements of cameras for the arbiter, and measures compatibility."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from rclpy.callback_groups import ReentrantCallbackGroup
from sage_msgs.msg import ModelInfo, ProbeChallenge, ProbeSet
from sage_msgs.srv import Align
from std_msgs.msg import Header

from sage_perception import models
from sage_perception.codecs import codebook
from sage_perception.codecs.packing import Packer
from sage_perception.core.latent import ModelId
from sage_perception.ros.authentication import RequestGuard
from sage_perception.ros.background import Worker
from sage_perception.ros.conversions.announcements import (
    model_info_from_msg,
    probe_answer_from_msg,
    probe_set_from_msg,
)
from sage_perception.ros.conversions.latents import Packers
from sage_perception.ros.conversions.trust import trust_report_to_msg
from sage_perception.ros.endpoints import Endpoints
from sage_perception.ros.input_monitor import InputMonitor
from sage_perception.ros.local_bus import TopicPublisher
from sage_perception.ros.message_form import sign_message
from sage_perception.ros.rate_limit import QuotaGuard
from sage_perception.trust.arbiter import Arbiter
from sage_perception.trust.security.announcements import ProbeAnswer
from sage_perception.trust.security.rejection import explain

CHALLENGE_CHECK_S = 1.0


class CameraModels:
    """Subscribes to the models and probe latents of an arbiter's cameras, and serves `~/align`.

    Probe latents are evaluated in a worker thread. `close` must be called before the node is
    destroyed. `own` are the packers of the arbiter's model: latents of that model are unpacked
    before their camera has announced it.
    """

    def __init__(
        self, node: Endpoints, arbiter: Arbiter, requests: RequestGuard, own: Packers
    ) -> None:
        self._requests = requests
        self._node, self._arbiter = node, arbiter
        self._worker = Worker(node, 'compatibility')
        self._to_evaluate: set[str] = set()
        self._packers = dict.fromkeys(arbiter.cameras, own)
        self._models: dict[str, InputMonitor] = {}
        self._probes: dict[str, InputMonitor] = {}
        for camera in arbiter.cameras:
            self._subscribe('{camera}/model_info', camera, self._register_model, self._models)
            self._subscribe('{camera}/probe_latents', camera, self._submit_probes, self._probes)
        self._answers: dict[str, InputMonitor] = {}
        self._challenges: dict[str, TopicPublisher] = {}
        if node.parameters.challenge_period_s:
            for camera in arbiter.cameras:
                topic = '{camera}/probe_answers'
                self._subscribe(topic, camera, self._submit_answer, self._answers)
                publisher = node.publisher('{camera}/probe_challenge', camera)
                self._challenges[camera] = publisher
            node.add_timer(CHALLENGE_CHECK_S, self._challenge)
        node.serve('~/align', self._serve_align, ReentrantCallbackGroup())

    def packers(self, camera: str) -> Packers:
        """Return the packers for the latents of a camera."""
        return self._packers[camera]

    def close(self) -> None:
        """Wait for the evaluation in progress, and cancel all others."""
        self._worker.close()

    def _subscribe(
        self,
        topic: str,
        camera: str,
        callback: Callable[..., None],
        inputs: dict[str, InputMonitor],
    ) -> None:
        """Subscribe to a latched topic of a camera with a quota for each publisher."""
        guard = QuotaGuard(lambda reason: inputs[camera].reject(explain(reason)))
        inputs[camera] = self._node.subscribe(
            topic, partial(callback, camera), camera, timeout_s=0, guard=guard
        )

    def _register_model(self, camera: str, message: ModelInfo, _publisher: bytes) -> None:
        """Register the model of a camera, and create the packer for its latents."""
        try:
            announcement = model_info_from_msg(message)
            fault = self._arbiter.register_model(camera, announcement)
            if fault is not None:
                raise ValueError(explain(fault, announcement.entity_id))
            book = self._codebook(announcement.model)
            packer = Packer(announcement.mean, announcement.std, book)
        except ValueError as error:
            self._models[camera].reject(str(error))
        else:
            self._packers[camera] = {announcement.model.fingerprint: packer}

    def _submit_probes(self, camera: str, message: ProbeSet, _publisher: bytes) -> None:
        """Schedule the evaluation of a camera's probe latents."""
        try:
            probe_set = probe_set_from_msg(message)
            fault = self._arbiter.submit_probes(camera, probe_set)
            if fault is not None:
                raise ValueError(explain(fault, probe_set.entity_id))
        except ValueError as error:
            self._probes[camera].reject(str(error))
        else:
            if camera not in self._to_evaluate:
                self._to_evaluate.add(camera)
                self._worker.submit(partial(self._evaluate, camera))

    def _challenge(self) -> None:
        """Challenge the cameras that are due; a camera without an encoder that listens is not."""
        now = self._node.get_clock().now()
        for camera, publisher in self._challenges.items():
            if not publisher.get_subscription_count():
                continue
            nonce = self._arbiter.challenge(camera, now.nanoseconds)
            if nonce is not None:
                message = ProbeChallenge(
                    header=Header(stamp=now.to_msg()), nonce=np.frombuffer(nonce, np.uint8)
                )
                publisher.publish(sign_message(message, self._arbiter.identity))

    def _submit_answer(self, camera: str, message: ProbeSet, _publisher: bytes) -> None:
        """Schedule the judgment of the answer to a challenge."""
        try:
            answer = probe_answer_from_msg(message)
            fault = self._arbiter.submit_answer(camera, answer)
            if fault is not None:
                raise ValueError(explain(fault, answer.entity_id))
        except ValueError as error:
            self._answers[camera].reject(str(error))
        else:
            self._worker.submit(partial(self._judge, camera, answer))

    def _judge(self, camera: str, answer: ProbeAnswer) -> None:
        trust = self._arbiter.judge_answer(camera, answer)
        if not self._arbiter.state(camera).consistent:
            self._node.get_logger().warning(
                f'{camera} failed a challenge: its encoder supports a trust of {trust:.2f}, which '
                'is not that of its probe latents'
            )

    def _evaluate(self, camera: str) -> None:
        """Evaluate the newest probe latents; earlier ones that were not evaluated are skipped."""
        self._to_evaluate.discard(camera)
        result = self._arbiter.evaluate(camera)
        self._node.get_logger().info(f'model of {camera}: {result.sender}, {result.decision}')

    def _codebook(self, model: ModelId) -> codebook.Codebook | None:
        """Return the codebook of a model if the model is installed on this machine, else None."""
        try:
            return codebook.installed(model)
        except models.ModelError as error:
            self._node.get_logger().warning(
                f'latents of {model} in the encoding VQ cannot be unpacked: {error}'
            )
            return None

    async def _serve_align(
        self, request: Align.Request, response: Align.Response
    ) -> Align.Response:
        try:
            self._requests.require(request, '~/align')
            report = await self._worker.call(
                partial(self._arbiter.compare, request.entity_a, request.entity_b, find_model)
            )
            response.report = trust_report_to_msg(report, self._node.get_clock().now().to_msg())
            response.success = True
        except ValueError as error:
            response.message = str(error)
        return response


def find_model(model: ModelId) -> models.Codec:
    """Return an installed model; raise `ValueError` for any other."""
    name = models.installed_name(model.fingerprint, model.name)
    if name is None:
        raise ValueError(
            f'{model} is not installed here: call this service on a machine that has it'
        )
    return models.load_observation_model(name)
