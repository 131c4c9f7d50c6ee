# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The messages that the arbiter node forwards: signed content only, under the camera's entity."""

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sage_msgs.msg import LCTArray
from std_msgs.msg import Header

from sage_perception.core.latent import Latent
from sage_perception.core.lct import LCT
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
    lct = LCT.encoded(latent, entity_id=entity, sequence=sequence, stamp_ns=stamp_ns, trust=1.0)
    return lct_to_msg(lct, key=key)


@pytest.fixture
def start(ros, tmp_path):
    """Return a function that starts an arbiter whose own key is not trusted by itself.

    It returns a publisher of LCTs, the arrays on `trusted`, and the time.
    """
    save_key(tmp_path / 'own', 'under_test', OWN)
    TrustStore(tmp_path / 'keys').trust('cam0', public_bytes(KEY))

    def run(*arguments):
        keys = ('-p', f'keys:={tmp_path / "keys"}', '-p', f'key:={tmp_path / "own"}')
        node = ros.make(ArbiterNode, '-p', 'cameras:=[cam0]', *keys, *arguments)
        publisher = ros.node.create_publisher(LCTArray, 'cam0/lcts', 10)
        ros.wait_for(publisher.get_subscription_count, 'the arbiter')
        trusted = ros.collect(LCTArray, 'trusted')
        ros.wait_for(lambda: node.count_subscribers('trusted'), 'the subscription')
        ros.wait_for(lambda: ros.node.count_publishers('trusted'), 'the publisher')
        return publisher, trusted, node.get_clock().now().nanoseconds

    return run


def header_at(stamp_ns):
    return Header(stamp=stamp_to_msg(stamp_ns), frame_id='lens')


def test_arrays_are_forwarded_by_signed_stamp_and_empty_ones_are_not(ros, start):
    publisher, trusted, now = start('-p', 'require_signatures:=true')
    forged = header_at(now + 10**12)
    publisher.publish(LCTArray(header=forged, source_width=640, source_height=480))
    both = [an_lct(now + 1, 1, key=KEY), an_lct(now, 2, key=KEY)]
    publisher.publish(LCTArray(header=forged, source_width=9, lcts=both))
    ros.wait_for(lambda: len(trusted) >= 2, 'both frames')
    assert [array.header for array in trusted] == [header_at(now), header_at(now + 1)]
    assert [[lct.sequence for lct in array.lcts] for array in trusted] == [[2], [1]]
    assert {(array.camera, array.source_width) for array in trusted} == {('cam0', 9)}


def test_without_signatures_empty_arrays_are_forwarded(ros, start):
    publisher, trusted, now = start('-p', 'camera_entities:=cam0=robot2/eye')
    publisher.publish(LCTArray(header=header_at(now)))
    ros.wait_for(lambda: trusted, 'the array')
    assert (trusted[0].header, trusted[0].camera) == (header_at(now), 'robot2/eye')


def test_lct_in_the_name_of_the_arbiter_is_not_forwarded(ros, start):
    publisher, trusted, now = start()
    forged, honest = an_lct(now, entity='under_test'), an_lct(now, key=KEY)
    publisher.publish(LCTArray(header=header_at(now), lcts=[forged, honest]))
    ros.wait_for(lambda: trusted, 'the array')
    (lct,) = trusted[0].lcts
    assert (lct.entity_id, lct.signature) == ('cam0', honest.signature)
