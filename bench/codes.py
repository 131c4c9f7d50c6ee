# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure what codes cost a camera: the latency of its latents, CPU time, and bytes.

An encoder node receives the crops of a synthetic world at 30 Hz, without codes and with both
codes, in turn, on the same crops, and this process subscribes to its LCTs. `publish_p…_ms` are the
times from a crop array to its LCTs as a subscriber measures them; the load of the machine changes
them. `encode_p…_ms` are the CPU times of the thread that encodes and publishes a frame, which the
load hardly changes. `cpu_ms_per_frame` is the CPU time of this process: of all threads of the
node, the sender and the subscriber. `ms_per_code` is measured by the clock, in the thread that
computes codes. A track-second is one second in which a track has a crop.
Results: out/bench/codes.json.
"""

from __future__ import annotations

import argparse
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import rclpy
from flood import paced
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from result_file import add_out, show_result, write_result
from sage_msgs.msg import CropArray, LCTArray
from std_msgs.msg import Header

from sage_perception.core.track_codes import CARRIED
from sage_perception.nodes.encoder_node import EncoderNode
from sage_perception.ros import qos
from sage_perception.ros.conversions.crops import crop_to_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg, stamp_to_msg
from sage_perception.vision.attention import Attention
from sage_perception.vision.synthetic import SyntheticWorld

RATE_HZ = 30
KINDS = 'identity,semantic'
CODE_BYTES = 8
"""Bytes of a code in a message besides its payload: four numbers and a length."""
WIDTH, HEIGHT = 640, 480
LAST_S = 2.0
"""Longest wait for the last LCTs, seconds."""


@dataclass
class Arrivals:
    """What a subscriber received: the latency of each array, and the bytes of codes."""

    sent_s: dict[int, float] = field(default_factory=dict)
    latency_s: list[float] = field(default_factory=list)
    code_bytes: int = 0
    coded: int = 0

    def receive(self, message: LCTArray) -> None:
        """Note an array."""
        now_s = time.perf_counter()
        self.latency_s.append(now_s - self.sent_s[stamp_from_msg(message.header.stamp)])
        codes = [code for crop in message.crops for code in crop.codes if code.kind in CARRIED]
        self.code_bytes += sum(len(code.payload) + CODE_BYTES for code in codes)
        self.coded += bool(codes)


def main() -> None:
    """Write the figures, and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', default='tinyvae')
    parser.add_argument('--code-model', default='semantic_text')
    parser.add_argument('--seconds', type=float, default=20.0, help='of each run')
    parser.add_argument('--runs', type=int, default=2, help='without and with codes, in turn')
    parser.add_argument('--period-s', type=float, default=5.0)
    parser.add_argument('--domain', type=int, help='ROS domain; default: that of the environment')
    add_out(parser, 'codes')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    figures: dict[str, list[dict[str, float]]] = {'without': [], 'with': []}
    for run in range(args.runs):
        frames = crops_of(SyntheticWorld(seed=run, objects=4), args.seconds)
        for name, kinds in (('without', ''), ('with', KINDS)):
            options = {
                'model': args.model,
                'codes': kinds,
                'code_model': args.code_model,
                'semantic_period_s': args.period_s,
            }
            figures[name].append(measure(frames, options, args.domain))
    result: dict[str, Any] = {name: mean(runs) for name, runs in figures.items()}
    for name, key in (('p95_ratio', 'publish_p95_ms'), ('encode_p95_ratio', 'encode_p95_ms')):
        result[name] = round(result['with'][key] / result['without'][key], 3)
    write_result(args.out, result)
    show_result(result)


def crops_of(world: SyntheticWorld, seconds: float) -> list[CropArray]:
    """Return the crops that attention finds in a world, with stamps at 30 Hz."""
    attention, found = Attention(), []
    for number in range(round(seconds * RATE_HZ)):
        at_s = number / RATE_HZ
        header = Header(stamp=stamp_to_msg(10**9 + round(at_s * 1e9)), frame_id='camera')
        crops = attention.attend(world.render(at_s, number), 1 + at_s)
        messages = [crop_to_msg(crop, header) for crop in crops]
        found.append(
            CropArray(header=header, source_width=WIDTH, source_height=HEIGHT, crops=messages)
        )
    return found


def measure(frames: list[CropArray], options: dict[str, Any], domain: int | None) -> dict:
    """Return the figures of one run of an encoder node."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    line = [
        '--ros-args',
        *(s for each in options.items() for s in ('-p', '{}:={!r}'.format(*each))),
    ]
    encoder = EncoderNode(context=context, cli_args=line, use_global_arguments=False)
    subscriber = Node('subscriber', context=context)
    arrivals, durations_s = Arrivals(), []
    publisher = subscriber.create_publisher(CropArray, 'crops', qos.CROPS)
    subscriber.create_subscription(LCTArray, 'lcts', arrivals.receive, qos.DEFAULT)
    time_callbacks(encoder, durations_s)
    stopping = threading.Event()
    threads = [spinning(node, context, stopping) for node in (encoder, subscriber)]
    try:
        while not (publisher.get_subscription_count() and encoder.count_subscribers('lcts')):
            time.sleep(0.05)
        time.sleep(1.0)  # the probe latents are encoded
        durations_s.clear()
        begun_s = time.process_time()
        for number in paced(RATE_HZ, len(frames) / RATE_HZ):
            arrivals.sent_s[stamp_from_msg(frames[number].header.stamp)] = time.perf_counter()
            publisher.publish(frames[number])
        until_s = time.monotonic() + LAST_S
        while len(arrivals.latency_s) < len(frames) and time.monotonic() < until_s:
            time.sleep(0.05)
        cpu_s = time.process_time() - begun_s
        codes = encoder._codes.figures  # the node publishes them with its diagnostics
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
        for node in (encoder, subscriber):
            getattr(node, 'close', lambda: None)()
            node.destroy_node()
        context.try_shutdown()
    track_seconds = sum(crop.track_id > 0 for frame in frames for crop in frame.crops) / RATE_HZ
    computed = codes.get('codes_computed', 0)
    return {
        'publish_p50_ms': percentile_ms(arrivals.latency_s, 50),
        'publish_p95_ms': percentile_ms(arrivals.latency_s, 95),
        'encode_p50_ms': percentile_ms(durations_s, 50),
        'encode_p95_ms': percentile_ms(durations_s, 95),
        'encode_max_ms': percentile_ms(durations_s, 100),
        'cpu_ms_per_frame': 1e3 * cpu_s / len(frames),
        'received': len(arrivals.latency_s) / len(frames),
        'frames_with_codes': arrivals.coded / len(frames),
        'track_seconds': track_seconds,
        'code_bytes_per_track_second': arrivals.code_bytes / track_seconds,
        'crops_with_codes': computed,
        'ms_per_code': codes.get('ms_per_code', 0.0),
        'code_ms_per_track_second': codes.get('ms_per_code', 0.0) * computed / track_seconds,
    }


def time_callbacks(encoder: EncoderNode, durations_s: list[float]) -> None:
    """Have the CPU times of the callback of the crops appended to a list, seconds."""
    receive = encoder._crops._callback

    def timed(message: CropArray) -> None:
        begun_s = time.thread_time()
        receive(message)
        durations_s.append(time.thread_time() - begun_s)

    encoder._crops._callback = timed


def spinning(node: Node, context: rclpy.Context, stopping: threading.Event) -> threading.Thread:
    """Return a thread that spins a node until `stopping` is set."""

    def spin() -> None:
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        while not stopping.is_set():
            executor.spin_once(timeout_sec=0.1)
        executor.shutdown()

    thread = threading.Thread(target=spin, name=f'spin {node.get_name()}')
    thread.start()
    return thread


def percentile_ms(seconds: list[float], percent: float) -> float:
    """Return a percentile of durations in milliseconds, NaN without any."""
    return float(np.percentile(seconds, percent) * 1e3) if seconds else float('nan')


def mean(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return the means of the figures of several runs."""
    return {name: round(float(np.mean([run[name] for run in runs])), 3) for name in runs[0]}


if __name__ == '__main__':
    main()
