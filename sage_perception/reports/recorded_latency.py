# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The latency of the messages of a bag, from their header stamps to their log times."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from sage_perception.bags.reader import open_bag
from sage_perception.reports.html.report import Chart, Series, Style
from sage_perception.ros.conversions.stamps import stamp_from_cdr

TYPES = frozenset(
    (
        'sensor_msgs/msg/Image',
        'sensor_msgs/msg/CompressedImage',
        'sage_msgs/msg/CropArray',
        'sage_msgs/msg/LCTArray',
        'sage_msgs/msg/AgreementArray',
    )
)
"""Types that begin with the header of the frame they are about."""
PERCENTILE = 95
PLAUSIBLE_MS = (0.1, 60_000.0)
"""Medians of streams that are drawn: others have equal stamps and log times, or two clocks."""


def recorded_latency(path: Path) -> tuple[Chart, ...]:
    """Return the chart of the latencies over time, or nothing if the bag has no latencies.

    Each topic has a curve: the 95th percentile of each second, milliseconds. The time axis is that
    of the log times, seconds since the first message. Raises `BagError`.
    """
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    with open_bag(path) as bag:
        topics = [each.name for each in bag.topics.values() if each.type_name in TYPES]
        for message in bag.messages(topics):
            if len(message.data) < 12:  # malformed: shorter than a stamp
                continue
            second = int((message.log_time_ns - bag.start_ns) // 10**9)
            latency_ms = (message.log_time_ns - stamp_from_cdr(message.data)) * 1e-6
            found[message.topic][second].append(latency_ms)
    series = []
    for topic, seconds in sorted(found.items()):
        values = [float(np.percentile(each, PERCENTILE)) for each in seconds.values()]
        low, high = PLAUSIBLE_MS
        if low <= np.median(values) <= high:
            series.append(Series(topic.strip('/'), list(seconds), values, Style.STEPS))
    if not series:
        return ()
    title = 'Latency of the recorded messages from their stamps, 95th percentile'
    return (Chart(title, 'ms', tuple(series)),)
