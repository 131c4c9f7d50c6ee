# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Offline replay: speed by stage, repeatability, and memory over a long bag.

python bench/regress.py                  # speed with two 640x480 cameras at 30 Hz
python bench/regress.py --runs 20        # an unchanged replay must pass every time
python bench/regress.py --hours 1        # memory over an hour of frames
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np
from rclpy.serialization import serialize_message
from std_msgs.msg import Header

from sage_perception.bags.writer import BagWriter
from sage_perception.regression.regress import Regression, regress, update_baseline
from sage_perception.regression.replay import ReplayResult, replay_bag
from sage_perception.ros import qos
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.images import jpeg_to_msg
from sage_perception.vision.synthetic import SyntheticWorld

SECOND, START_NS = 10**9, 1_700_000_000 * 10**9
RATE_HZ, LOOP_S = 30, 20
SHIFT_PX = 80


def write_bag(folder: Path, seconds: float, size: tuple[int, int]) -> Path:
    """Write JPEG images of two cameras; the scene repeats after `LOOP_S` seconds."""
    width, height = size
    world = SyntheticWorld(1, width + SHIFT_PX, height, period_s=LOOP_S)
    loop: list[tuple[bytes, ...]] = []
    with BagWriter(folder) as bag:
        topics = [f'/cam{number}/image_raw/compressed' for number in range(2)]
        for topic in topics:
            bag.add_topic(topic, 'sensor_msgs/msg/CompressedImage', [qos.CAMERA])
        for index in range(round(seconds * RATE_HZ)):
            if len(loop) < LOOP_S * RATE_HZ:
                image = world.render(index / RATE_HZ, index)
                views = (image[:, shift : shift + width] for shift in (0, SHIFT_PX))
                loop.append(
                    tuple(
                        bytes(jpeg_to_msg(np.ascontiguousarray(view), Header()).data)
                        for view in views
                    )
                )
            stamp_ns = START_NS + index * SECOND // RATE_HZ
            for topic, data in zip(topics, loop[index % len(loop)], strict=True):
                message = jpeg_to_msg(np.zeros((8, 8, 3), np.uint8), Header())
                message.header.stamp = stamp_to_msg(stamp_ns)
                message.data = data
                bag.write(topic, serialize_message(message), stamp_ns)
    return folder


def resident_mb() -> float:
    """Return the memory of this process, megabytes."""
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 1e6


def report(result: ReplayResult) -> dict:
    """Return the speed of a replay."""
    return {
        'frames': result.frames,
        'realtime_factor': round(result.realtime_factor, 2),
        'ms_per_frame': {name: round(ms, 2) for name, ms in result.stages_ms.items()},
    }


def measure_speed(folder: Path, seconds: float) -> dict:
    """Return the speed with two 640x480 cameras at 30 Hz."""
    bag = write_bag(folder / 'speed', seconds, (640, 480))
    return report(replay_bag(bag))


def measure_repeatability(folder: Path, runs: int, seconds: float) -> dict:
    """Return how many of `runs` unchanged replays pass."""
    bag = write_bag(folder / 'same', seconds, (320, 240))
    first = Regression(bag, replay_bag(bag))
    update_baseline(first)
    passed = same = 0
    for _ in range(runs):
        found = regress(bag)
        passed += found.passed
        same += found.result.summary == first.result.summary
    return {'runs': runs, 'passed': passed, 'identical': same}


def measure_memory(folder: Path, hours: float) -> dict:
    """Return the memory at each tenth of a long bag, megabytes."""
    bag = write_bag(folder / 'long', 3600 * hours, (160, 120))
    samples: list[float] = []

    def sample(share: float, _frames: int) -> None:
        if share * 10 >= len(samples):
            samples.append(round(resident_mb(), 1))

    result = replay_bag(bag, progress=sample)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    size_mb = sum(file.stat().st_size for file in bag.iterdir()) / 1e6
    return report(result) | {'bag_mb': round(size_mb), 'memory_mb': samples, 'peak_mb': peak_mb}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seconds', type=float, default=20.0, help='length of the speed bag')
    parser.add_argument('--runs', type=int, default=0, help='number of unchanged replays')
    parser.add_argument('--hours', type=float, default=0.0, help='length of the memory bag')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = {'speed': measure_speed(folder, args.seconds)}
        if args.runs:
            found['repeatability'] = measure_repeatability(folder, args.runs, 5.0)
        if args.hours:
            found['memory'] = measure_memory(folder, args.hours)
    print(json.dumps(found, indent=2))
    return 0


if __name__ == '__main__':
    sys.exit(main())
