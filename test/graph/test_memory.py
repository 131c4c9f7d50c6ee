# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The memory node as a process: its topics, its services, and a crash."""

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
from sage_perception.cli import keys as keys_command
from sage_perception.core.latent import Latent, ModelId, Roi
from sage_perception.core.lct import LCT, Operation
from sage_perception.memory import Space
from sage_perception.ros.conversions.latents import latent_to_msg
from sage_perception.ros.conversions.lcts import lct_from_msg, lct_to_msg
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.trust import TrustStore, verify
from sage_perception.trust.security.rejection import RejectionReason

SPACE = Space.of('tinyvae')
SECOND = 10**9
_numbers = itertools.count(1)


def latent(seed, model=SPACE.model, offset=0.0):
    """Return a random latent of the track `seed`."""
    z = SPACE.mean + 3 * np.random.default_rng(seed).standard_normal(SPACE.mean.size)
    return Latent(
        (z + offset).astype(np.float32), model=model, roi=Roi(9, 9, 64, 64), track_id=seed
    )


def lct(of, stamp_ns, entity='cam0'):
    return LCT.encoded(of, entity_id=entity, sequence=next(_numbers), stamp_ns=stamp_ns, trust=0.9)


class MemoryClient:
    """Publishes what the memory node subscribes to, and collects what it publishes."""

    def __init__(self, graph):
        self.graph = graph
        node = self.node = graph.ros.node
        self._trusted = node.create_publisher(LCTArray, 'trusted', 10)
        self.agreement = node.create_publisher(AgreementArray, 'agreement', 10)
        self.reward = node.create_publisher(Float32, 'reward', 10)
        self.snarc = graph.collect(SnarcArray, 'snarc')
        self.recall = graph.collect(LCTArray, 'recall')
        self.wait_for_discovery()

    def wait_for_discovery(self):
        for publisher in (self._trusted, self.agreement, self.reward):
            self.graph.wait_for(publisher.get_subscription_count, 'subscriptions of the node')
        for topic in ('snarc', 'recall'):
            self.graph.wait_for(
                lambda t=topic: self.node.count_publishers(t), f'publisher {topic}'
            )

    def now_ns(self):
        return self.node.get_clock().now().nanoseconds

    def publish(self, lcts, stamp_ns):
        """Publish trusted LCTs or their messages as a frame; return its header."""
        header = Header(stamp=stamp_to_msg(stamp_ns), frame_id='lens')
        messages = [each if not isinstance(each, LCT) else lct_to_msg(each) for each in lcts]
        self._trusted.publish(
            LCTArray(header=header, source_width=640, source_height=480, lcts=messages)
        )
        return header

    def observe(self, *latents):
        """Publish latents of cam0 as a frame and return their scores."""
        now = self.now_ns()
        header = self.publish([lct(each, now) for each in latents], now)
        return self.wait_for_frame(self.snarc, header).scores

    def try_observe(self, *latents):
        """Do as `observe`, but return None without scores within a second."""
        now = self.now_ns()
        header = self.publish([lct(each, now) for each in latents], now)
        time.sleep(1.0)
        return next((m.scores for m in list(self.snarc) if m.header == header), None)

    def wait_for_frame(self, messages, header):
        return self.graph.wait_for(
            lambda: next((m for m in list(messages) if m.header == header), None), 'the frame'
        )

    def query(self, like=None, **fields):
        likes = [] if like is None else [latent_to_msg(like)]
        answer = self.graph.ros.ask(QueryMemory, 'memory/query', like=likes, **fields)
        assert answer.success, answer.message
        return answer.memories

    def figures(self, part='memory'):
        """Return the values of the next diagnostics of the parts whose name contains `part`."""
        count = len(self.graph.diagnostics)  # ignore older diagnostics
        statuses = self.graph.wait_for(
            lambda: [
                status
                for name, status in self.graph.health(count).items()
                if name.startswith('memory: ') and part in name.removeprefix('memory: ')
            ],
            'diagnostics',
        )
        return {pair.key: pair.value for status in statuses for pair in status.values}


@pytest.fixture(scope='module')
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp('keys')
    assert keys_command.main(['create', 'memory', '--dir', str(folder)]) == 0
    return folder


@pytest.fixture(scope='module')
def client(run_graph, keys, tmp_path_factory):
    store = tmp_path_factory.mktemp('memory') / 'memory.db'
    parameters = {'store': str(store), 'recall_rate': 5.0, 'rate': 20.0}
    parameters |= {'key': str(keys), 'keys': str(keys)}
    specs = [
        replace(spec, parameters=parameters)
        for spec in single_camera(memory=True)
        if spec.name == 'memory'
    ]
    return MemoryClient(run_graph(specs))


def test_stores_novel_observations_only(client):
    scores = client.observe(latent(101), latent(102))
    assert [score.stored for score in scores] == [True, True]
    assert [score.track_id for score in scores] == [101, 102]
    assert all(score.snarc.novelty == 1 and score.salience == 1 for score in scores)
    assert not client.observe(latent(101))[0].stored


def test_finds_records_by_similarity_time_entity_and_track(client):
    before = client.now_ns()
    client.observe(latent(103), latent(104))
    [best] = client.query(latent(103, offset=0.01), count=1)
    assert best.similarity == pytest.approx(1, abs=1e-3)
    assert best.entity_id == 'cam0'
    assert list(best.lct.latent.mean) == list(latent(103).mean)
    newest = client.query(since=stamp_to_msg(before), entity_id='cam0', track_id=104)
    assert [m.lct.latent.track_id for m in newest] == [104]
    assert math.isnan(newest[0].similarity)
    assert client.query(until=stamp_to_msg(before), track_id=104) == []
    assert client.query(latent(103), entity_id='cam9') == []


def cosine(mean, seed):
    a, b = (np.asarray(z) - SPACE.mean for z in (mean, latent(seed).mean))
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def test_recalls_signed_lcts_similar_to_the_present(client, keys):
    long_ago = client.now_ns() - 60 * SECOND
    past = lct(latent(111), long_ago, 'cam1')
    assert client.graph.ros.ask(Remember, 'memory/remember', lct=lct_to_msg(past)).success
    now = client.now_ns()
    header = client.publish([lct(latent(111, offset=0.02), now)], now)
    recall = client.wait_for_frame(client.recall, header)
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


def test_scores_reward_and_conflict(client):
    now = client.now_ns()
    one, other = lct(latent(121), now), lct(latent(122), now)
    pair = Agreement(similarity=-0.5)
    pair.lct_a = np.frombuffer(one.id, np.uint8)
    pair.lct_b = np.frombuffer(bytes(15) + b'9', np.uint8)
    header = Header(stamp=stamp_to_msg(now))
    client.agreement.publish(AgreementArray(header=header, agreements=[pair]))
    client.reward.publish(Float32(data=-7.0))
    scores = client.wait_for_frame(client.snarc, client.publish([one, other], now)).scores
    assert [score.snarc.conflict for score in scores] == [1, 0]
    assert all(0.5 < score.snarc.reward <= 1 for score in scores)


def test_counts_rejected_lcts_and_stores_the_valid_one_of_their_frame(client):
    before = client.figures('trusted')
    now = client.now_ns()
    not_finite = lct_to_msg(lct(latent(131), now))
    not_finite.latent.mean[0] = math.nan
    two_encodings = lct_to_msg(lct(latent(132), now))
    two_encodings.latent.payload = [1, 2, 3]
    other_model = lct(latent(133, ModelId('m', '1', bytes(range(32)))), now)
    unsigned = lct(latent(135), now, 'memory')  # an entity with a trusted key
    valid = lct(latent(134), now)
    header = client.publish([not_finite, two_encodings, other_model, unsigned, valid], now)
    scores = client.wait_for_frame(client.snarc, header).scores
    assert [(score.track_id, score.stored) for score in scores] == [(134, True)]
    after = client.figures('trusted')

    def rejected(figures, reason):
        return next((int(v) for key, v in figures.items() if key.endswith(f': {reason}')), 0)

    for reason in (
        RejectionReason.NOT_FINITE,
        RejectionReason.MALFORMED,
        RejectionReason.WRONG_MODEL,
        RejectionReason.UNSIGNED,
    ):
        assert rejected(after, reason.value) == rejected(before, reason.value) + 1


def test_rejects_a_query_by_a_latent_of_another_model(client):
    other = latent(133, ModelId('m', '1', bytes(range(32))))
    answer = client.graph.ros.ask(QueryMemory, 'memory/query', like=[latent_to_msg(other)])
    assert (answer.success, answer.memories) == (False, [])
    assert 'this memory is of' in answer.message
    client.query(latent(101))


@pytest.fixture
def guest(client):
    """Give an entity with one record that was stored on request."""
    known = lct_to_msg(lct(latent(101, offset=1e-3), client.now_ns(), 'guest'))
    assert client.graph.ros.ask(Remember, 'memory/remember', lct=known).success
    return 'guest'


def test_remembers_a_known_lct_on_request_and_forgets_it(client, guest):
    [record] = client.query(entity_id=guest)
    assert record.snarc.reward == 1
    answer = client.graph.ros.ask(Forget, 'memory/forget', entity_id=guest, since=Time(sec=1))
    assert (answer.success, answer.forgotten) == (True, 1)
    assert client.query(entity_id=guest) == []


def test_rejects_a_request_to_forget_everything(client):
    answer = client.graph.ros.ask(Forget, 'memory/forget')
    assert not answer.success
    assert 'set at least one of' in answer.message
    assert client.query() != []


def test_committed_records_survive_sigkill(client):
    def wait_for_commit():
        held = str(len(client.query(count=64)))
        client.graph.wait_for(lambda: client.figures()['records'] == held, 'a commit')

    wait_for_commit()
    assert client.observe(latent(141))[0].stored
    wait_for_commit()
    pid = client.graph.pid('memory')
    os.kill(pid, signal.SIGKILL)
    client.graph.wait_for(
        lambda: client.graph.runner.processes['memory'].pid not in (None, pid), 'a restart'
    )
    client.graph.wait_for(lambda: client.figures()['observed'] == '0', 'the new process')
    [score] = client.graph.wait_for(lambda: client.try_observe(latent(141)), 'discovery')
    assert score.snarc.novelty < 1e-5
    assert not score.stored
