# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A memory node of its own: what the arbiter trusts goes in, what it is like comes back."""

import itertools
import math
import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sage_msgs.msg import Agreement, AgreementArray, LCTArray, SnarcArray
from sage_msgs.srv import Forget, QueryMemory, Remember
from std_msgs.msg import Float32, Header

from sage_perception.bringup.graph import single_camera
from sage_perception.cli import keys as keyring
from sage_perception.core.latent import Latent, ModelId, Roi
from sage_perception.core.lct import LCT, Operation
from sage_perception.memory import Space
from sage_perception.ros.conversions.latents import latent_to_msg
from sage_perception.ros.conversions.lcts import lct_from_msg, lct_to_msg
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.trust import TrustStore, verify

SPACE = Space.of('tinyvae')
SECOND = 10**9
_numbers = itertools.count(1)


def latent(seed, model=SPACE.model, nudge=0.0):
    z = SPACE.mean + 3 * np.random.default_rng(seed).standard_normal(SPACE.mean.size)
    return Latent(
        (z + nudge).astype(np.float32), model=model, roi=Roi(9, 9, 64, 64), track_id=seed
    )


def lct(what, stamp_ns, entity='cam0'):
    return LCT.encoded(
        what, entity_id=entity, sequence=next(_numbers), stamp_ns=stamp_ns, trust=0.9
    )


class Life:
    """Speaks to the memory node as an arbiter does, and listens to it."""

    def __init__(self, graph):
        self.graph = graph
        node = self.node = graph.ros.node
        self._trusted = node.create_publisher(LCTArray, 'trusted', 10)
        self.agreement = node.create_publisher(AgreementArray, 'agreement', 10)
        self.reward = node.create_publisher(Float32, 'reward', 10)
        self.snarc = graph.collect(SnarcArray, 'snarc')
        self.recall = graph.collect(LCTArray, 'recall')
        self.meet()

    def meet(self):
        for publisher in (self._trusted, self.agreement, self.reward):
            self.graph.wait_for(publisher.get_subscription_count, 'the node listens')
        for topic in ('snarc', 'recall'):
            self.graph.wait_for(lambda t=topic: self.node.count_publishers(t), 'the node speaks')

    def now_ns(self):
        return self.node.get_clock().now().nanoseconds

    def say(self, lcts, stamp_ns):
        header = Header(stamp=stamp_to_msg(stamp_ns), frame_id='lens')
        messages = [each if not isinstance(each, LCT) else lct_to_msg(each) for each in lcts]
        self._trusted.publish(
            LCTArray(header=header, source_width=640, source_height=480, lcts=messages)
        )
        return header

    def show(self, *latents):
        """Let a camera see these; return what the node makes of each."""
        now = self.now_ns()
        header = self.say([lct(each, now) for each in latents], now)
        return self.of(self.snarc, header).scores

    def glance(self, *latents):
        """Do as `show`, and give up after a second: None."""
        header = self.say([lct(each, now := self.now_ns()) for each in latents], now)
        time.sleep(1.0)
        return next((m.scores for m in list(self.snarc) if m.header == header), None)

    def of(self, messages, header):
        return self.graph.wait_for(
            lambda: next((m for m in list(messages) if m.header == header), None), 'an answer'
        )

    def ask(self, like=None, **fields):
        likes = [] if like is None else [latent_to_msg(like)]
        answer = self.graph.ros.ask(QueryMemory, 'memory/query', like=likes, **fields)
        assert answer.success, answer.message
        return answer.memories

    def figures(self, part='memory'):
        count = len(self.graph._health) if hasattr(self.graph, '_health') else 0
        part = self.graph.wait_for(
            lambda: self.graph.health(count).get(f'memory: {part}'), 'diagnostics'
        )
        return {pair.key: pair.value for pair in part.values}


@pytest.fixture(scope='module')
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp('keys')
    assert keyring.main(['create', 'memory', '--dir', str(folder)]) == 0
    return folder


@pytest.fixture(scope='module')
def life(run_graph, keys, tmp_path_factory):
    store = tmp_path_factory.mktemp('memory') / 'memory.db'
    parameters = {'store': str(store), 'recall_rate': 5.0, 'rate': 20.0}
    parameters |= {'key': str(keys), 'keys': str(keys)}
    specs = [
        replace(spec, parameters=parameters)
        for spec in single_camera(memory=True)
        if spec.name == 'memory'
    ]
    return Life(run_graph(specs))


def test_the_new_is_kept_and_found_by_likeness_time_entity_and_track(life):
    before = life.now_ns()
    one, other = latent(101), latent(102)
    scores = life.show(one, other)
    assert [score.stored for score in scores] == [True, True]
    assert [score.track_id for score in scores] == [101, 102]
    assert all(score.snarc.novelty == 1 and score.salience == 1 for score in scores)
    assert not life.show(one)[0].stored, 'it is known by now'

    [best, *_] = life.ask(latent(101, nudge=0.01), count=1)
    assert best.similarity == pytest.approx(1, abs=1e-3)
    assert best.entity_id == 'cam0'
    assert list(best.lct.latent.mean) == list(one.mean)
    newest = life.ask(since=stamp_to_msg(before), entity_id='cam0', track_id=102)
    assert [m.lct.latent.track_id for m in newest] == [102]
    assert math.isnan(newest[0].similarity)
    assert life.ask(until=stamp_to_msg(before)) == []
    assert life.ask(one, entity_id='cam9') == []


def test_what_is_past_and_like_the_present_is_recalled_signed(life, keys):
    long_ago = life.now_ns() - 60 * SECOND
    past = lct(latent(111), long_ago, 'cam1')
    assert life.graph.ros.ask(Remember, 'memory/remember', lct=lct_to_msg(past)).success
    header = life.say([lct(latent(111, nudge=0.02), now := life.now_ns())], now)
    recall = life.of(life.recall, header)
    assert (recall.source_width, recall.source_height) == (640, 480)
    best = recall.lcts[0]
    assert best.latent.track_id == 111
    assert best.stamp == stamp_to_msg(long_ago)
    value = lct_from_msg(best)
    assert [step.operation for step in value.provenance] == [Operation.ENCODE, Operation.RECALL]
    assert value.provenance[-1].parent_id == past.id
    assert value.entity_id == 'memory'
    assert verify(value, TrustStore(keys)) is None
    assert recall.lcts == sorted(recall.lcts, key=lambda m: -cosine(m.latent.mean, 111))


def cosine(mean, seed):
    a, b = (np.asarray(z) - SPACE.mean for z in (mean, latent(seed).mean))
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def test_reward_and_disagreement_are_scored(life):
    now = life.now_ns()
    one, other = lct(latent(121), now), lct(latent(122), now)
    pair = Agreement(similarity=-0.5)
    pair.lct_a = np.frombuffer(one.id, np.uint8)
    pair.lct_b = np.frombuffer(bytes(15) + b'9', np.uint8)
    life.agreement.publish(AgreementArray(agreements=[pair]))
    life.reward.publish(Float32(data=-7.0))
    scores = life.of(life.snarc, life.say([one, other], now)).scores
    assert [score.snarc.conflict for score in scores] == [1, 0]
    assert all(0.5 < score.snarc.reward <= 1 for score in scores)


def test_what_cannot_be_remembered_is_refused_and_counted(life):
    before = life.figures('belief in trusted')
    now = life.now_ns()
    bad = lct_to_msg(lct(latent(131), now))
    bad.latent.mean[0] = math.nan
    packed = lct_to_msg(lct(latent(132), now))
    packed.latent.payload = [1, 2, 3]
    alien = lct(latent(133, ModelId('m', '1', bytes(range(32)))), now)
    # Of whoever has a trusted key what is unsigned is not believed.
    unsigned = lct(latent(135), now, 'memory')
    header = life.say([bad, packed, alien, unsigned, lct(latent(134), now)], now)
    scores = life.of(life.snarc, header).scores
    assert [(score.track_id, score.stored) for score in scores] == [(134, True)]
    after = life.figures('belief in trusted')
    for why in ('not finite', 'malformed', 'wrong fingerprint', 'unsigned'):
        assert int(after[f'refused: {why}']) == int(before.get(f'refused: {why}', 0)) + 1
    answer = life.graph.ros.ask(QueryMemory, 'memory/query', like=[latent_to_msg(alien.latent)])
    assert (answer.success, answer.memories) == (False, [])
    assert 'this memory is of' in answer.message


def test_one_may_ask_to_remember_and_to_forget(life):
    known = lct_to_msg(lct(latent(101, nudge=1e-3), life.now_ns(), 'guest'))
    assert life.graph.ros.ask(Remember, 'memory/remember', lct=known).success
    [kept] = life.ask(entity_id='guest')
    assert kept.snarc.reward == 1
    nothing = life.graph.ros.ask(Forget, 'memory/forget')
    assert not nothing.success
    assert 'set at least one of' in nothing.message
    gone = life.graph.ros.ask(Forget, 'memory/forget', entity_id='guest', since=Time(sec=1))
    assert (gone.success, gone.forgotten) == (True, 1)
    assert life.ask(entity_id='guest') == []


def test_what_was_kept_a_second_ago_outlives_a_kill(life):
    def committed():
        held = str(len(life.ask(count=64)))
        life.graph.wait_for(lambda: life.figures()['records'] == held, 'a commit')

    committed()
    assert life.show(latent(141))[0].stored
    committed()
    pid = life.graph.pid('memory')
    os.kill(pid, signal.SIGKILL)
    life.graph.wait_for(
        lambda: life.graph.runner.processes['memory'].pid not in (None, pid), 'a start'
    )
    life.graph.wait_for(lambda: life.figures()['observed'] == '0', 'the new one is up')
    [score] = life.graph.wait_for(lambda: life.glance(latent(141)), 'it hears us')
    assert score.snarc.novelty < 1e-5
    assert not score.stored
