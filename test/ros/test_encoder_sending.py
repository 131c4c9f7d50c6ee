# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""What the encoder node sends: lean messages, changes only, and within a byte rate."""

import numpy as np
import pytest
from crop_arrays import crop_array
from diagnostic_msgs.msg import DiagnosticArray
from sage_msgs.msg import CropArray, LCTArray

from sage_perception.nodes.encoder_node import EncoderNode
from sage_perception.vision.synthetic import SyntheticWorld

IMAGE = np.ascontiguousarray(SyntheticWorld(seed=1).render(0.0, 0)[80:144, 100:164, ::-1])
OTHER = np.ascontiguousarray(IMAGE[::-1, ::-1])


@pytest.fixture
def encoder(ros):
    """Return a function that starts an encoder; it returns a sender of crops and the LCTs."""

    def start(*parameters):
        lcts = ros.collect(LCTArray, 'lcts')
        crops = ros.node.create_publisher(CropArray, 'crops', 10)
        ros.make(EncoderNode, *parameters, name='under_test')
        ros.wait_for(crops.get_subscription_count, 'a subscriber')
        ros.wait_for(lambda: ros.node.count_publishers('lcts'), 'the publisher')

        def send(number, images):
            crops.publish(crop_array(number, images))

        return send, lcts

    return start


def test_telemetry_and_variance_are_optional(ros, encoder):
    send, lcts = encoder('-p', 'telemetry:=false')
    send(0, [IMAGE])
    ros.wait_for(lambda: lcts, 'the LCTs')
    [lct] = lcts[0].lcts
    assert (len(lct.latent.telemetry), len(lct.latent.log_var)) == (0, 0)
    assert lct.trust > 0


def test_only_changes_are_sent(ros, encoder):
    send, lcts = encoder('-p', 'send_on_change:=0.1')
    health = ros.collect(DiagnosticArray, '/diagnostics')
    # One at a time: the encoder keeps the newest frame only.
    for number, images in enumerate(([IMAGE, IMAGE], [IMAGE, OTHER], [])):
        send(number, images)
        ros.wait_for(lambda n=number: len(lcts) == n + 1, 'the array')
    assert [[lct.latent.track_id for lct in array.lcts] for array in lcts] == [[1, 2], [2], []]

    def figures():
        found = [s for array in health for s in array.status if s.name.endswith(': model')]
        return {pair.key: pair.value for pair in found[-1].values} if found else {}

    ros.wait_for(lambda: figures().get('latents_unchanged') == '1', 'the count')
    assert float(figures()['message_bytes_per_s']) > 0


def test_byte_rate_keeps_the_most_salient(ros, encoder):
    send, lcts = encoder('-p', 'max_bytes_per_s:=400', '-p', 'encoding:=int8')
    send(0, [IMAGE] * 8)
    ros.wait_for(lambda: lcts, 'the LCTs')
    assert [lct.latent.track_id for lct in lcts[0].lcts] == [1, 2]
