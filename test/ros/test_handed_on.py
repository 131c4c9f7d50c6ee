# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What an arbiter hands on, in whose name, and with which header."""

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sage_msgs.msg import LCTArray
from std_msgs.msg import Header

from sage_perception.core.latent import Latent
from sage_perception.core.lct import LCT, Operation, Provenance
from sage_perception.models import artifact
from sage_perception.models.registry import resolve
from sage_perception.nodes.arbiter_node import ArbiterNode
from sage_perception.ros.conversions.lcts import lct_to_msg
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.trust import TrustStore
from sage_perception.trust.security.keys import public_bytes, save_key

KEY, OWN = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
MODEL = artifact.read(resolve('tinyvae')).id


def an_lct(stamp_ns, sequence=1, entity='cam0', key=None):
    latent = Latent(np.zeros(64, np.float32), model=MODEL)
    step = Provenance(Operation.ENCODE, entity, MODEL)
    return lct_to_msg(LCT(entity, sequence, stamp_ns, latent, (step,), 1.0), key=key)


@pytest.fixture
def hears(ros, tmp_path):
    """Give what makes an arbiter with a key that need not be trusted here, and speaks to it."""
    save_key(tmp_path / 'own', 'under_test', OWN)
    TrustStore(tmp_path / 'keys').trust('cam0', public_bytes(KEY))

    def make(*arguments):
        places = ('-p', f'keys:={tmp_path / "keys"}', '-p', f'key:={tmp_path / "own"}')
        node = ros.make(ArbiterNode, '-p', 'cameras:=[cam0]', *places, *arguments)
        speak = ros.node.create_publisher(LCTArray, 'cam0/lcts', 10)
        ros.wait_for(speak.get_subscription_count, 'the arbiter')
        trusted = ros.collect(LCTArray, 'trusted')
        ros.wait_for(lambda: ros.node.count_publishers('trusted'), 'its topic')
        ros.wait_for(node._trusted.get_subscription_count, 'that it knows us')
        return speak, trusted, node.get_clock().now().nanoseconds

    return make


def header_at(stamp_ns):
    return Header(stamp=stamp_to_msg(stamp_ns), frame_id='lens')


def test_what_nobody_signed_is_not_handed_on_nor_the_header_around_what_is(ros, hears):
    speak, trusted, now = hears('-p', 'require_signatures:=true')
    speak.publish(LCTArray(header=header_at(now + 10**12), source_width=640, source_height=480))
    both = [an_lct(now + 1, 1, key=KEY), an_lct(now, 2, key=KEY)]
    speak.publish(LCTArray(header=header_at(now + 10**12), source_width=9, lcts=both))
    ros.wait_for(lambda: len(trusted) >= 2, 'what is trusted')
    assert [array.header for array in trusted] == [header_at(now), header_at(now + 1)]
    assert [[lct.sequence for lct in array.lcts] for array in trusted] == [[2], [1]]
    assert {(array.camera, array.source_width) for array in trusted} == {('cam0', 9)}


def test_where_nobody_need_sign_an_array_of_nothing_is_handed_on_with_its_camera(ros, hears):
    speak, trusted, now = hears('-p', 'camera_entities:=cam0=robot2/eye')
    speak.publish(LCTArray(header=header_at(now)))
    ros.wait_for(lambda: trusted, 'the array')
    assert (trusted[0].header, trusted[0].camera) == (header_at(now), 'robot2/eye')


def test_what_is_said_in_its_own_name_is_not_signed_by_it(ros, hears):
    speak, trusted, now = hears()
    forged, honest = an_lct(now, entity='under_test'), an_lct(now, key=KEY)
    speak.publish(LCTArray(header=header_at(now), lcts=[forged, honest]))
    ros.wait_for(lambda: trusted, 'what is trusted')
    (lct,) = trusted[0].lcts
    assert (lct.entity_id, lct.signature) == ('cam0', honest.signature)
