# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The processes of test_two_machines.py: `python machines.py ROLE ARGUMENTS`."""

import itertools
import json
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import rclpy
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.serialization import deserialize_message, serialize_message
from sage_msgs.msg import Crop, CropArray, LCTArray
from sensor_msgs.msg import RegionOfInterest
from std_msgs.msg import Header

from sage_perception.core.lct import Operation
from sage_perception.ros.conversions.lct_arrays import lct_messages
from sage_perception.ros.conversions.lcts import (
    lct_from_msg,
    lct_to_msg,
    packed_lct_from_msg,
)
from sage_perception.ros.conversions.packers import packers_of
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.images import image_to_msg
from sage_perception.trust import TrustStore, verify
from sage_perception.vision.synthetic import SyntheticWorld

PERIOD_NS = 100_000_000


def report(**what):
    print(json.dumps(what), flush=True)


def show(node, camera):
    """Publish the same crop as all other cameras, ten times a second by the clock."""
    image = SyntheticWorld(seed=1, width=128, height=128, objects=1).render(0.0)
    image = np.ascontiguousarray(image[32:96, 32:96, ::-1])
    crops = node.create_publisher(CropArray, f'{camera}/crops', 10)
    last = [0]

    def tick():
        moment = time.time_ns() // PERIOD_NS
        if moment != last[0]:
            last[0] = moment
            header = Header(stamp=stamp_to_msg(moment * PERIOD_NS), frame_id='lens')
            crop = Crop(
                image=image_to_msg(image, 'rgb8', header),
                roi=RegionOfInterest(width=64, height=64),
                track_id=1,
            )
            crops.publish(CropArray(header=header, crops=[crop]))

    node.create_timer(0.02, tick)


def observe(node, keys):
    """Report the results of the arbiter, and verify every LCT on `trusted`."""
    store = TrustStore(Path(keys))
    ids = set()

    def fused(array):
        for lct in array.lcts:
            steps = [step.operation for step in lct.provenance]
            report(fused=steps.count(Operation.FUSE))

    def trusted(array):
        for message in lct_messages(array):
            lct, wire = packed_lct_from_msg(message)
            fault = verify(lct, store, wire=wire)
            report(trusted=lct.entity_id, sound=fault is None and lct.id not in ids)
            ids.add(lct.id)

    def health(array):
        for status in array.status:
            if status.name == 'arbiter: agreement':
                figures = {pair.key: pair.value for pair in status.values}
                report(rejected={k: int(v) for k, v in figures.items() if ' rejected: ' in k})

    node.create_subscription(LCTArray, 'fused', fused, 10)
    node.create_subscription(LCTArray, 'trusted', trusted, 10)
    node.create_subscription(DiagnosticArray, '/diagnostics', health, 10)


def attack(node, camera):
    """Record one LCT of a camera; replay, change and forge it, and flood the topic."""
    publisher = node.create_publisher(LCTArray, f'{camera}/lcts', 10)
    forger = Ed25519PrivateKey.generate()
    recorded, flood, rounds = [], [], itertools.count(1)

    def record(array):
        # One is enough, and receiving the own flood is expensive.
        if lcts := lct_messages(array):
            recorded.append(lcts[0])
            node.destroy_subscription(subscription)

    def forged(message):
        own = lct_from_msg(message, packers_of('tinyvae'))
        now = time.time_ns()
        own = replace(own, stamp_ns=now, sequence=now + 10**15, id=b'forged by anyone')
        return lct_to_msg(own, key=forger)

    def changed(message):
        copy = deserialize_message(serialize_message(message), type(message))
        copy.stamp = stamp_to_msg(time.time_ns())
        copy.sequence += 10**15
        return copy

    def renew():
        for message in recorded[:1]:
            for lct in (message, changed(message), forged(message)):
                publisher.publish(LCTArray(lcts=[lct]))
            publisher.publish(b'\0\1\0\0' + b'\xff' * 200)
            # The flood leaves no room for other messages, so these are sent alone first.
            if next(rounds) > 3:
                flood[:] = [serialize_message(LCTArray(lcts=[forged(message)] * 16))]

    def pour():
        for data in flood:
            publisher.publish(data)

    subscription = node.create_subscription(LCTArray, f'{camera}/lcts', record, 10)
    node.create_timer(1.0, renew)
    # Ten times the rate of the camera.
    node.create_timer(0.01, pour)


def main():
    role, *arguments = sys.argv[1:]
    # Ends with the test process, which closes the pipe.
    threading.Thread(target=lambda: sys.stdin.read() or rclpy.try_shutdown(), daemon=True).start()
    rclpy.init()
    node = rclpy.create_node(role)
    for camera in arguments[0].split(','):
        {'show': show, 'attack': attack}[role](node, camera)
    if arguments[1:]:
        observe(node, arguments[1])
    try:
        rclpy.spin(node)
    except Exception:
        if rclpy.ok():
            raise


if __name__ == '__main__':
    main()
