# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The viewer draws a moment when it is complete, and at most at its rate."""

import itertools
import threading
import time

import numpy as np
from sage_msgs.msg import CropArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from sage_perception.nodes.viewer_node import PATIENCE_S, ViewerNode
from sage_perception.ros.conversions.stamps import stamp_from_msg, stamp_to_msg
from sage_perception.ros.images import image_to_msg

PERIOD_S = 0.05


class Camera:
    """Publishes frames, and after `delay_s` their crops: none. Without a delay, frames only."""

    def __init__(self, ros, delay_s):
        self._frames = ros.node.create_publisher(Image, 'cam0/image_raw', 2)
        self._crops = ros.node.create_publisher(CropArray, 'cam0/crops', 3)
        self._delay_s = delay_s
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_):
        self._ending.set()
        self._thread.join()

    def _run(self):
        image = np.zeros((48, 64, 3), np.uint8)
        waiting = []
        for number in itertools.count():
            stamp_ns = time.time_ns()
            header = Header(stamp=stamp_to_msg(stamp_ns), frame_id='cam0')
            self._frames.publish(image_to_msg(image, 'rgb8', header))
            if self._delay_s is not None:
                waiting.append((number, header))
            while waiting and waiting[0][0] + self._delay_s / PERIOD_S <= number:
                self._crops.publish(CropArray(header=waiting.pop(0)[1]))
            if self._ending.wait(PERIOD_S):
                return


def drawn(ros, delay_s, duration_s, rate):
    """Return the time from the stamp of the frame to the mosaic, in seconds, of each mosaic."""
    ages = []

    def note(message):
        ages.append((time.time_ns() - stamp_from_msg(message.header.stamp)) * 1e-9)

    ros.make(ViewerNode, cameras="['cam0']", rate=rate)
    ros.node.create_subscription(CompressedImage, 'mosaic/compressed', note, 10)
    with Camera(ros, delay_s):
        ros.wait_for(lambda: ages, 'the first mosaic')
        ages.clear()
        time.sleep(duration_s)
    return ages


def test_a_moment_is_drawn_when_it_is_complete(ros):
    ages = drawn(ros, 2 * PERIOD_S, 4.0, rate=1.0)
    assert max(ages) < 0.6, 'not at the next period, a second later'
    assert 3 <= len(ages) <= 5


def test_a_moment_that_completes_within_the_next_period_delays_only_itself(ros):
    # A drawing at each start of a period would draw every 0.8 s.
    ages = drawn(ros, 9 * PERIOD_S, 8.0, rate=2.5)
    assert 13 <= len(ages) <= 20


def test_a_moment_that_does_not_complete_is_drawn_after_a_while(ros):
    ages = drawn(ros, None, 3.0, rate=10.0)
    assert 2 <= len(ages) <= 3.0 / PATIENCE_S
    assert min(ages) >= PATIENCE_S - PERIOD_S
