# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The arbiter node: garbage, floods, withheld LCTs and invalid parameters."""

import re
import threading
import time

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.serialization import serialize_message
from sage_msgs.msg import LCT as LCTMessage
from sage_msgs.msg import LCTArray, ModelInfo, ProbeSet
from sage_msgs.srv import Align
from std_msgs.msg import Header

from sage_perception.codecs.packing import Encoding, Packer
from sage_perception.core.latent import Latent, Telemetry
from sage_perception.core.lct import LCT
from sage_perception.models import load_codec
from sage_perception.nodes.arbiter_node import ArbiterNode
from sage_perception.ros import qos
from sage_perception.ros.background import MAX_CALLS
from sage_perception.ros.conversions.announcements import model_info_to_msg
from sage_perception.ros.conversions.lcts import lct_to_msg
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.errors import ConfigurationError
from sage_perception.trust import TrustStore
from sage_perception.trust.security.keys import public_bytes
from sage_perception.trust.security.rate_limit import PublisherQuota, TokenBucket
from sage_perception.trust.security.rejection import RejectionReason

GARBAGE = (b'', b'\0\1\0\0', b'\0\1\0\0' + b'\xff' * 200)
MALFORMED = f'cam0 rejected: {RejectionReason.MALFORMED.value}'
RATE_LIMITED = f'cam0 rejected: {RejectionReason.RATE_LIMITED.value}'


class Health:
    """The newest diagnostics of the node."""

    def __init__(self, ros):
        self._arrays = ros.collect(DiagnosticArray, '/diagnostics')

    def status(self, part):
        statuses = [s for array in list(self._arrays)[-3:] for s in array.status]
        return next((s for s in reversed(statuses) if s.name == f'under_test: {part}'), None)

    def values(self, part='agreement'):
        status = self.status(part)
        return {pair.key: pair.value for pair in status.values} if status else {}


@pytest.fixture
def health(ros):
    return Health(ros)


@pytest.fixture(scope='module')
def codec():
    return load_codec('tinyvae')


@pytest.fixture
def publisher(ros):
    """Return a publisher of LCTs that the arbiter has discovered."""
    ros.make(ArbiterNode, '-p', 'cameras:=[cam0]')
    publisher = ros.node.create_publisher(LCTArray, 'cam0/lcts', 500)
    ros.wait_for(lambda: publisher.get_subscription_count() == 1, 'the arbiter')
    return publisher


def an_array(codec, now, trust=0.9, key=None, packing=()):
    """Return an array with one LCT of cam0; `packing` are the encoding and the packer."""
    latent = Latent(np.float32(codec.latent_mean), model=codec.id, telemetry=Telemetry(0.9))
    lct = LCT.encoded(latent, entity_id='cam0', sequence=now, stamp_ns=now, trust=trust)
    header = Header(stamp=stamp_to_msg(now), frame_id='lens')
    return LCTArray(header=header, lcts=[lct_to_msg(lct, *packing, key=key)])


def test_garbage_is_rejected_and_an_honest_lct_accepted_afterwards(ros, health, publisher, codec):
    for garbage in GARBAGE:
        publisher.publish(garbage)
    ros.wait_for(lambda: health.values().get(MALFORMED) == '3', 'their rejection')
    publisher.publish(an_array(codec, ros.node.get_clock().now().nanoseconds))
    ros.wait_for(lambda: health.values()['cam0 accepted'] == '1', 'the honest LCT')


def test_packed_latents_of_its_own_model_need_no_announcement(ros, health, publisher, codec):
    now = ros.node.get_clock().now().nanoseconds
    publisher.publish(an_array(codec, now, packing=(Encoding.INT8, Packer.of(codec))))
    ros.wait_for(lambda: health.values().get('cam0 accepted') == '1', 'the LCT')


def test_flood_is_read_at_a_bounded_rate(ros, health, publisher):
    invalid = LCTArray(lcts=[LCTMessage()] * 64)
    data = serialize_message(invalid)  # once: the node shares the interpreter with this thread
    begun_s = time.monotonic()

    def is_limited():
        for _ in range(10):  # the queue of a busy node drops messages
            publisher.publish(data)
        return int(health.values().get(RATE_LIMITED, 0)) > 90

    ros.wait_for(is_limited, 'the rate limit')
    read = sum(
        int(count)
        for name, count in health.values().items()
        if name.startswith('cam0 rejected: ') and name != RATE_LIMITED
    )
    # A slow machine reads more of the flood, because it takes longer. Each token admits an array.
    arrays = 1 + TokenBucket.RATE * (time.monotonic() - begun_s)
    assert TokenBucket.BURST <= read < TokenBucket.BURST + len(invalid.lcts) * arrays


def test_lcts_of_a_suspect_camera_are_withheld(ros, health, tmp_path, codec):
    key = Ed25519PrivateKey.generate()
    TrustStore(tmp_path).trust('cam0', public_bytes(key))
    ros.make(ArbiterNode, '-p', 'cameras:=[cam0]', '-p', f'keys:={tmp_path}')
    trusted = ros.collect(LCTArray, 'trusted')
    publisher = ros.node.create_publisher(LCTArray, 'cam0/lcts', 10)
    ros.wait_for(lambda: ros.node.count_publishers('trusted'), 'the arbiter')
    ros.wait_for(lambda: publisher.get_subscription_count() == 1, 'the arbiter')

    def forwarded(trust):
        """Publish an LCT; return the number of LCTs that are forwarded."""
        array = an_array(codec, ros.node.get_clock().now().nanoseconds, trust, key)
        publisher.publish(array)
        found = ros.wait_for(
            lambda: next((m for m in list(trusted) if m.header == array.header), None),
            'the forwarded array',
        )
        return len(found.lcts)

    assert [forwarded(trust) for trust in (0.9, 7.0, 7.0, 7.0, 0.9)] == [1, 0, 0, 0, 0]
    ros.wait_for(lambda: health.values().get('cam0 accepted') == '2', 'both accepted LCTs')
    assert health.values()['cam0 withheld'] == '1'


def flood(ros, health, kind, name):
    """Flood a latched topic with invalid messages; return the monitor's values afterwards."""
    part = f'input cam0/{name}'
    hostile = ros.node.create_publisher(kind, f'cam0/{name}', qos.LATCHED_SHARED)
    ros.wait_for(lambda: hostile.get_subscription_count() == 1, 'the arbiter')
    fields = {'latent_dim': 1, 'latent_mean': [0.0], 'latent_std': [1.0]}
    invalid = ModelInfo(**fields) if kind is ModelInfo else ProbeSet(dim=1, latents=[0.0])
    for number in range(10):
        for _ in range(10):
            hostile.publish(invalid)
        ros.wait_for(
            lambda n=number: int(health.values(part).get('rejected', 0)) > 5 * n, 'rejections'
        )
    return health.values(part)


@pytest.mark.parametrize(
    ('kind', 'name'), [(ModelInfo, 'model_info'), (ProbeSet, 'probe_latents')]
)
def test_flood_of_announcements_is_mostly_not_read(ros, health, kind, name):
    ros.make(ArbiterNode, '-p', 'cameras:=[cam0]')
    values = flood(ros, health, kind, name)
    assert int(values['received']) < PublisherQuota.BURST + 3


def test_honest_announcement_is_read_during_a_flood(ros, health, codec, publisher_ids):
    ros.make(ArbiterNode, '-p', 'cameras:=[cam0]')
    flood(ros, health, ModelInfo, 'model_info')
    assert 'cam0 has not announced its model' in health.status('agreement').message
    honest = ros.node.create_publisher(ModelInfo, 'cam0/model_info', qos.LATCHED)
    honest.publish(model_info_to_msg(codec, stamp_to_msg(1), 'cam0'))
    ros.wait_for(
        lambda: 'cam0 has not announced' not in health.status('agreement').message,
        'the honest announcement',
    )


@pytest.mark.parametrize(
    ('parameter', 'value', 'text'),
    [
        ('model', 'unknown', "'unknown' is neither a model of this package"),
        (
            'camera_entities',
            'cam9=x',
            "'cam9=x' is not camera=value, where camera is one of cam0, cam1",
        ),
        ('camera_entities', 'cam1', "'cam1' is not camera=value"),
        ('camera_geometry', 'cam1=/missing.yaml', '/missing.yaml'),
    ],
)
def test_invalid_parameter_is_explained_in_one_line(ros, parameter, value, text):
    with pytest.raises(ConfigurationError, match=re.escape(text)) as error:
        ros.make(ArbiterNode, '-p', f'{parameter}:={value}')
    assert str(error.value).startswith(f"parameter '{parameter}': ")
    assert '\n' not in str(error.value)


def test_requests_to_align_do_not_pile_up(ros):
    node = ros.make(ArbiterNode, '-p', 'cameras:=[cam0]')
    client = ros.node.create_client(Align, '/under_test/align')
    ros.wait_for(client.service_is_ready, 'the service')
    free = threading.Event()
    node._models._worker.submit(lambda: free.wait(60))
    sent = [client.call_async(Align.Request(entity_a='x')) for _ in range(MAX_CALLS + 3)]
    ros.wait_for(lambda: sum(each.done() for each in sent) == 3, 'the refusal of the last ones')
    refused = {each.result().message for each in sent if each.done()}
    assert refused == {f'{MAX_CALLS} requests are waiting: repeat it later'}
    free.set()
    ros.wait_for(lambda: all(each.done() for each in sent), 'the answers to the others')
    later = ros.ask(Align, '/under_test/align', entity_a='x')
    assert 'waiting' not in later.message


def test_a_cancelled_alignment_does_not_count_as_waiting(ros):
    models = ros.make(ArbiterNode, '-p', 'cameras:=[cam0]')._models
    free = threading.Event()
    models._worker.submit(lambda: free.wait(60))
    for _ in range(MAX_CALLS):
        answer = models._serve_align(Align.Request(entity_a='x'), Align.Response())
        answer.send(None)  # up to the wait for the worker
        answer.close()
    free.set()
    assert 'waiting' not in ros.ask(Align, '/under_test/align', entity_a='x').message
