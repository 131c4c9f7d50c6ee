# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The codes of an encoder node: their model, its announcement, the goal, and what they cost."""

from __future__ import annotations

from typing import Any

from sage_msgs.msg import CropArray, ModelInfo, TrackScores
from std_msgs.msg import String

from sage_perception.core.latent import LatentKind
from sage_perception.models import Codec, ModelError
from sage_perception.pipeline.code_encoder import CodeEncoder
from sage_perception.pipeline.code_models import (
    code_model_of,
    kinds_of,
    load_code_model,
    space_of,
)
from sage_perception.pipeline.crop_encoder import EncodedCrops
from sage_perception.pipeline.goal import Goal, goal_words
from sage_perception.pipeline.track_labels import TrackLabels
from sage_perception.ros import detections, qos
from sage_perception.ros.background import Worker
from sage_perception.ros.conversions.announcements import code_model_info_to_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg
from sage_perception.ros.encoder_models import code_policy
from sage_perception.ros.endpoints import Endpoints
from sage_perception.ros.local_bus import TopicPublisher
from sage_perception.ros.message_form import sign_message
from sage_perception.ros.tables import Topic
from sage_perception.trust.security.identity import Identity

SUBSCRIBES = (
    Topic(
        'goal',
        String,
        qos.LATCHED,
        'Words for what to look for, such as "a red car"; empty: nothing. The tracks that fit '
        'them are scored, which needs semantic in `codes`. The arbiter relays the topic goal of '
        'the graph to all cameras.',
    ),
)
PUBLISHES = (
    Topic(
        'code_model_info',
        ModelInfo,
        qos.LATCHED,
        'Model of the codes, if the parameter `codes` names any.',
    ),
    Topic(
        'track_scores',
        TrackScores,
        qos.DEFAULT,
        'How well the tracks of a frame fit the goal, while there is one.',
    ),
    Topic(
        'objects',
        detections.Detection2DArray,
        qos.DEFAULT,
        'The regions of the crops with their nouns as class hypotheses, while it is subscribed; '
        'class "unknown" without a confident noun. Where vision_msgs is installed.',
    ),
)


class EncoderCodes:
    """The topics `goal`, `track_scores`, `objects` and `code_model_info` of an encoder node.

    Codes are computed in a worker thread, so that latents never wait for them; `close` must be
    called before the node is destroyed. A goal is not signed: it changes which crops attention
    prefers, and nothing else.
    """

    def __init__(self, node: Endpoints) -> None:
        self._node = node
        self._encoder: CodeEncoder | None = None
        self._worker: Worker | None = None
        self._goal: Goal | None = None
        self._words, self._fault = '', ''
        self._info = node.publisher('code_model_info')
        self._scores = node.publisher('track_scores')
        self._labels = TrackLabels()
        self._objects: TopicPublisher | None = None
        if detections.AVAILABLE:
            self._objects = node.publisher('objects')
        self._input = node.subscribe('goal', self._receive_goal, timeout_s=0)

    def load(self, codec: Codec) -> CodeEncoder | None:
        """Load the model that the parameters name; None without codes.

        Raises `ModelError`.
        """
        parameters = self._node.parameters
        kinds = kinds_of(parameters.codes)
        self.close()
        if not kinds:
            return None
        model = load_code_model(code_model_of(parameters.code_model, kinds))
        policy = code_policy(parameters.values)
        self._worker = Worker(self._node, 'codes')
        self._encoder = CodeEncoder(model, kinds, codec.latent_mean, policy, self._worker.submit)
        space = space_of(model, LatentKind.SEMANTIC).fingerprint
        if LatentKind.SEMANTIC in kinds:
            try:
                self._goal = Goal(model, space)
            except ModelError as error:
                self._node.get_logger().warning(f'no goals: {error}')
        self._set_goal()
        return self._encoder

    def announce(self, identity: Identity) -> None:
        """Publish the model, if there is one, in the name of `identity`."""
        if self._encoder is None:
            return
        model = self._encoder.model
        spaces = {
            kind.name.lower(): space_of(model, kind).fingerprint for kind in self._encoder.kinds
        }
        now = self._node.get_clock().now().to_msg()
        self._info.publish(code_model_info_to_msg(model.id, spaces, now, identity))

    def close(self) -> None:
        """Wait for the computation in progress, and release the model."""
        if self._worker is not None:
            self._worker.close()
        self._encoder = self._worker = self._goal = None

    def publish_scores(self, frame: CropArray, encoded: EncodedCrops, identity: Identity) -> None:
        """Publish how well the tracks of a frame fit the goal."""
        if self._goal is None:
            return
        stamp_ns = stamp_from_msg(frame.header.stamp)
        self._goal.update(encoded.latents, stamp_ns)
        published = [latent.track_id for latent in encoded.latents]
        found = self._goal.scores(filter(None, published), stamp_ns)
        # Attention has ids of its own for tracks that came back.
        pairs = zip(encoded.tracks, published, strict=True)
        scores = {track: found[own] for track, own in pairs if track and own in found}
        if not scores and not self._words:
            return
        message = TrackScores(
            header=frame.header,
            goal=self._goal.words,
            track_ids=list(scores),
            scores=list(scores.values()),
        )
        self._scores.publish(sign_message(message, identity))

    def publish_objects(self, frame: CropArray, encoded: EncodedCrops) -> None:
        """Publish the regions of a frame with the nouns of their tracks."""
        if self._encoder is None or self._objects is None:
            return
        stamp_ns = stamp_from_msg(frame.header.stamp)
        self._labels.see('', [latent.track_id for latent in encoded.latents], stamp_ns)
        for latent in encoded.latents:
            for code in latent.codes:
                if code.kind is LatentKind.SEMANTIC:
                    space = code.model.fingerprint
                    self._labels.add('', latent.track_id, space, code.payload, stamp_ns)
        if not self._objects.get_subscription_count():
            return
        objects = []
        for latent in encoded.latents:
            label = self._labels.label('', latent.track_id)
            if latent.roi is not None and label is not None:
                objects.append((latent.roi, latent.track_id, label))
        self._objects.publish(detections.objects_to_msg(frame.header, objects))

    @property
    def figures(self) -> dict[str, Any]:
        """Return values for diagnostics."""
        encoder = self._encoder
        if encoder is None:
            return {'codes': 'none'}
        return {
            'codes': self._node.parameters.codes,
            'code_model': encoder.model.id,
            'codes_computed': encoder.count,
            'codes_failed': 0 if self._worker is None else self._worker.failures,
            'ms_per_code': 1e3 * encoder.time_s / max(encoder.count, 1),
            'goal': self._words or 'none',
            **({'goal_fault': self._fault} if self._fault else {}),
        }

    def _receive_goal(self, message: String) -> None:
        try:
            self._words = goal_words(message.data)
        except ValueError as error:
            self._input.reject(f'goal: {error}')
        else:
            self._set_goal()

    def _set_goal(self) -> None:
        """Use the words that were received last, also if they came before the model."""
        self._fault = ''
        if self._goal is None:
            if self._words and self._encoder is not None:
                self._fault = "set the parameter 'codes' to semantic"
            return
        try:
            self._goal.set(self._words)
        except ModelError as error:
            self._fault = str(error)
            self._input.reject(f'goal: {error}')
