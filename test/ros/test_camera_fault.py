# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The fault of a camera reduces the trust of its LCTs and appears in diagnostics."""

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from sage_msgs.msg import Crop, CropArray, LCTArray
from sensor_msgs.msg import Image, RegionOfInterest
from std_msgs.msg import Header

from sage_perception.nodes.attention_node import AttentionNode
from sage_perception.nodes.encoder_node import EncoderNode
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.images import image_to_msg
from sage_perception.vision.camera_health import TRUST, Fault
from sage_perception.vision.synthetic import SyntheticWorld

WORLD = SyntheticWorld(seed=1, width=320, height=240)


def test_attention_reports_a_frozen_camera_and_its_recovery(ros):
    arrays = ros.collect(CropArray, 'crops')
    health = ros.collect(DiagnosticArray, '/diagnostics')
    frames = ros.node.create_publisher(Image, 'image_raw', 1)
    ros.make(AttentionNode)
    ros.wait_for(frames.get_subscription_count, 'a subscriber')

    def deliver(number, frozen=False):
        now = ros.node.get_clock().now().to_msg()
        image = WORLD.render(0.0 if frozen else number / 30, 0 if frozen else number)
        count = len(arrays)
        frames.publish(image_to_msg(image, 'bgr8', Header(stamp=now)))
        ros.wait_for(lambda: len(arrays) > count, 'the crops of a frame')
        return Fault(arrays[-1].fault)

    def status():
        statuses = [s for array in health for s in array.status if s.name.endswith('attention')]
        return statuses and (
            statuses[-1].level,
            {v.key: v.value for v in statuses[-1].values},
        )

    assert [deliver(n) for n in range(3)][-1] is Fault.NONE
    assert [deliver(n, frozen=True) for n in range(5)][-1] is Fault.FROZEN
    ros.wait_for(lambda: status() and status()[1]['camera_fault'] == 'frozen', 'a warning')
    assert status()[0] == DiagnosticStatus.WARN
    assert [deliver(n) for n in range(100, 110)][-1] is Fault.NONE
    ros.wait_for(lambda: status()[0] == DiagnosticStatus.OK, 'status OK')


def test_a_fault_reduces_the_trust_of_lcts(ros):
    lcts = ros.collect(LCTArray, 'lcts')
    crops = ros.node.create_publisher(CropArray, 'crops', 10)
    ros.make(EncoderNode)
    ros.wait_for(crops.get_subscription_count, 'a subscriber')
    pixels = np.ascontiguousarray(WORLD.render(0.0, 0)[80:144, 100:164, ::-1])

    def trust(number, fault):
        header = Header(stamp=stamp_to_msg(number * 10**9))
        image = image_to_msg(pixels, 'rgb8', header)
        crop = Crop(roi=RegionOfInterest(width=64, height=64), track_id=number, image=image)
        count = len(lcts)
        crops.publish(CropArray(header=header, crops=[crop], fault=fault))
        ros.wait_for(lambda: len(lcts) > count, 'an LCT')
        (lct,) = lcts[-1].lcts
        assert lct.trust == lct.latent.telemetry[0].trust == lct.provenance[0].trust
        return lct.trust

    good = trust(1, CropArray.FAULT_UNKNOWN)
    assert good > 0.4
    for number, fault in enumerate(Fault, 2):
        assert trust(number, int(fault)) == pytest.approx(TRUST[fault] * good, rel=1e-6)
    assert trust(99, 99) == 0, 'an unknown fault'
