# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""With `encoding: auto`, latents are entropy-coded while another host subscribes, else int8."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
from sage_msgs.msg import LCTArray

from sage_perception.codecs.packing import Encoding
from sage_perception.nodes.encoder_node import EncoderNode
from sage_perception.ros.wire_encoding import encoding_of

FAST_DDS = 'fastrtps' in rclpy.get_rmw_implementation_identifier()
SUBSCRIBE = """
import rclpy
from sage_msgs.msg import LCTArray
rclpy.init()
node = rclpy.create_node('elsewhere')
node.create_subscription(LCTArray, 'lcts', print, 10)
rclpy.spin(node)
"""


@pytest.mark.skipif(not FAST_DDS, reason='hosts are known with Fast DDS only')
def test_encoding_follows_the_hosts_of_the_subscribers(ros, monkeypatch):
    node = ros.make(EncoderNode)
    choice, found = node._encoding, node.get_subscriptions_info_by_topic
    assert choice.current is Encoding.INT8
    process = subprocess.Popen([sys.executable, '-c', SUBSCRIBE])
    try:
        ros.wait_for(lambda: node._lcts.get_subscription_count(), 'a process of this host')
        choice._choose()
        assert choice.current is Encoding.INT8
        (endpoint,) = found('/lcts')
        gid = bytearray(endpoint.endpoint_gid)
        gid[2] ^= 1
        remote = SimpleNamespace(endpoint_gid=list(gid))
        monkeypatch.setattr(node, 'get_subscriptions_info_by_topic', lambda _: [endpoint, remote])
        choice._choose()
        assert choice.current is Encoding.ENTROPY_INT8
        monkeypatch.undo()
        choice._choose()
        assert choice.current is Encoding.INT8
    finally:
        process.kill()
        process.wait()


def test_a_given_encoding_does_not_change(ros):
    node = ros.make(EncoderNode, '-p', 'encoding:=float16')
    assert node._encoding.current is Encoding.FLOAT16
    # Only a node that chooses its encoding checks the hosts of its subscribers.
    choosing = ros.make(EncoderNode, name='choosing')
    assert len(list(choosing.timers)) == len(list(node.timers)) + FAST_DDS


def test_the_encoder_follows_the_choice_from_the_next_frame_on(ros):
    from test_signing_oracle import Publisher, crops

    node = ros.make(EncoderNode)
    node._lcts = node._configured.output._publisher = Publisher()
    for encoding in (Encoding.INT8, Encoding.ENTROPY_INT8, Encoding.INT8):
        node._encoding.current = encoding
        node._receive(crops())
        array = node._lcts.sent[-1]
        assert isinstance(array, LCTArray)
        assert array.crops[0].codes[0].encoding == encoding
        assert np.isfinite(array.telemetry[0].reconstruction_error)
        assert node._report()[2]['encoding'] == encoding.name.lower()


def test_offline_the_subscribers_are_on_this_host():
    assert encoding_of('auto') is Encoding.INT8
    assert encoding_of('entropy_int8') is Encoding.ENTROPY_INT8
