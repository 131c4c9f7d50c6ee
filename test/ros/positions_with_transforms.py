# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""A program of test_positions_node.py: an arbiter with poses, and positions with tf.

The positions node gets the poses only from tf, where the arbiter publishes them. It runs in an
environment that has vision_msgs and tf2_msgs, and prints one JSON object.
"""

import json

import conftest
from test_positions_node import POSES, Robot
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray

from sage_perception.nodes.arbiter_node import ArbiterNode
from sage_perception.ros import qos


def main():
    """Publish frames until there is a detection; print it and the static transforms."""
    ros = conftest.Ros()
    text = ', '.join(f'{name}={pose}' for name, pose in POSES.items())
    base = ('-p', 'base_frame:=r1/base_link')
    ros.make(ArbiterNode, '-p', f'camera_poses:={text}', *base, name='arbiter')
    static = ros.collect(TFMessage, '/tf_static', qos.TF_STATIC)
    ros.wait_for(lambda: static, 'the transforms')
    robot = Robot(ros, poses={}, arguments=base, prefix='r1/')
    found = ros.collect(Detection3DArray, 'detections_3d')
    robot.wait_for_position()

    def shown():
        robot.show()
        return next((m for m in list(found) if m.detections), None)

    [detection] = ros.wait_for(shown, 'a detection').detections
    pose, place = detection.results[0].pose, detection.bbox.center.position
    transforms = static[0].transforms
    print(
        json.dumps(
            {
                'static': [[t.header.frame_id, t.child_frame_id] for t in transforms],
                'ids': [detection.id],
                'point': [place.x, place.y, place.z],
                'size': detection.bbox.size.x,
                'covariance': list(pose.covariance),
            }
        )
    )
    ros.close()


if __name__ == '__main__':
    main()
