# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A program of test_detections.py: the attention node with detections, and what it publishes.

It runs in an environment that has vision_msgs, and prints one JSON object.
"""

import json
import math
import sys
import threading
import time

import rclpy
from rclpy.executors import SingleThreadedExecutor
from sage_msgs.msg import CropArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from sage_perception.core.latent import Roi
from sage_perception.models.semantic.vocabulary import Label
from sage_perception.nodes.attention_node import AttentionNode
from sage_perception.ros import qos
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.detections import objects_to_msg
from sage_perception.ros.images import image_to_msg
from sage_perception.vision.synthetic import SyntheticWorld

PERIOD_NS = 50_000_000
LIMIT_S = 60.0


def detection(x, y, side, score):
    """Return a detection of a square around (x, y)."""
    found = Detection2D()
    found.bbox.center.position.x, found.bbox.center.position.y = float(x), float(y)
    found.bbox.size_x = found.bbox.size_y = float(side)
    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id, result.hypothesis.score = 'cup', float(score)
    found.results = [result]
    return found


def main():
    """Publish images of a still scene and detections; print the crops and regions."""
    rclpy.init(args=sys.argv)
    node = rclpy.create_node('tester')
    parameters = ['-p', 'saliency_weight:=0.0', '-p', 'max_detections:=2']
    attention = AttentionNode(cli_args=['--ros-args', *parameters])
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    executor.add_node(attention)
    crops, regions = {}, {}

    def key(message):
        return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec

    node.create_subscription(CropArray, 'crops', lambda m: crops.update({key(m): m}), qos.CROPS)
    node.create_subscription(
        Detection2DArray, 'regions', lambda m: regions.update({key(m): m}), qos.DEFAULT
    )
    images = node.create_publisher(Image, 'image_raw', qos.CAMERA)
    detections = node.create_publisher(Detection2DArray, 'detections', qos.DEFAULT)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    end_s = time.monotonic() + LIMIT_S
    while not images.get_subscription_count() or not detections.get_subscription_count():
        time.sleep(0.02)
    world = SyntheticWorld(seed=2, objects=0)
    number, ready = 0, {}
    while len(ready) < 3 and time.monotonic() < end_s:
        stamp = stamp_to_msg(10**9 + number * PERIOD_NS)
        header = Header(stamp=stamp, frame_id='camera')
        images.publish(image_to_msg(world.render(0.0, number), 'bgr8', header))
        array = Detection2DArray(header=header)
        array.detections = [
            detection(100, 100, 40, 0.5),
            detection(300, 200, 80, 0.9),
            detection(500, 300, 60, 0.7),
            detection(math.nan, 200, 80, 0.9),
            detection(200, 200, 80, 7.0),
            detection(200, 200, -1, 0.9),
        ]
        detections.publish(array)
        number += 1
        time.sleep(0.05)
        ready = {at: m for at, m in crops.items() if len(m.crops) == 2 and at in regions}
    found = [
        {
            'crops': [[c.source, c.track_id, round(c.score, 3), c.roi.x_offset,
                       c.roi.y_offset, c.roi.width]
                      for c in message.crops],
            'regions': [[d.results[0].hypothesis.class_id, d.id,
                         round(d.results[0].hypothesis.score, 3), d.bbox.center.position.x,
                         d.bbox.center.position.y, d.bbox.size_x]
                        for d in regions[at].detections],
        }
        for at, message in sorted(ready.items())
    ]  # fmt: skip
    _, _, values = attention._report()
    executor.shutdown()
    thread.join(5)
    named = objects_to_msg(
        Header(),
        [(Roi(10, 20, 30, 40), 7, Label('dog', 0.75)), (Roi(0, 0, 8, 8), 8, Label('cat', 0.25))],
    )
    objects = [
        [d.id, d.results[0].hypothesis.class_id, d.results[0].hypothesis.score, d.bbox.size_y]
        for d in named.detections
    ]
    invalid = values['invalid_detections'] > 0
    print(json.dumps({'frames': found, 'invalid': invalid, 'objects': objects}))


if __name__ == '__main__':
    main()
