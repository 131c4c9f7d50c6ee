# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Draw the messages of a bag; ROS need not be installed."""

from __future__ import annotations

import threading

from sage_perception.bags.definitions import UnreadableType
from sage_perception.bags.files import BagError
from sage_perception.bags.reader import Bag
from sage_perception.core.progress import track
from sage_perception.viewing.items import Text, Timed
from sage_perception.viewing.rerun_sink import RerunSink
from sage_perception.viewing.scene import Scene


def draw_bag(bag: Bag, scene: Scene, sink: RerunSink, stop: threading.Event) -> int:
    """Draw all messages of a bag until `stop` is set; return their number. Shows the progress.

    Raises:
        BagError: the bag has nothing that can be drawn, or is damaged.
    """
    drawable = {
        name
        for name, topic in bag.topics.items()
        if topic.count and scene.draws(name, topic.type_name)
    }
    if not drawable:
        raise BagError(
            f'{bag.path} has no images and no topics of sage: its topics are '
            f'{", ".join(bag.topics) or "none"}'
        )
    count, unreadable = 0, set()
    total = sum(bag.topics[name].count for name in drawable)
    for message in track(bag.messages(drawable), f'drawing {bag.path}', total):
        if stop.is_set():
            break
        try:
            decoded = bag.decode(message.topic, message.data)
        except UnreadableType as error:
            if message.topic not in unreadable:
                unreadable.add(message.topic)
                text = Text(('log', 'sage'), f'{message.topic}: {error}', 'WARN')
                sink.write(Timed(message.log_time_ns, text), message.log_time_ns)
            continue
        args = message.topic, message.type_name, decoded, message.log_time_ns
        for timed in scene.add(*args):
            sink.write(timed, message.log_time_ns)
        sink.arrange(scene.cameras)
        count += 1
    for timed in scene.finish():
        sink.write(timed, bag.end_ns)
    return count
