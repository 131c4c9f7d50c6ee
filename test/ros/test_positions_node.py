# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The positions node: positions of tracks from two cameras and from depth images."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, TransformStamped
from sage_msgs.msg import Agreement, AgreementArray, LCTArray
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from sage_perception.core.latent import Latent, Roi, Telemetry
from sage_perception.core.lct import LCT
from sage_perception.core.pose import Pose
from sage_perception.core.rotations import optical_matrix
from sage_perception.models import artifact
from sage_perception.models.registry import resolve
from sage_perception.nodes.positions_node import MAX_MATCHES, MAX_UNPAIRED, PositionsNode
from sage_perception.ros import qos
from sage_perception.ros.conversions.lcts import lct_to_msg
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.images import image_to_msg
from sage_perception.ros.input_monitor import InputMonitor
from sage_perception.ros.message_checks import MAX_NAME_CHARS
from sage_perception.vision.positions import CalibratedCamera

K = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])
POSES = {'cam0': '0 0.3 0 0 0 0', 'cam1': '0 -0.3 0 0 0 0'}
POINT = np.array([3.0, 0.1, 0.05])
SIDE = 40


class Robot:
    """Publishes what two cameras and an arbiter would about one object at `POINT`."""

    def __init__(self, ros, poses=POSES, cameras=('cam0', 'cam1'), arguments=(), prefix=''):
        self.ros, self.sequence, self.prefix = ros, 0, prefix
        self.model = artifact.read(resolve('tinyvae'))
        words = ['-p', f'cameras:=[{", ".join(cameras)}]']
        if poses:
            text = ', '.join(f'{name}={pose}' for name, pose in poses.items())
            words += ['-p', f'camera_poses:={text}']
        self.node = ros.make(PositionsNode, *words, '-p', 'rate:=50.0', *arguments)
        create = ros.node.create_publisher
        self.trusted = create(LCTArray, 'trusted', qos.DEFAULT)
        self.agreement = create(AgreementArray, 'agreement', qos.DEFAULT)
        self.infos = {name: create(CameraInfo, f'{name}/camera_info', 2) for name in cameras}
        self.depth = create(Image, 'cam0/depth', qos.CAMERA)
        self.positions = ros.collect(PoseArray, 'positions')
        self.markers = ros.collect(MarkerArray, 'position_markers')
        senders = [self.trusted, self.agreement, *self.infos.values()]
        ros.wait_for(lambda: all(each.get_subscription_count() for each in senders), 'the node')
        for topic in ('positions', 'position_markers'):
            ros.wait_for(lambda t=topic: self.node.count_subscribers(t), topic)

    def lct(self, camera, stamp_ns, track):
        self.sequence += 1
        pose = optical_matrix(Pose.parse(POSES[camera]))
        x, y = CalibratedCamera(K, np.zeros(0), pose).project(POINT)
        roi = Roi(round(x - SIDE / 2), round(y - SIDE / 2), SIDE, SIDE)
        mean = np.float32(self.model.tensors[artifact.LATENT_MEAN].ravel())
        latent = Latent(
            mean, model=self.model.id, roi=roi, track_id=track, telemetry=Telemetry(1.0)
        )
        return LCT.encoded(latent, entity_id=camera, sequence=self.sequence, stamp_ns=stamp_ns)

    def show(self, depth=None):
        """Publish one frame of each camera; the object has the tracks 4 and 9."""
        stamp_ns = self.node.get_clock().now().nanoseconds
        stamp = stamp_to_msg(stamp_ns)
        found = {}
        if depth is not None:
            header = Header(stamp=stamp, frame_id='lens')
            self.depth.publish(image_to_msg(depth, '16UC1', header))
        for (camera, info), track in zip(self.infos.items(), (4, 9), strict=False):
            header = Header(stamp=stamp, frame_id=f'{self.prefix}{camera}_optical_frame')
            info.publish(CameraInfo(header=header, k=K.ravel(), distortion_model='plumb_bob'))
            found[camera] = self.lct(camera, stamp_ns, track)
            self.trusted.publish(
                LCTArray(
                    header=header,
                    source_width=640,
                    source_height=480,
                    lcts=[lct_to_msg(found[camera])],
                    camera=camera,
                )
            )
        if len(found) == 2:
            ids = [np.frombuffer(each.id, np.uint8) for each in found.values()]
            match = Agreement(lct_a=ids[0], lct_b=ids[1], similarity=0.9, level=2)
            header = Header(stamp=stamp, frame_id='cam0_optical_frame')
            self.agreement.publish(AgreementArray(header=header, agreements=[match]))

    def wait_for_position(self, **options):
        def shown():
            self.show(**options)
            return next((m for m in list(self.positions) if m.poses), None)

        return self.ros.wait_for(shown, 'a position')


def test_tracks_that_agree_are_triangulated(ros):
    robot = Robot(ros)
    message = robot.wait_for_position()
    assert message.header.frame_id == 'base_link'
    place = message.poses[0].position
    assert np.linalg.norm(np.array([place.x, place.y, place.z]) - POINT) < 0.05
    assert message.poses[0].orientation.w == 1

    def drawn():
        robot.show()
        return next((m for m in list(robot.markers) if len(m.markers) == 5), None)

    array = ros.wait_for(drawn, 'an ellipsoid, a label and two rays')
    assert array.markers[0].action == Marker.DELETEALL
    ball = next(m for m in array.markers if m.ns == 'positions')
    axes = sorted((ball.scale.x, ball.scale.y, ball.scale.z))
    assert 0 < axes[0] < axes[2] < 0.5, 'along the depth the position is least certain'
    assert {m.text for m in array.markers if m.ns == 'tracks'} == {'4'}
    rays = [m.points for m in array.markers if m.ns == 'bearings']
    assert [ray[0].y for ray in rays] == pytest.approx([0.3, -0.3])


def test_a_depth_image_gives_the_positions_of_one_camera(ros):
    robot = Robot(ros, {'cam0': POSES['cam0']}, ('cam0',), ('-p', 'use_depth:=true'))
    depth = np.full((480, 640), 3000, np.uint16)
    place = robot.wait_for_position(depth=depth).poses[0].position
    assert np.linalg.norm(np.array([place.x, place.y, place.z]) - POINT) < 0.05


def test_a_camera_without_a_pose_is_reported(ros):
    robot = Robot(ros, {'cam0': POSES['cam0']})
    health = ros.collect(DiagnosticArray, '/diagnostics')

    def warned():
        robot.show()
        texts = [s.message for m in list(health) for s in m.status if s.name.endswith('positions')]
        return any('cam1: no transform from base_link to cam1_optical_frame' in t for t in texts)

    ros.wait_for(warned, 'the warning')


def test_faults_of_calibrations_name_the_fix(ros):
    poses = ros.make(PositionsNode)._poses
    poses._infos['cam1'] = CameraInfo(width=1280, height=720, k=K.ravel())
    assert poses.camera('cam0') is poses.camera('cam1', (640, 480)) is None
    assert poses.faults == [
        'cam0: no message on cam0/camera_info: remap the topic of the driver to it',
        'cam1: camera_info is for images of 1280x720 pixels, the images have 640x480: calibrate '
        'the camera at this size',
    ]
    poses._infos['cam1'].header.frame_id = 'lens'
    assert poses.camera('cam1', (1280, 720)) is None
    assert poses.faults[1].startswith(
        'cam1: no transform from base_link to lens: set its pose (pose1:='
    )
    poses._mounts = {'cam0': np.eye(4)}
    poses._infos['cam0'] = CameraInfo()
    assert poses.camera('cam0', (640, 480)) is None
    assert 'not calibrated' in poses.faults[0]
    assert 'set camera_info_url' in poses.faults[0]


def test_cameras_that_are_not_synchronized_are_reported(ros):
    node = ros.make(PositionsNode)
    for stamp_ns in range(MAX_UNPAIRED + 1):
        assert 'sync_slop_s' not in node._report()[1]
        node._frames.append((stamp_ns, 0, []))
        node._due()
    assert 'no agreement for 21 frames' in node._report()[1]
    node._receive_agreements(AgreementArray(header=Header(stamp=stamp_to_msg(10**9))))
    node._frames.append((10**9, node.get_clock().now().nanoseconds, []))
    assert node._due() == (10**9, [])
    assert 'sync_slop_s' not in node._report()[1]


def test_only_the_depth_images_that_are_used_are_received(ros):
    node = ros.make(PositionsNode, '-p', 'use_depth:=true')
    assert [node.count_subscribers(f'{camera}/depth') for camera in ('cam0', 'cam1')] == [1, 0]


def test_messages_that_repeat_do_not_accumulate(ros):
    node = ros.make(PositionsNode)
    array = AgreementArray(header=Header(stamp=stamp_to_msg(10**9)))

    def send(number):
        ids = [np.full(16, value, np.uint8) for value in (1, number)]
        array.agreements = [Agreement(lct_a=ids[0], lct_b=ids[1], similarity=0.9, level=2)]
        node._receive_agreements(array)
        return len(repr(node._matches))

    once = send(0)
    assert [send(0) for _ in range(10)][-1] == once, 'no further evidence'
    full = [send(number) for number in range(256)]
    assert once < full[1] < full[MAX_MATCHES - 1] == full[-1]


def test_transforms_with_names_of_any_length_are_rejected(ros):
    poses = ros.make(PositionsNode)._poses
    monitor = poses._monitors['/tf'] = InputMonitor(ros.node, '/tf', Header, qos.TF, 0)
    names = ('lens', 'x' * (MAX_NAME_CHARS + 1), 'a\nb')
    transforms = [TransformStamped(child_frame_id=name) for name in names]
    for each in transforms:
        each.header.frame_id = 'base_link'
    poses._add_transforms('/tf', False, SimpleNamespace(transforms=transforms))
    known = [poses._tree.lookup('base_link', name) is not None for name in names]
    assert known == [True, False, False]
    assert monitor.report()[1][2]['rejected'] == 2


@pytest.mark.parametrize('poses', ['cam0=1 2 3', 'cam7=0 0 0 0 0 0'])
def test_invalid_poses_are_refused(ros, poses):
    with pytest.raises(ConfigurationError, match='camera_poses'):
        ros.make(PositionsNode, '-p', f'camera_poses:={poses}')


def test_mounts_and_detections_where_their_messages_are_installed(optional_messages):
    found = optional_messages(Path(__file__).with_name('positions_with_transforms.py'))
    frames = {child: parent for parent, child in found['static']}
    assert frames == {
        'r1/cam0_link': 'r1/base_link',
        'r1/cam0_optical_frame': 'r1/cam0_link',
        'r1/cam1_link': 'r1/base_link',
        'r1/cam1_optical_frame': 'r1/cam1_link',
    }
    assert found['ids'] == ['4']
    assert np.linalg.norm(np.array(found['point']) - POINT) < 0.05
    assert found['size'] == pytest.approx(SIDE * POINT[0] / 500, rel=0.1)
    covariance = np.array(found['covariance']).reshape(6, 6)
    assert (np.linalg.eigvalsh(covariance[:3, :3]) > 0).all()
    assert not covariance[3:].any()
