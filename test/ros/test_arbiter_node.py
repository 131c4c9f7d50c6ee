# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What the arbiter does with bytes that are no message, with a flood, and with bad parameters."""

import re

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from diagnostic_msgs.msg import DiagnosticArray
from sage_msgs.msg import LCT, LCTArray, ModelInfo, ProbeSet
from std_msgs.msg import Header

from sage_perception.core.latent import Latent, Telemetry
from sage_perception.core.lct import LCT as Said
from sage_perception.core.lct import Operation, Provenance
from sage_perception.models import load_codec
from sage_perception.nodes.arbiter_node import ArbiterNode
from sage_perception.ros import qos
from sage_perception.ros.conversions.announcements import model_info_to_msg
from sage_perception.ros.conversions.lcts import lct_to_msg
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.errors import ConfigurationError
from sage_perception.trust import TrustStore
from sage_perception.trust.security.admission import PublisherQuota, TokenBucket
from sage_perception.trust.security.keys import public_bytes

GARBAGE = (b'', b'\0\1\0\0', b'\0\1\0\0' + b'\xff' * 200)


@pytest.fixture
def said(ros):
    """Give an arbiter, what speaks on its camera's topic, and what says how that fares."""
    health = ros.collect(DiagnosticArray, '/diagnostics')
    ros.make(ArbiterNode, '-p', 'cameras:=[cam0]')
    publisher = ros.node.create_publisher(LCTArray, 'cam0/lcts', 500)
    ros.wait_for(lambda: publisher.get_subscription_count() == 1, 'the arbiter')

    def figures():
        values = [
            pair
            for array in list(health)[-3:]
            for status in array.status
            if status.name == 'under_test: agreement'
            for pair in status.values
        ]
        return {pair.key: pair.value for pair in values}

    return publisher, figures


def test_bytes_that_are_no_message_are_refused_and_harm_nobody(ros, said):
    publisher, figures = said
    for garbage in GARBAGE:
        publisher.publish(garbage)
    ros.wait_for(lambda: figures().get('cam0 refused: malformed') == '3', 'their refusal')


def test_of_a_flood_most_is_left_unread(ros, said):
    publisher, figures = said
    nonsense = LCTArray(lcts=[LCT()] * 64)
    for _ in range(100):
        publisher.publish(nonsense)
    ros.wait_for(lambda: int(figures().get('cam0 refused: flood', 0)) > 90, 'the flood')
    looked = sum(
        int(number)
        for name, number in figures().items()
        if name.startswith('cam0 refused: ') and 'flood' not in name
    )
    assert TokenBucket.BURST <= looked < 6400 / 4


def test_of_who_has_lost_its_reputation_nothing_is_handed_on(ros, tmp_path):
    key = Ed25519PrivateKey.generate()
    TrustStore(tmp_path).trust('cam0', public_bytes(key))
    arbiter = ros.make(ArbiterNode, '-p', 'cameras:=[cam0]', '-p', f'keys:={tmp_path}')
    trusted = ros.collect(LCTArray, 'trusted')
    publisher = ros.node.create_publisher(LCTArray, 'cam0/lcts', 10)
    ros.wait_for(lambda: ros.node.count_publishers('trusted'), 'the arbiter')
    ros.wait_for(lambda: publisher.get_subscription_count() == 1, 'the arbiter')
    codec = load_codec('tinyvae')

    def speak(trust):
        now = ros.node.get_clock().now().nanoseconds
        latent = Latent(np.float32(codec.latent_mean), model=codec.id, telemetry=Telemetry(0.9))
        step = Provenance(Operation.ENCODE, 'cam0', codec.id, trust=trust)
        lct = lct_to_msg(Said('cam0', now, now, latent, (step,), trust), key=key)
        header = Header(stamp=stamp_to_msg(now), frame_id='lens')
        publisher.publish(LCTArray(header=header, lcts=[lct]))
        array = ros.wait_for(
            lambda: next((m for m in list(trusted) if m.header == header), None), 'an answer'
        )
        return len(array.lcts)

    assert [speak(trust) for trust in (0.9, 7.0, 7.0, 7.0, 0.9)] == [1, 0, 0, 0, 0]
    assert arbiter._arbiter.screen('cam0').accepted == 2
    assert arbiter._arbiter.withheld('cam0') == 1


@pytest.mark.parametrize(
    ('kind', 'name'), [(ModelInfo, 'model_info'), (ProbeSet, 'probe_latents')]
)
def test_of_a_flood_of_statements_a_few_are_looked_at_and_another_is_heard(ros, kind, name):
    health = ros.collect(DiagnosticArray, '/diagnostics')
    arbiter = ros.make(ArbiterNode, '-p', 'cameras:=[cam0]')
    looked = []
    meet = arbiter._arbiter.meet if kind is ModelInfo else arbiter._arbiter.present

    def note(camera, said):
        looked.append(said)
        return meet(camera, said)

    setattr(arbiter._arbiter, meet.__name__, note)
    hostile = ros.node.create_publisher(kind, f'cam0/{name}', qos.LATCHED_SHARED)
    ros.wait_for(lambda: hostile.get_subscription_count() == 1, 'the arbiter')
    fields = {'latent_dim': 1, 'latent_mean': [0.0], 'latent_std': [1.0]}
    nonsense = ModelInfo(**fields) if kind is ModelInfo else ProbeSet(dim=1, latents=[0.0])

    def refused():
        parts = [s for array in list(health)[-3:] for s in array.status]
        values = [s.values for s in parts if s.name == f'under_test: input cam0/{name}']
        return int({v.key: v.value for v in values[-1]}['rejected']) if values else 0

    for number in range(10):
        for _ in range(10):
            hostile.publish(nonsense)
        ros.wait_for(lambda n=number: refused() > 5 * n, 'the refusals')
    assert len(looked) < PublisherQuota.BURST + 3
    if kind is ModelInfo:
        honest = ros.node.create_publisher(kind, f'cam0/{name}', qos.LATCHED)
        honest.publish(model_info_to_msg(load_codec('tinyvae'), stamp_to_msg(1), 'cam0', 1))
        ros.wait_for(lambda: arbiter._arbiter.announced('cam0'), 'the honest one')


@pytest.mark.parametrize(
    ('parameter', 'value', 'why'),
    [
        ('model', 'nobody', "'nobody' is neither a model of this package"),
        (
            'camera_entities',
            'cam9=x',
            "'cam9=x' is not camera=value, where camera is one of cam0, cam1",
        ),
        ('camera_entities', 'cam1', "'cam1' is not camera=value"),
        ('camera_geometry', 'cam1=/nowhere.yaml', '/nowhere.yaml is no relation of two cameras'),
    ],
)
def test_what_cannot_be_is_explained_on_one_line(ros, parameter, value, why):
    with pytest.raises(ConfigurationError, match=re.escape(why)) as refused:
        ros.make(ArbiterNode, '-p', f'{parameter}:={value}')
    assert str(refused.value).startswith(f"parameter '{parameter}': ")
    assert '\n' not in str(refused.value)
