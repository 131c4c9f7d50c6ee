# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The transitions of lifecycle nodes."""

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from sage_msgs.msg import Crop, CropArray, LCTArray, ModelInfo
from sage_msgs.srv import DecodeLatent, EncodeImage
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest
from std_msgs.msg import Header

from sage_perception.nodes.camera_node import CameraNode
from sage_perception.nodes.encoder_node import EncoderNode
from sage_perception.ros import qos
from sage_perception.ros.common_parameters import AUTOSTART
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.diagnostics import WARN
from sage_perception.ros.images import image_to_msg
from sage_perception.ros.lifecycle import LifecycleNode

SMALL = 'source:=synthetic://?seed=1&width=160&height=120'


def change(ros, transition):
    """Request a transition as `ros2 lifecycle set` does; return whether it succeeded."""
    wanted = Transition(id=getattr(Transition, f'TRANSITION_{transition}'))
    return ros.ask(ChangeState, 'under_test/change_state', transition=wanted).success


def state(ros):
    return ros.ask(GetState, 'under_test/get_state').current_state.id


def crops_of(*images, stamp=10**9):
    header = Header(stamp=stamp_to_msg(stamp), frame_id='camera')
    roi = RegionOfInterest(width=64, height=64)
    crops = [
        Crop(roi=roi, track_id=number + 1, image=image_to_msg(image, 'rgb8', header))
        for number, image in enumerate(images)
    ]
    return CropArray(header=header, source_width=640, source_height=480, crops=crops)


def random_image(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (64, 64, 3)).astype(np.uint8)


def test_autostart_activates_the_node(ros):
    ros.make(EncoderNode)
    assert state(ros) == State.PRIMARY_STATE_ACTIVE


def test_encoder_transitions(ros):
    infos = ros.collect(ModelInfo, 'model_info', qos.LATCHED)
    lcts = ros.collect(LCTArray, 'lcts')
    health = ros.collect(DiagnosticArray, '/diagnostics')
    crops = ros.node.create_publisher(CropArray, 'crops', 10)
    node = ros.make(EncoderNode, '-p', 'autostart:=false')
    ros.wait_for(crops.get_subscription_count, 'a subscriber')

    def encodes():
        count = len(lcts)
        crops.publish(crops_of(random_image(), stamp=(count + 1) * 10**9))
        ros.wait_for(lambda: len(lcts) > count, 'latents')
        return len(lcts[-1].lcts) == 1

    def ignores():
        """Return whether nothing is published; a service response follows handled crops."""
        count = len(lcts)
        crops.publish(crops_of(random_image()))
        crops.wait_for_all_acked()
        for _ in range(3):
            state(ros)
        return len(lcts) == count

    assert state(ros) == State.PRIMARY_STATE_UNCONFIGURED
    assert not infos
    assert ignores()
    status = ros.wait_for(lambda: health and health[-1].status[-1], 'diagnostics')
    assert (status.level, status.message) == (WARN, 'no model: not configured')
    answer = ros.ask(
        EncodeImage, 'under_test/encode_image', image=crops_of(random_image()).crops[0].image
    )
    assert (answer.success, answer.message) == (False, 'the node has no model: configure it first')
    answer = ros.ask(DecodeLatent, 'under_test/decode_latent')
    assert (answer.success, answer.message) == (False, 'the node has no model: configure it first')

    for _ in range(2):
        assert not change(ros, 'ACTIVATE'), 'the node is not configured'
        assert change(ros, 'CONFIGURE')
        assert state(ros) == State.PRIMARY_STATE_INACTIVE
        ros.wait_for(lambda: infos, 'the model')
        assert ignores()
        assert change(ros, 'ACTIVATE')
        assert state(ros) == State.PRIMARY_STATE_ACTIVE
        assert encodes()
        assert change(ros, 'DEACTIVATE')
        assert state(ros) == State.PRIMARY_STATE_INACTIVE
        assert ignores()
        assert change(ros, 'ACTIVATE')
        assert encodes()
        assert change(ros, 'DEACTIVATE')
        assert change(ros, 'CLEANUP')
        assert state(ros) == State.PRIMARY_STATE_UNCONFIGURED
        assert ignores()
        infos.clear()
    assert change(ros, 'UNCONFIGURED_SHUTDOWN')
    assert state(ros) == State.PRIMARY_STATE_FINALIZED
    assert not node.active


def test_camera_transitions(ros):
    images = ros.collect(Image, 'image_raw')
    node = ros.make(CameraNode, '-p', 'autostart:=false', '-p', SMALL)

    def delivers():
        count = len(images)
        return ros.wait_for(lambda: len(images) > count + 2, 'images')

    def is_quiet():
        state(ros)  # all images that were sent have been received
        count = len(images)
        for _ in range(5):
            state(ros)
        return len(images) == count

    assert state(ros) == State.PRIMARY_STATE_UNCONFIGURED
    assert is_quiet()
    for _ in range(2):
        assert change(ros, 'CONFIGURE')
        assert is_quiet()
        assert change(ros, 'ACTIVATE')
        assert delivers()
        assert change(ros, 'DEACTIVATE')
        assert is_quiet()
        assert change(ros, 'ACTIVATE')
        assert delivers()
        assert change(ros, 'DEACTIVATE')
        assert change(ros, 'CLEANUP')
        assert state(ros) == State.PRIMARY_STATE_UNCONFIGURED
    assert change(ros, 'CONFIGURE')
    assert change(ros, 'ACTIVATE')
    assert delivers()
    assert change(ros, 'ACTIVE_SHUTDOWN')
    assert state(ros) == State.PRIMARY_STATE_FINALIZED
    assert not node.active


class FailsToDeactivate(LifecycleNode):
    """Raises at its first deactivation."""

    PARAMETERS = (AUTOSTART,)

    def __init__(self, **options):
        self.asked = False
        super().__init__('fails', **options)

    def deactivate(self):
        self.asked, before = True, self.asked
        if not before:
            raise OSError('the device does not answer')


def test_failed_deactivation_is_logged_and_node_can_be_configured_again(ros, capfd):
    ros.make(FailsToDeactivate)
    assert not change(ros, 'DEACTIVATE')
    assert state(ros) == State.PRIMARY_STATE_UNCONFIGURED
    assert 'OSError: the device does not answer' in capfd.readouterr().err
    assert change(ros, 'CONFIGURE')
    assert change(ros, 'ACTIVATE')
    assert change(ros, 'ACTIVE_SHUTDOWN')


def test_failed_configuration_can_be_repeated_after_the_fix(ros, capfd, tmp_path):
    calibration = tmp_path / 'camera.yaml'
    arguments = ('autostart:=false', SMALL, f'camera_info_url:={calibration}')
    ros.make(CameraNode, *[part for argument in arguments for part in ('-p', argument)])
    infos = ros.collect(CameraInfo, 'camera_info')
    assert not change(ros, 'CONFIGURE')
    assert state(ros) == State.PRIMARY_STATE_UNCONFIGURED
    assert str(calibration) in capfd.readouterr().err
    health = ros.collect(DiagnosticArray, '/diagnostics')
    ros.wait_for(lambda: len(health) > 1, 'diagnostics of the running node')
    matrices = {'camera_matrix': 9, 'rectification_matrix': 9, 'projection_matrix': 12}
    calibration.write_text(
        'image_width: 160\nimage_height: 120\ndistortion_model: plumb_bob\n'
        'distortion_coefficients: {data: []}\n'
        + ''.join(f'{name}: {{data: {[2.0] * size}}}\n' for name, size in matrices.items())
    )
    assert change(ros, 'CONFIGURE')
    assert change(ros, 'ACTIVATE')
    info = ros.wait_for(lambda: infos and infos[0], 'the calibration')
    assert list(info.k) == [2.0] * 9
