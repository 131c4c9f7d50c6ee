# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Replay tests: speed by stage, repeatability offline and online, and memory over a long bag.

python bench/regress.py                          # speed with two 640x480 cameras at 30 Hz
python bench/regress.py --runs 20 --online 20    # an unchanged replay must pass every time
python bench/regress.py --seconds 0 --hours 1    # memory over an hour of frames

Results: `out/bench/regress.json`; a measurement that was not asked for keeps its figures there.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

from result_file import add_out, read_result, write_result

from sage_perception.bringup.prefix import prepare_ros
from sage_perception.core.threads import bound_blas_threads

prepare_ros()
bound_blas_threads()

import numpy as np
import psutil
from rclpy.serialization import serialize_message
from regress_online import measure_online
from std_msgs.msg import Header

from sage_perception.bags.writer import BagWriter
from sage_perception.cli.terminal import non_negative, positive, report_errors, whole_number
from sage_perception.core.files import make_folder
from sage_perception.core.progress import track
from sage_perception.regression.regress import Regression, regress, update_baseline
from sage_perception.regression.replay import ReplayResult, replay_bag
from sage_perception.ros import qos
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.images import jpeg_to_msg
from sage_perception.vision.synthetic import SyntheticWorld

SECOND, START_NS = 10**9, 1_700_000_000 * 10**9
SPEED_HZ, LOOP_S = 30.0, 20
SHIFT_PX = 80
SAMPLES = 60
"""Samples of the memory over the long bag."""
SETTLED = 0.1
"""Part of the long bag after which the memory is expected to be flat."""


def write_bag(folder: Path, seconds: float, size: tuple[int, int], rate_hz: float) -> Path:
    """Write JPEG images of two cameras; the scene repeats after `LOOP_S` seconds."""
    width, height = size
    world = SyntheticWorld(1, width + SHIFT_PX, height, period_s=LOOP_S)
    loop: list[tuple[bytes, ...]] = []
    with BagWriter(folder) as bag:
        topics = [f'/cam{number}/image_raw/compressed' for number in range(2)]
        for topic in topics:
            bag.add_topic(topic, 'sensor_msgs/msg/CompressedImage', [qos.CAMERA])
        for index in track(range(round(seconds * rate_hz)), f'writing {folder.name}'):
            if len(loop) < round(LOOP_S * rate_hz):
                image = world.render(index / rate_hz, index)
                views = (image[:, shift : shift + width] for shift in (0, SHIFT_PX))
                loop.append(
                    tuple(
                        bytes(jpeg_to_msg(np.ascontiguousarray(view), Header()).data)
                        for view in views
                    )
                )
            stamp_ns = START_NS + round(index * SECOND / rate_hz)
            for topic, data in zip(topics, loop[index % len(loop)], strict=True):
                message = jpeg_to_msg(np.zeros((8, 8, 3), np.uint8), Header())
                message.header.stamp = stamp_to_msg(stamp_ns)
                message.data = data
                bag.write(topic, serialize_message(message), stamp_ns)
    return folder


def report(result: ReplayResult) -> dict[str, Any]:
    """Return the speed of a replay."""
    return {
        'frames': result.frames,
        'realtime_factor': round(result.realtime_factor, 2),
        'ms_per_frame': {name: round(ms, 2) for name, ms in result.stages_ms.items()},
    }


def measure_speed(folder: Path, seconds: float) -> dict[str, Any]:
    """Return the speed with two 640x480 cameras at 30 Hz."""
    bag = write_bag(folder / 'speed', seconds, (640, 480), SPEED_HZ)
    return report(replay_bag(bag))


def measure_offline(folder: Path, runs: int, seconds: float) -> dict[str, Any]:
    """Return how many of `runs` unchanged replays pass, and have the same summary."""
    bag = write_bag(folder / 'same', seconds, (320, 240), SPEED_HZ)
    first = Regression(bag, replay_bag(bag))
    update_baseline(first)
    passed = identical = 0
    for _ in track(range(runs), 'offline replays'):
        found = regress(bag)
        passed += found.passed
        identical += found.result.summary == first.result.summary
    return {'runs': runs, 'passed': passed, 'identical': identical}


def measure_memory(folder: Path, hours: float, rate_hz: float) -> dict[str, Any]:
    """Return the memory of this process while it replays a long bag, megabytes.

    The bag has two cameras of 160x120 pixels at `rate_hz`. `own` is the resident memory without
    the pages of files, which the kernel drops and reads again as it likes. `mb_per_hour` is the
    slope of a line fitted to it after the first tenth of the bag; it includes the summary, which
    has an entry for each second.
    """
    bag = write_bag(folder / 'long', 3600 * hours, (160, 120), rate_hz)
    process = psutil.Process()
    samples: list[dict[str, float]] = []

    def sample(share: float, frames: int) -> None:
        if share * SAMPLES >= len(samples):
            used = process.memory_info()
            own = round((used.rss - used.shared) / 1e6, 1)
            at = {'hour': round(share * hours, 4), 'rss': round(used.rss / 1e6, 1), 'own': own}
            samples.append(at)
            print(f'  {share:4.0%}, {frames} frames: {at["rss"]} MB', file=sys.stderr)

    result = replay_bag(bag, progress=sample)
    settled = [each for each in samples if each['hour'] >= SETTLED * hours]
    slope = np.nan
    if len(settled) > 1:
        slope = np.polyfit([s['hour'] for s in settled], [s['own'] for s in settled], 1)[0]
    return {
        **report(result),
        'hours': hours,
        'rate_hz': rate_hz,
        'bag_mb': round(sum(file.stat().st_size for file in bag.iterdir()) / 1e6),
        'first_mb': samples[0],
        'settled_mb': settled[0] if settled else None,
        'last_mb': samples[-1],
        'peak_mb': round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, 1),
        'mb_per_hour': round(float(slope), 2),
        'samples_mb': samples,
    }


@report_errors('bench/regress.py')
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add('--seconds', type=non_negative, default=20.0, help='length of the speed bag (default: 20)')
    add('--runs', type=whole_number, default=0, help='number of unchanged replays, offline')
    add('--online', type=whole_number, default=0, help='number of unchanged replays to a graph')
    add('--hours', type=non_negative, default=0.0, help='length of the memory bag')
    add('--rate', type=positive, default=5.0, help='frames per second of that bag (default: 5)')
    add_out(parser, 'regress')
    args = parser.parse_args(argv)
    make_folder(args.out.parent)
    found = read_result(args.out)
    measurements = {
        'speed': (args.seconds, lambda folder: measure_speed(folder, args.seconds)),
        'offline': (args.runs, lambda folder: measure_offline(folder, args.runs, 5.0)),
        'online': (args.online, lambda folder: measure_online(folder, args.online)),
        'memory': (args.hours, lambda folder: measure_memory(folder, args.hours, args.rate)),
    }
    with tempfile.TemporaryDirectory(prefix='sage_regress_') as name:
        for title, (asked, measure) in measurements.items():
            if asked:
                found[title] = measure(Path(name))
                print(f'{title}: {json.dumps(found[title])}', flush=True)
                write_result(args.out, found)
    print(f'all figures: {args.out}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
