# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The memory node: a failing store, damaged rows, wrong parameters, and LCTs it must reject."""

import contextlib
import sqlite3
import threading
from functools import partial

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import ParameterEvent
from sage_msgs.msg import LCTArray, SnarcArray
from sage_msgs.srv import QueryMemory
from std_msgs.msg import Header

from sage_perception.cli import keys as keys_command
from sage_perception.codecs.directions import pack_direction
from sage_perception.core.latent import Code, Latent, LatentKind, ModelId
from sage_perception.core.lct import LCT
from sage_perception.memory import MemoryRecord, Snarc, Space, StoreError, open_store
from sage_perception.memory.session import SessionConfig
from sage_perception.memory.sqlite import SqliteStore
from sage_perception.memory.thing_table import Event, TrackRow
from sage_perception.models import ModelError
from sage_perception.nodes import memory_node
from sage_perception.nodes.memory_node import MemoryNode
from sage_perception.ros import memory_services
from sage_perception.ros.background import MAX_CALLS
from sage_perception.ros.conversions.lcts import lct_to_msg
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.message_form import sign_relay
from sage_perception.trust.security.identity import Identity
from sage_perception.trust.security.keys import load_key

SPACE = Space.of('tinyvae')


def new_lct(number, entity='cam0', stamp_ns=10**18):
    """Return an LCT whose track and sequence are `number`."""
    mean = SPACE.mean + np.random.default_rng(number).standard_normal(64)
    latent = Latent(mean.astype(np.float32), model=SPACE.model, track_id=number)
    return LCT.encoded(latent, entity_id=entity, sequence=number, stamp_ns=stamp_ns, trust=1.0)


def overwrite(path, row_id, column, value):
    """Set a column of a row in an SQLite memory to any value."""
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(f'UPDATE sage_memory SET {column} = ? WHERE id = ?', (value, row_id))


class Diagnostics:
    """What the node publishes on /diagnostics."""

    def __init__(self, ros):
        self._ros = ros
        self._arrays = ros.collect(DiagnosticArray, '/diagnostics')

    def part(self, name):
        """Return the newest status of a part, or None."""
        statuses = [s for array in list(self._arrays) for s in array.status]
        return next((s for s in reversed(statuses) if s.name.endswith(f': {name}')), None)

    def wait_for_level(self, level, name='memory'):
        def status():
            part = self.part(name)
            return part if part is not None and part.level == level else None

        return self._ros.wait_for(status, f'{name} at level {level}')

    def value(self, key):
        """Return the newest value whose key ends with `key`, or ''."""
        pairs = [p for array in list(self._arrays) for s in array.status for p in s.values]
        return next((p.value for p in reversed(pairs) if p.key.endswith(key)), '')


def test_runs_without_its_store_and_reopens_it(ros, tmp_path, monkeypatch):
    commit = SqliteStore.commit

    def full_disk(store):
        raise StoreError(f'{store}: database or disk is full')

    monkeypatch.setattr(memory_node, 'SessionConfig', partial(SessionConfig, reopen_period_s=0.1))
    ros.make(MemoryNode, '-p', f'store:={tmp_path / "memory.db"}')
    diagnostics = Diagnostics(ros)
    diagnostics.wait_for_level(DiagnosticStatus.OK)
    monkeypatch.setattr(SqliteStore, 'commit', full_disk)
    failed = diagnostics.wait_for_level(DiagnosticStatus.ERROR)
    assert failed.message.startswith('store not available: ')
    assert 'memory.db: database or disk is full' in failed.message
    monkeypatch.setattr(SqliteStore, 'commit', commit)
    diagnostics.wait_for_level(DiagnosticStatus.OK)
    assert ros.ask(QueryMemory, 'under_test/query').success


def test_answers_a_query_from_the_valid_rows_of_a_damaged_file(ros, tmp_path):
    path = tmp_path / 'memory.db'
    with open_store(path, SPACE) as store:
        store.add([MemoryRecord(new_lct(n), Snarc(novelty=0.5)) for n in range(1, 7)])
        store.commit()
    overwrite(path, 1, 'stamp', 'noon')
    overwrite(path, 2, 'detail', '{}')
    overwrite(path, 3, 'entity', b'\xff')
    overwrite(path, 4, 'lct', 10**12)
    ros.make(MemoryNode, '-p', f'store:={path}')
    answer = ros.ask(QueryMemory, 'under_test/query')
    assert answer.success
    assert sorted(m.lct.latent.track_id for m in answer.memories) == [5, 6]
    diagnostics = Diagnostics(ros)
    diagnostics.wait_for_level(DiagnosticStatus.OK)
    assert diagnostics.value('unreadable') == '4'


class TwoNouns:
    """Encodes two nouns."""

    id = ModelId('words', '1', b'w' * 32)
    semantic_space = id.fingerprint

    def text(self, texts):
        nouns = {'a dog': np.eye(4)[0], 'a car': np.eye(4)[1]}
        return np.float32([nouns[text] for text in texts])


def test_answers_a_query_by_words_with_things_and_evidence(ros, tmp_path, monkeypatch):
    monkeypatch.setattr(memory_services, 'load_semantic', TwoNouns)
    path = tmp_path / 'memory.db'
    with open_store(path, SPACE) as store:
        for number, noun in enumerate(('a dog', 'a car'), 1):
            payload = pack_direction(TwoNouns().text([noun])[0])
            code = Code(LatentKind.SEMANTIC, TwoNouns.id, 2, payload)
            store.add([MemoryRecord(new_lct(number), Snarc(novelty=0.5), (code,))])
        row = TrackRow('cam0', 2, 10**18, 10**18, 5)
        store.save_things([row], [Event(10**18, 'merge', 5, 6, 7.0, 'cameras agree')])
        store.commit()
    ros.make(MemoryNode, '-p', f'store:={path}')
    answer = ros.ask(QueryMemory, 'under_test/query', text='a car')
    assert answer.success, answer.message
    assert [m.lct.latent.track_id for m in answer.memories] == [2, 1]
    first = answer.memories[0]
    assert (first.basis, first.thing) == (first.BASIS_CODE, 5)
    assert first.similarity == pytest.approx(1, abs=1e-3)
    assert 'cameras agree' in first.evidence
    of_thing = ros.ask(QueryMemory, 'under_test/query', thing=5)
    assert [m.lct.latent.track_id for m in of_thing.memories] == [2]


def test_the_node_works_while_a_search_by_words_loads_its_models(ros, tmp_path, monkeypatch):
    loaded = threading.Event()

    def load():
        assert loaded.wait(60)
        raise ModelError('no sentence encoder: install one')

    monkeypatch.setattr(memory_services, 'load_semantic', load)
    arbiter = Arbiter(ros, tmp_path)
    client = ros.node.create_client(QueryMemory, 'under_test/query')
    ros.wait_for(client.service_is_ready, 'the service')
    searches = [client.call_async(QueryMemory.Request(text='a car')) for _ in range(MAX_CALLS + 1)]
    ros.wait_for(lambda: any(each.done() for each in searches), 'the refusal of one')
    arbiter.publish(arbiter.lct('cam0'))
    ros.wait_for(lambda: arbiter.tracks() == [('cam0', 1)], 'the LCT')
    assert ros.ask(QueryMemory, 'under_test/query').success, 'a search without words'
    assert sum(each.done() for each in searches) == 1
    loaded.set()
    ros.wait_for(lambda: all(each.done() for each in searches), 'the answers')
    assert sorted(each.result().message for each in searches) == [
        f'{MAX_CALLS} requests are waiting: repeat it later',
        *['no sentence encoder: install one'] * MAX_CALLS,
    ]
    assert not arbiter.node.callback_guard.errors
    ros.destroy(client)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('-p', 'store:={folder}'), r"parameter 'store': .* Is a directory"),
        (('-p', 'store:=mysql://me@host/db'), r"parameter 'store': .* use postgresql://"),
        (('-p', 'model:=nothing'), r"parameter 'model': .*'nothing'"),
        (('-p', 'threshold:=1.5'), r"parameter 'threshold': 1\.5"),
        (('-p', 'store:={folder}/m.db', '-p', 'key:={folder}/no.key'), r"parameter 'key':"),
    ],
)
def test_names_the_parameter_that_prevents_the_start(ros, tmp_path, arguments, message):
    given = [argument.format(folder=tmp_path) for argument in arguments]
    with pytest.raises(ConfigurationError, match=message):
        ros.make(MemoryNode, *given)


def test_no_password_reaches_the_parameters(ros, tmp_path):
    events = ros.collect(ParameterEvent, '/parameter_events')
    with pytest.raises(ConfigurationError, match=r"parameter 'store': the URL contains") as error:
        ros.make(MemoryNode, '-p', 'store:=postgresql://robot:secret@127.0.0.1:9/fleet')
    assert 'secret' not in str(error.value)
    ros.make(MemoryNode, '-p', f'store:={tmp_path / "memory.db"}')
    ros.wait_for(lambda: list(events), 'events of the second node')
    assert 'secret' not in str(list(events))


class Arbiter:
    """Publishes trusted LCTs to a memory node, and collects the tracks that it scores."""

    def __init__(self, ros, tmp_path, *arguments):
        self.number = 0
        self.identity = Identity('arbiter')
        self.node = ros.make(MemoryNode, '-p', f'store:={tmp_path / "memory.db"}', *arguments)
        self.publisher = ros.node.create_publisher(LCTArray, 'trusted', 10)
        self.scored = ros.collect(SnarcArray, 'snarc')
        ros.wait_for(self.publisher.get_subscription_count, 'subscription of the node')
        # Discovery in the other direction.
        ros.wait_for(lambda: ros.node.count_publishers('snarc'), 'publisher of the node')

    def lct(self, entity, stamp_ns=None, key=None):
        self.number += 1
        stamp_ns = stamp_ns or self.node.get_clock().now().nanoseconds
        return lct_to_msg(new_lct(self.number, entity, stamp_ns), key=key)

    def publish(self, *lcts, camera=''):
        header = Header(stamp=stamp_to_msg(9), frame_id='camera')
        array = LCTArray(header=header, lcts=lcts, camera=camera)
        self.publisher.publish(sign_relay(array, self.identity, '/trusted'))

    def tracks(self):
        """Return the cameras and tracks that were scored, in order."""
        return [(a.camera, score.track_id) for a in list(self.scored) for score in a.scores]


def test_assigns_frames_to_cameras_by_entity_and_not_by_frame_id(ros, tmp_path):
    arbiter = Arbiter(ros, tmp_path)
    lcts = [arbiter.lct(camera) for camera in ('cam0', 'cam1')]
    for lct in lcts:
        arbiter.publish(lct)
    ros.wait_for(lambda: len(arbiter.scored) == 2, 'both cameras')
    assert set(arbiter.tracks()) == {('cam0', 1), ('cam1', 2)}
    assert all(array.header.stamp in [lct.stamp for lct in lcts] for array in arbiter.scored)


@pytest.fixture
def signing(ros, tmp_path):
    """Give an arbiter for a node that requires signatures, and the key of cam0."""
    folder = tmp_path / 'keys'
    assert keys_command.main(['create', 'cam0', 'arbiter', '--dir', str(folder)]) == 0
    arbiter = Arbiter(ros, tmp_path, '-p', f'keys:={folder}', '-p', 'require_signatures:=true')
    arbiter.identity.key = load_key(folder, 'arbiter')
    return arbiter, load_key(folder, 'cam0')


def test_scores_the_newest_valid_frame_of_a_camera(ros, signing):
    arbiter, key = signing
    arbiter.publish(arbiter.lct('cam0', key=key))
    arbiter.publish(arbiter.lct('cam0'))  # unsigned, so the node verifies the older one
    ros.wait_for(lambda: arbiter.tracks() == [('cam0', 1)], 'the signed LCT')
    arbiter.publish(camera='cam0')
    arbiter.publish(arbiter.lct('cam0', key=key))
    ros.wait_for(lambda: arbiter.tracks()[1:] == [('cam0', 3)], 'the next signed LCT')


def test_rejects_replayed_and_old_lcts(ros, signing):
    arbiter, key = signing
    diagnostics = Diagnostics(ros)
    old, first = arbiter.lct('cam0', 10**9, key), arbiter.lct('cam0', key=key)
    arbiter.publish(first)
    ros.wait_for(lambda: arbiter.tracks() == [('cam0', 2)], 'the first LCT')
    for rejected in (first, old):
        arbiter.publish(rejected)

    ros.wait_for(lambda: diagnostics.value('outdated sequence') == '2', 'two rejections')
    arbiter.publish(arbiter.lct('cam0', key=key))
    ros.wait_for(lambda: arbiter.tracks()[1:] == [('cam0', 3)], 'an honest LCT afterwards')


def test_rejects_lcts_that_are_copied_from_the_topic_of_a_camera(ros, signing):
    arbiter, key = signing
    diagnostics = Diagnostics(ros)
    copied = LCTArray(lcts=[arbiter.lct('cam0', key=key)])
    arbiter.publisher.publish(copied)
    ros.wait_for(lambda: diagnostics.value('not signed by the arbiter') == '1', 'the rejection')
    assert arbiter.tracks() == []
