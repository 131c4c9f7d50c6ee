# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Node that relates the words of a goal to the trusted crops, and turns them into actions."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

import numpy as np
from sage_msgs.msg import LCTArray, TrackScores
from sensor_msgs.msg import Image
from std_msgs.msg import String

from sage_perception.core.latent import Latent, LatentKind
from sage_perception.core.lct import LCT, Operation, step_from
from sage_perception.core.text import split_names
from sage_perception.models import (
    ModelError,
    installed_name,
    load_audio,
    load_crop_codec,
    load_fusion,
)
from sage_perception.models.codec import Codec
from sage_perception.models.fusion import MAX_OBJECTS, Meaning
from sage_perception.models.registry import resolve
from sage_perception.models.semantic.semantic_text import VOCABULARY
from sage_perception.models.semantic.text_encoder import TextEncoder
from sage_perception.pipeline.sound_goal import SoundGoal
from sage_perception.puzzle.action import ACTION
from sage_perception.puzzle.drawing import draw_puzzle
from sage_perception.puzzle.head import TRUST, HeadAngles, look_at
from sage_perception.puzzle.joints import parse_joints
from sage_perception.puzzle.proprioception import DIM, LOG_VAR_MISSING, ProprioceptionSpace
from sage_perception.puzzle.space import write_scene
from sage_perception.puzzle.tokens import positions
from sage_perception.puzzle.translators import (
    KindTranslator,
    TranslationRefused,
    TranslatorRegistry,
)
from sage_perception.ros import qos
from sage_perception.ros.control import CONTROL, serve_control
from sage_perception.ros.conversions.lcts import lct_to_msg
from sage_perception.ros.conversions.packers import packers_of, plain_packer
from sage_perception.ros.diagnostics import OK, WARN, Status
from sage_perception.ros.endpoints import Node
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.identity import TrustedKeys, arbiter_entity, node_identity
from sage_perception.ros.images import image_to_msg
from sage_perception.ros.node_parameters.proprioception import check_joints
from sage_perception.ros.node_parameters.translator import TRANSLATOR
from sage_perception.ros.relayed import RelayedFrame, RelayedVerifier
from sage_perception.ros.run import run
from sage_perception.ros.statistics import Durations
from sage_perception.ros.tables import Topic
from sage_perception.vision.crops import to_pixels

MAX_GOAL = 200
"""Characters of a goal that are read."""
MAX_WAIT_S = 0.3
"""Frames that have waited longer for this node are skipped, so that it does not fall behind."""
PUZZLE_PERIOD_NS = 200_000_000
"""Least time between two images of the puzzle."""


class TranslatorNode(Node):
    """Publishes which crop the goal means, as weights, as a fused latent and as an action."""

    PARAMETERS = TRANSLATOR
    SUBSCRIBES = (
        Topic('trusted', LCTArray, qos.LCTS, 'LCTs that the arbiter accepted.'),
        Topic('goal', String, qos.DEFAULT, 'Words for one object; empty: no goal.'),
        Topic('proprioception', LCTArray, qos.DEFAULT, 'Latents of the body.'),
        Topic('audio', LCTArray, qos.DEFAULT, 'Latents of sound, with sound_goals.'),
    )
    PUBLISHES = (
        Topic(
            'target',
            TrackScores,
            qos.DEFAULT,
            'Probability that the goal means a track; unsigned.',
        ),
        Topic('goal_latent', LCTArray, qos.DEFAULT, 'The fused latent of goal and crops.'),
        Topic('action', LCTArray, qos.DEFAULT, 'The action that turns the head to the crop.'),
        Topic(
            'puzzle',
            Image,
            qos.VISUALIZATION,
            'The puzzle grid of crops, goal and body, for people; at most 5 Hz, and drawn only '
            'for subscribers.',
        ),
    )
    SERVES = (CONTROL,)

    def __init__(self, **options: Any):
        super().__init__('translator', **options)

    def setup(self) -> None:
        """Load the models and create the endpoints."""
        parameters = self.parameters
        self._identity = node_identity(self)
        self._joints = parse_joints(parameters.joints)
        try:
            self._body = ProprioceptionSpace(self._joints, parameters.use_imu)
            self._model = load_fusion(parameters.model)
            self._text = TextEncoder(resolve('semantic_text') / VOCABULARY)
            self._codec_name = _codec_name(self._model.appearance_space)
            packers = packers_of(self._codec_name)
            self._text(['a'])  # loads the sentence encoder, or raises if there is none
        except (ModelError, ValueError) as error:
            raise ConfigurationError(f"parameters 'model' and 'joints': {error}") from error
        fields = parameters.horizontal_fov_deg, parameters.vertical_fov_deg
        self._field_of_view = math.radians(fields[0]), math.radians(fields[1])
        self._goal, self._embedded, self._goal_trust = '', np.zeros(0, np.float32), 1.0
        self._body_latent: Latent | None = None
        self._angles = HeadAngles()
        self._codec: Codec | None = None
        self._drawn_ns = 0
        self._refused: dict[str, int] = {}
        self._durations = Durations()
        self._registry = TranslatorRegistry()
        self._registry.register(
            KindTranslator(
                'look_at', LatentKind.FUSED, LatentKind.ACTION, self._model.id, ACTION, TRUST,
                self._look_at,
            )
        )  # fmt: skip
        self._frame: RelayedFrame | None = None
        self._sound_goal: SoundGoal | None = None
        keys = TrustedKeys(self)
        serve_control(self, keys)
        unsigned = parameters.unsigned_goals or not keys.required
        self._acts = unsigned or parameters.sound_goals
        self._trusted = RelayedVerifier(self, 'trusted', keys, packers, arbiter_entity(self))
        layout = {self._body.id.fingerprint: plain_packer(DIM)}
        self._bodies = RelayedVerifier(self, 'proprioception', keys, layout)
        self._target = self.publisher('target')
        self._fused = self.publisher('goal_latent')
        self._actions = self.publisher('action')
        self._puzzles = self.publisher('puzzle')
        self.subscribe('trusted', self._receive_frame, max_age_s=MAX_WAIT_S, guard=self._trusted)
        if unsigned or not parameters.sound_goals:
            self.subscribe('goal', self._receive_goal, timeout_s=0)
        if parameters.sound_goals:
            self._use_sound_goals(keys)
        self.subscribe('proprioception', self._receive_body, timeout_s=0, guard=self._bodies)
        self.diagnostics.add('translation', self._report)

    def check_parameters(self, values: dict[str, Any]) -> None:
        """Raise `ValueError` for joints that are not valid."""
        check_joints(values)
        if len(values['joints']) < 2:
            raise ValueError("parameter 'joints': give the pan and the tilt of the head first")

    def on_parameters_changed(self) -> None:
        """Apply a new least confidence of words."""
        if self._sound_goal is not None:
            self._sound_goal.min_confidence = self.parameters.min_confidence

    def _use_sound_goals(self, keys: TrustedKeys) -> None:
        """Subscribe to latents of sound, whose words become goals."""
        parameters = self.parameters
        try:
            model = load_audio(parameters.sound_model)
            packers = packers_of(parameters.sound_model)
            words = split_names(parameters.goal_words)
            self._sound_goal = SoundGoal(
                model, self._text, words, parameters.min_confidence, parameters.phrase_gap_s
            )
        except (ModelError, ValueError) as error:
            raise ConfigurationError(
                f"parameters 'sound_model' and 'goal_words': {error}"
            ) from error
        self._registry.register(self._sound_goal.translator)
        self._sounds = RelayedVerifier(self, 'audio', keys, packers)
        self.subscribe('audio', self._receive_sound, timeout_s=0, guard=self._sounds)

    def _receive_goal(self, message: String) -> None:
        goal = ' '.join(message.data[:MAX_GOAL].split())
        if goal == self._goal:
            return  # the audio node publishes the words of its latents here, too
        self._goal, self._goal_trust = goal, 1.0
        if goal:
            self._embedded = self._text([goal])[0]

    def _receive_sound(self, message: LCTArray, publisher: bytes) -> None:
        assert self._sound_goal is not None
        for lct in self._sounds.lcts(message, publisher, self.get_clock().now().nanoseconds):
            try:
                sentence = self._sound_goal.translate(
                    lct, self._registry, self._identity.entity_id, self._identity.next_sequence,
                    self.parameters.min_trust,
                )  # fmt: skip
            except ValueError as error:
                self._refuse(error)
                continue
            self._goal, self._goal_trust = self._sound_goal.text, sentence.trust
            self._embedded = sentence.latent.mean

    def _receive_body(self, message: LCTArray, publisher: bytes) -> None:
        for lct in self._bodies.lcts(message, publisher, self.get_clock().now().nanoseconds):
            pan, tilt = self._body.decode(lct.latent).position[:2]
            self._angles.add(lct.stamp_ns, float(pan), float(tilt))
            self._body_latent = lct.latent

    def _receive_frame(self, message: LCTArray, publisher: bytes) -> None:
        for frame in self._trusted.frames(message, publisher):
            lcts = [lct for lct in frame.lcts if lct.latent.roi is not None][:MAX_OBJECTS]
            if self._goal and lcts and min(frame.size) > 0:
                start_s = time.perf_counter()
                self._translate(frame, lcts)
                self._durations.add(time.perf_counter() - start_s)

    def _translate(self, frame: RelayedFrame, lcts: list[LCT]) -> None:
        """Publish the weights of the objects of a frame, and the latents of the one meant."""
        rois = [lct.latent.roi for lct in lcts if lct.latent.roi is not None]
        boxes = np.array([[roi.x, roi.y, roi.width, roi.height] for roi in rois], float)
        places = positions(boxes, frame.size)
        meaning = self._model(
            np.stack([lct.latent.mean for lct in lcts]),
            places,
            self._embedded,
            np.array([lct.trust for lct in lcts]),
        )
        scores = TrackScores(
            header=frame.header,
            goal=self._goal,
            track_ids=[lct.latent.track_id for lct in lcts],
            scores=meaning.weights.tolist(),
        )
        self._target.publish(scores)
        self._frame = frame
        self._act(frame, lcts, meaning)
        wanted = abs(frame.stamp_ns - self._drawn_ns) >= PUZZLE_PERIOD_NS
        if wanted and self._puzzles.get_subscription_count():
            self._drawn_ns = frame.stamp_ns
            self._draw(frame, lcts, places)

    def _act(self, frame: RelayedFrame, lcts: list[LCT], meaning: Meaning) -> None:
        """Publish the latent and the action of the object meant, unless they are refused."""
        try:
            fused = self._fuse(lcts, meaning)
            self._publish(self._fused, frame, fused)
            if not self._acts or self.parameters.head_camera not in ('', frame.camera):
                return
            action = self._registry.translate(
                fused, LatentKind.ACTION, entity_id=self._identity.entity_id,
                next_sequence=self._identity.next_sequence,
                min_trust=self.parameters.min_trust,
            )  # fmt: skip
            self._publish(self._actions, frame, action)
        except ValueError as error:
            self._refuse(error)

    def _refuse(self, error: ValueError) -> None:
        """Count a latent that is not published, by its reason."""
        reason = str(error).partition(':')[0]
        self._refused[reason] = self._refused.get(reason, 0) + 1

    def _draw(self, frame: RelayedFrame, lcts: list[LCT], places: np.ndarray) -> None:
        """Publish the puzzle of a frame as an image."""
        if self._codec is None:
            self._codec = load_crop_codec(self._codec_name)
        z = np.stack([lct.latent.mean for lct in lcts]).reshape(-1, *self._codec.latent_shape)
        body, latent = None, self._body_latent
        if latent is not None and np.isfinite(self._angles.at(frame.stamp_ns)).all():
            known = None if latent.log_var is None else latent.log_var < LOG_VAR_MISSING
            body = latent.mean, known
        trust = float(np.clip(max(lct.trust for lct in lcts), 0, 1))
        crops = to_pixels(self._codec.decode(z))
        puzzle = write_scene(crops, places, self._embedded, body, trust)
        self._puzzles.publish(image_to_msg(draw_puzzle(puzzle), 'rgb8', frame.header))

    def _fuse(self, lcts: list[LCT], meaning: Meaning) -> LCT:
        """Return the fused LCT; its parent is the LCT of the object meant."""
        best = int(meaning.weights.argmax())
        parent, weight = lcts[best], float(meaning.weights[best]) * self._goal_trust
        latent = Latent(
            meaning.fused, None, LatentKind.FUSED, self._model.id, parent.latent.roi,
            parent.latent.track_id,
        )  # fmt: skip
        entity = self._identity.entity_id
        step = step_from(parent, Operation.FUSE, entity, self._model.id, weight)
        fused = LCT.derived(
            latent, (*parent.provenance, step), entity_id=entity,
            sequence=self._identity.next_sequence(), stamp_ns=parent.stamp_ns,
        )  # fmt: skip
        if not fused.trust >= self.parameters.min_trust:
            raise TranslationRefused('the trust of the fused latent is too low')
        return fused

    def _look_at(self, latent: Latent) -> Latent:
        assert self._frame is not None
        pan, tilt, *_ = self._joints
        angles = self._angles.at(self._frame.stamp_ns)
        return look_at(latent, self._frame.size, self._field_of_view, (pan, tilt), angles)

    def _publish(self, publisher: Any, frame: RelayedFrame, lct: LCT) -> None:
        width, height = frame.size
        signed = self._identity.sign(lct)
        publisher.publish(
            LCTArray(
                header=frame.header, source_width=width, source_height=height,
                lcts=[lct_to_msg(signed)],
            )
        )  # fmt: skip

    def _report(self) -> Status:
        figures = {
            'model': str(self._model.id),
            'goal': self._goal or 'none',
            'translate_p95_ms': self._durations.percentile_ms(95),
            'public_key': self._identity.public_key,
        }
        figures |= {f'refused: {reason}': count for reason, count in self._refused.items()}
        state = 'translating' if self._goal else 'no goal'
        if not self._acts:
            return OK, f'{state}; no actions, because goals are not signed', figures
        if not np.isfinite(self._angles.at(self.get_clock().now().nanoseconds)).all():
            return WARN, 'the angles of the head are not known: no actions', figures
        return OK, state, figures


def _codec_name(space: bytes) -> str:
    """Return the name of the installed model with a latent space."""
    name = installed_name(space, 'tinyvae')
    if name is None:
        raise ModelError(f'no installed model has the latent space {space.hex()[:8]}')
    return name


def main(args: list[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run(TranslatorNode, args))


if __name__ == '__main__':
    main()
