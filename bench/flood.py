# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Flood the arbiter with forgeries at ten times the rate of its cameras; count what is lost.

Two cameras publish signed LCTs at 30 frames per second. For some seconds an attacker publishes on
both topics under their entity ids, valid except for the signatures, and then forged models and
probe latents at the same rate. All run in their own processes.
Prints one JSON object, also to out/bench/flood.json: the share of the honest LCTs that were not
accepted, during each flood and without one, and the rejected LCTs by reason.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from result_file import add_out, show_result, write_result

from sage_perception.bringup.prefix import prepare_ros

prepare_ros()

import numpy as np
import rclpy
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.serialization import serialize_message
from sage_msgs.msg import LCTArray, ModelInfo, ProbeSet
from std_msgs.msg import Header

from sage_perception.bringup.environment import dds_environment
from sage_perception.core.latent import Latent, ModelId, Roi, Telemetry
from sage_perception.models import load
from sage_perception.ros import qos
from sage_perception.ros.conversions.announcements import model_info_to_msg, probe_set_to_msg
from sage_perception.ros.conversions.lcts import lct_to_msg
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.trust import LCT, TrustStore
from sage_perception.trust.compatibility import probe_set as probes
from sage_perception.trust.security.announcements import ProbeSet as Probes
from sage_perception.trust.security.keys import public_bytes

CAMERAS = ('cam0', 'cam1')
CROPS = 6
RATE_HZ = 30.0
FACTOR = 10
VARIANTS = 60  # different arrays that the attacker repeats


def array(camera: str, model: ModelId, key: Ed25519PrivateKey, first: int) -> LCTArray:
    """Return the LCTs of one frame of a camera, stamped now, with sequences from `first` on."""
    now = time.time_ns()
    rng = np.random.default_rng(first)
    lcts = []
    for n in range(CROPS):
        mean, log_var = rng.standard_normal((2, 64)).astype(np.float32)
        telemetry = Telemetry(0.8, 0.01, 0.5, 7.0, 0.002)
        latent = Latent(mean, log_var, model=model, roi=Roi(n, n, 64, 64), telemetry=telemetry)
        lct = LCT.encoded(latent, entity_id=camera, sequence=first + n, stamp_ns=now)
        lcts.append(lct_to_msg(lct, key=key))
    header = Header(stamp=stamp_to_msg(now), frame_id=camera)
    return LCTArray(header=header, source_width=640, source_height=480, lcts=lcts)


def paced(rate_hz: float, seconds: float):
    """Yield at a rate, without drift."""
    begun = time.monotonic()
    for n in range(round(rate_hz * seconds)):
        wait = begun + n / rate_hz - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        yield n


def forged_lcts(camera: str, key: Ed25519PrivateKey) -> list[LCTArray]:
    """Return arrays for the topic `lcts`; their stamps are valid for a few seconds."""
    model, later = load('tinyvae').id, time.time_ns() + 10**18
    return [array(camera, model, key, later + n) for n in range(VARIANTS)]


def forged_model(camera: str, key: Ed25519PrivateKey) -> list[ModelInfo]:
    """Return a forged message for the topic `model_info`."""
    return [
        model_info_to_msg(
            load('tinyvae'), stamp_to_msg(time.time_ns()), camera, time.time_ns(), key
        )
    ]


def forged_probes(camera: str, key: Ed25519PrivateKey) -> list[ProbeSet]:
    """Return a forged message for the topic `probe_latents`: noise of the right size."""
    rng, model = np.random.default_rng(0), load('tinyvae').id
    latents = rng.standard_normal((probes.COUNT, 64)).astype(np.float32)
    probe_set = Probes(camera, time.time_ns(), model, latents)
    return [probe_set_to_msg(probe_set, stamp_to_msg(time.time_ns()), key)]


TOPICS = {
    'lcts': (LCTArray, qos.DEFAULT, forged_lcts),
    'model_info': (ModelInfo, qos.LATCHED, forged_model),
    'probe_latents': (ProbeSet, qos.LATCHED, forged_probes),
}


def attack(topics: tuple[str, ...], seconds: float, count) -> None:
    """Publish under the entity ids of the cameras with another key."""
    rclpy.init()
    node = rclpy.create_node('attacker')
    key = Ed25519PrivateKey.generate()
    forged = []
    for camera in CAMERAS:
        for topic in topics:
            kind, profile, forge = TOPICS[topic]
            publisher = node.create_publisher(kind, f'{camera}/{topic}', profile)
            forged.append((publisher, [serialize_message(each) for each in forge(camera, key)]))
    while any(publisher.get_subscription_count() < 1 for publisher, _ in forged):
        time.sleep(0.05)
    made = time.monotonic()
    for n in paced(RATE_HZ * FACTOR, seconds):
        for publisher, messages in forged:
            publisher.publish(messages[n % len(messages)])
            count.value += 1
        if time.monotonic() - made > 4:  # the stamps of LCTs expire
            break
    rclpy.shutdown()


class Bench:
    """Honest cameras, and the number of their accepted LCTs."""

    def __init__(self, keys: dict[str, Ed25519PrivateKey], model: ModelId):
        self.keys, self.model = keys, model
        self.accepted: Counter[str] = Counter()
        self.health: dict[str, str] = {}
        self.sequence = time.time_ns()
        self.node = rclpy.create_node('cameras')
        self.publishers = {
            c: self.node.create_publisher(LCTArray, f'{c}/lcts', qos.DEFAULT) for c in CAMERAS
        }
        self.node.create_subscription(LCTArray, 'trusted', self._count, qos.LCTS)
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._note, 10)
        executor = SingleThreadedExecutor()
        executor.add_node(self.node)
        threading.Thread(target=executor.spin, daemon=True).start()

    def _count(self, message: LCTArray) -> None:
        self.accepted[message.header.frame_id] += len(message.lcts)

    def _note(self, message: DiagnosticArray) -> None:
        for status in message.status:
            figures = {pair.key: pair.value for pair in status.values}
            if status.name == 'arbiter: agreement':
                self.health |= figures
            elif status.name.endswith(('/model_info', '/probe_latents')):
                _, _, topic = status.name.partition(': input ')
                self.health[f'{topic} rejected: announcements'] = figures['rejected']

    def publish(self, seconds: float) -> dict[str, float]:
        """Publish for both cameras; return the share of LCTs of each that was not accepted."""
        sent: Counter[str] = Counter()
        before = Counter(self.accepted)
        for _ in paced(RATE_HZ, seconds):
            for camera, publisher in self.publishers.items():
                self.sequence += CROPS
                publisher.publish(array(camera, self.model, self.keys[camera], self.sequence))
                sent[camera] += CROPS
        time.sleep(2)
        return {c: 1 - (self.accepted[c] - before[c]) / sent[c] for c in CAMERAS}


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument(
        '--seconds', type=float, default=4.0, help='duration of each flood (default: %(default)s)'
    )
    add_out(parser, 'flood')
    args = parser.parse_args()
    # A separate domain, also for all processes that are started from here.
    os.environ |= dds_environment(os.environ)
    os.environ['ROS_DOMAIN_ID'] = str(1 + os.getpid() % 101)
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    model = load('tinyvae').id
    keys = {camera: Ed25519PrivateKey.generate() for camera in CAMERAS}
    with tempfile.TemporaryDirectory() as folder:
        store = TrustStore(Path(folder))
        for camera, key in keys.items():
            store.trust(camera, public_bytes(key))
        parameters = [f'keys:={folder}', 'require_signatures:=true', 'cameras:=[cam0, cam1]']
        arbiter = subprocess.Popen(
            [sys.executable, '-m', 'sage_perception.nodes.arbiter_node', '--ros-args']
            + [word for parameter in parameters for word in ('-p', parameter)],
            stderr=subprocess.DEVNULL,
        )
        try:
            result = measure(keys, model, args.seconds)
        finally:
            arbiter.terminate()
            arbiter.wait()
    write_result(args.out, result)
    show_result(result)
    return 0


def measure(keys: dict[str, Ed25519PrivateKey], model: ModelId, seconds: float) -> dict:
    """Return the figures of a running arbiter."""
    rclpy.init()
    bench = Bench(keys, model)
    while any(p.get_subscription_count() < 1 for p in bench.publishers.values()):
        time.sleep(0.1)
    while not all(bench.accepted[camera] for camera in CAMERAS):
        bench.publish(0.2)
    calm = bench.publish(seconds)
    during_lcts, forged_per_s = under_attack(bench, ('lcts',), seconds)
    during_announcements, announcements_per_s = under_attack(
        bench, ('model_info', 'probe_latents'), seconds
    )
    rejected = {
        f'{camera} {reason}': int(number)
        for name, number in bench.health.items()
        for camera, _, reason in (name.partition(' rejected: '),)
        if reason
    }
    return {
        'flood_loss_honest': round(max(during_lcts.values()), 4),
        'announcement_flood_loss_honest': round(max(during_announcements.values()), 4),
        'calm_loss_honest': round(max(calm.values()), 4),
        'honest_frames_per_s': RATE_HZ,
        'forged_frames_per_s': forged_per_s,
        'forged_announcements_per_s': announcements_per_s,
        'lcts_a_frame': CROPS,
        'seconds': seconds,
        'rejected': rejected,
    }


def under_attack(
    bench: Bench, topics: tuple[str, ...], seconds: float
) -> tuple[dict[str, float], float]:
    """Return the loss of each camera during a flood, and the flood's rate per camera."""
    count = multiprocessing.Value('Q', 0, lock=False)
    attacker = multiprocessing.get_context('spawn').Process(
        target=attack, args=(topics, seconds, count)
    )
    attacker.start()
    while not count.value:
        time.sleep(0.01)
    begun = time.monotonic()
    losses = bench.publish(seconds)
    took = time.monotonic() - begun - 2
    attacker.join()
    return losses, round(count.value / len(CAMERAS) / took, 1)


if __name__ == '__main__':
    sys.exit(main())
