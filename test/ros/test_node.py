# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""How nodes start, refuse to start, go through their life, and end."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.clock import ClockType
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sage_msgs.msg import Crop, CropArray, LCTArray, ModelInfo
from sage_msgs.srv import DecodeLatent, EncodeImage
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest
from std_msgs.msg import Header

from sage_perception.nodes.arbiter_node import ArbiterNode
from sage_perception.nodes.attention_node import AttentionNode
from sage_perception.nodes.camera_node import CameraNode
from sage_perception.nodes.compressor_node import CompressorNode
from sage_perception.nodes.encoder_node import EncoderNode
from sage_perception.nodes.viewer_node import ViewerNode
from sage_perception.ros import qos
from sage_perception.ros.common_parameters import AUTOSTART
from sage_perception.ros.conversions.stamps import stamp_from_msg, stamp_to_msg
from sage_perception.ros.diagnostics import WARN
from sage_perception.ros.images import image_to_msg
from sage_perception.ros.lifecycle import LifecycleNode
from sage_perception.ros.run import EXIT_CONFIGURATION, run
from sage_perception.vision.synthetic import SyntheticWorld

COMPRESSOR = 'h_to_l_hybrid'
SMALL = 'source:=synthetic://?seed=1&width=160&height=120'


def refusal(capfd, kind, *arguments):
    """Run a node that must not start; return its error message."""
    assert run(kind, ['--ros-args', *arguments]) == EXIT_CONFIGURATION
    errors = capfd.readouterr().err
    assert 'Traceback' not in errors
    lines = [line for line in errors.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1, errors
    return lines[0]


# Refusing to start


@pytest.mark.usefixtures('keep_signals')
@pytest.mark.parametrize(
    ('kind', 'arguments', 'parts'),
    [
        (CameraNode, 'source:=nonsense://x', ["parameter 'source'", 'unknown scheme nonsense']),
        (CameraNode, 'source:=synthetic://?seed=x', ["parameter 'source'", 'seed=x']),
        (CameraNode, f'{SMALL} camera_info_url:=/no/camera.yaml', ['/no/camera.yaml']),
        (CameraNode, f'{SMALL} camera_info_url:=https://x/c.yaml', ["'camera_info_url'"]),
        (CameraNode, 'source:=file:///no.avi reconnect:=false', ["parameter 'source'", '/no.avi']),
        (CameraNode, f'{SMALL} jpeg_quality:=101', ["'jpeg_quality': 101 is not 1 to 100"]),
        (EncoderNode, 'model:=nope', ["parameter 'model': 'nope'", 'tinyvae', 'folder']),
        (EncoderNode, 'model:=/no/folder', ["parameter 'model': '/no/folder'"]),
        (EncoderNode, f'model:={COMPRESSOR}', ["parameter 'model'", 'a model of images']),
        (ArbiterNode, f'model:={COMPRESSOR}', ["parameter 'model'", 'a model of images']),
        (ViewerNode, f'model:={COMPRESSOR}', ["parameter 'model'", 'a model of images']),
        (CompressorNode, 'model:=tinyvae', ["parameter 'model'", 'use a compressor of contexts']),
        (EncoderNode, 'backend:=tpu', ["'backend': 'tpu' is not one of auto, torch, onnxruntime"]),
        (EncoderNode, 'precision:=int8', ["'precision': 'int8' is not one of fp32, fp16"]),
        (EncoderNode, 'device:=abacus', ['abacus']),
        (EncoderNode, f'entity_id:={"r" * 65}', ['is no name of an entity: give 1 to 64 bytes']),
        (EncoderNode, f'entity_id:={"ü" * 40}', ['node /encoder: ', 'is no name of an entity']),
        (ViewerNode, 'model:=nope', ["parameter 'model': 'nope'"]),
        (
            ViewerNode,
            'cameras:=[a,a]',
            ["parameter 'cameras': ['a', 'a'] is not a list of distinct names"],
        ),
        (ViewerNode, 'rate:=0', ["parameter 'rate': 0.0 is not 0.1 to 30.0"]),
        (ArbiterNode, 'cameras:=[]', ["parameter 'cameras'"]),
        (ArbiterNode, 'cameras:=[a-b]', ['a-b/lcts', 'topic name']),
        (ArbiterNode, 'agreement_threshold:=2', ["'agreement_threshold': 2.0 is not -1.0 to 1.0"]),
        (
            ArbiterNode,
            'qos_overrides./trusted.publisher.reliability:=some',
            ['topic trusted', 'reliability', 'some'],
        ),
        (
            ArbiterNode,
            'qos_overrides./cam0/lcts.subscription.depth:=all',
            ['qos_overrides./cam0/lcts.subscription.depth', "'all'"],
        ),
        (AttentionNode, 'max_crops:=100', ['max_crops']),
        (AttentionNode, 'color:=pink', ['color', 'pink']),
        (AttentionNode, 'crop_size:=big', ["parameter 'crop_size': 'big' is not an integer"]),
        (AttentionNode, 'min_roi_px:=64 max_roi_px:=32', ['min_roi_px', 'max_roi_px']),
    ],
)
def test_a_node_says_in_one_line_why_it_does_not_start(capfd, kind, arguments, parts):
    given = [part for argument in arguments.split() for part in ('-p', argument)]
    message = refusal(capfd, kind, *given)
    for part in parts:
        assert part in message


@pytest.mark.usefixtures('keep_signals')
def test_files_and_arguments_that_ros_cannot_read_are_named(capfd, tmp_path):
    missing = tmp_path / 'missing.yaml'
    assert str(missing) in refusal(capfd, ArbiterNode, '--params-file', str(missing))
    broken = tmp_path / 'broken.yaml'
    broken.write_text('/**:\n  ros__parameters:\n    cameras: [a\n')
    assert str(broken) in refusal(capfd, ArbiterNode, '--params-file', str(broken))
    assert '__node:=a.b' in refusal(capfd, ArbiterNode, '-r', '__node:=a.b')
    assert '--nonsense' in refusal(capfd, ArbiterNode, '--nonsense')


@pytest.mark.usefixtures('keep_signals')
def test_a_model_folder_that_is_incomplete_is_named(capfd, tmp_path):
    message = refusal(capfd, EncoderNode, '-p', f'model:={tmp_path}')
    assert "parameter 'model'" in message
    assert str(tmp_path) in message


@pytest.mark.usefixtures('keep_signals')
def test_a_camera_that_is_lost_ends_the_node_when_it_shall_not_reconnect(tmp_path):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f'{number}.png'), np.full((48, 64, 3), number, np.uint8))

    class Doomed(CameraNode):
        def activate(self):
            super().activate()
            (tmp_path / '1.png').unlink()

    source = f'source:=images://{tmp_path}?fps=50'
    with pytest.raises(RuntimeError, match=r'camera lost: .*1\.png'):
        run(Doomed, ['--ros-args', '-p', source, '-p', 'reconnect:=false'])


# The life of nodes that hold something


def change(ros, transition):
    """Ask for a transition as `ros2 lifecycle set` does; return whether it succeeded."""
    wanted = Transition(id=getattr(Transition, f'TRANSITION_{transition}'))
    return ros.ask(ChangeState, 'under_test/change_state', transition=wanted).success


def state(ros):
    return ros.ask(GetState, 'under_test/get_state').current_state.id


def crops_of(*pictures, stamp=10**9):
    header = Header(stamp=stamp_to_msg(stamp), frame_id='camera')
    roi = RegionOfInterest(width=64, height=64)
    crops = [
        Crop(roi=roi, track_id=number + 1, image=image_to_msg(picture, 'rgb8', header))
        for number, picture in enumerate(pictures)
    ]
    return CropArray(header=header, source_width=640, source_height=480, crops=crops)


def a_image(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (64, 64, 3)).astype(np.uint8)


def test_nodes_start_by_themselves(ros):
    ros.make(EncoderNode)
    assert state(ros) == State.PRIMARY_STATE_ACTIVE


def test_a_manager_takes_an_encoder_through_its_life(ros):
    infos = ros.collect(ModelInfo, 'model_info', qos.LATCHED)
    lcts = ros.collect(LCTArray, 'lcts')
    health = ros.collect(DiagnosticArray, '/diagnostics')
    crops = ros.node.create_publisher(CropArray, 'crops', 10)
    node = ros.make(EncoderNode, '-p', 'autostart:=false')
    ros.wait_for(crops.get_subscription_count, 'a subscriber')

    def encodes():
        count = len(lcts)
        crops.publish(crops_of(a_image(), stamp=(count + 1) * 10**9))
        ros.wait_for(lambda: len(lcts) > count, 'latents')
        return len(lcts[-1].lcts) == 1

    def ignores():
        """An answer of a service proves that the crops before it were handled."""
        count = len(lcts)
        crops.publish(crops_of(a_image()))
        crops.wait_for_all_acked()
        for _ in range(3):
            state(ros)
        return len(lcts) == count

    assert state(ros) == State.PRIMARY_STATE_UNCONFIGURED
    assert not infos
    assert ignores()
    told = ros.wait_for(lambda: health and health[-1].status[-1], 'diagnostics')
    assert (told.level, told.message) == (WARN, 'no model: not configured')
    answer = ros.ask(
        EncodeImage, 'under_test/encode_image', image=crops_of(a_image()).crops[0].image
    )
    assert (answer.success, answer.message) == (False, 'the node has no model: configure it first')
    answer = ros.ask(DecodeLatent, 'under_test/decode_latent')
    assert (answer.success, answer.message) == (False, 'the node has no model: configure it first')

    for _ in range(2):
        assert not change(ros, 'ACTIVATE'), 'not before it is configured'
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


def test_a_manager_takes_a_camera_through_its_life(ros):
    images = ros.collect(Image, 'image_raw')
    node = ros.make(CameraNode, '-p', 'autostart:=false', '-p', SMALL)

    def delivers():
        count = len(images)
        return ros.wait_for(lambda: len(images) > count + 2, 'images')

    def is_quiet():
        state(ros)  # what was sent has come
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


class Unwilling(LifecycleNode):
    """Does not cease to work when it is asked for the first time."""

    PARAMETERS = (AUTOSTART,)

    def __init__(self, **options):
        self.asked = False
        super().__init__('unwilling', **options)

    def deactivate(self):
        self.asked, before = True, self.asked
        if not before:
            raise OSError('the device does not answer')


def test_a_node_that_does_not_cease_to_work_says_so_and_begins_anew(ros, capfd):
    ros.make(Unwilling)
    assert not change(ros, 'DEACTIVATE')
    assert state(ros) == State.PRIMARY_STATE_UNCONFIGURED
    assert 'OSError: the device does not answer' in capfd.readouterr().err
    assert change(ros, 'CONFIGURE')
    assert change(ros, 'ACTIVATE')
    assert change(ros, 'ACTIVE_SHUTDOWN')


def test_what_cannot_be_configured_stays_unconfigured_and_can_be_mended(ros, capfd, tmp_path):
    calibration = tmp_path / 'camera.yaml'
    arguments = ('autostart:=false', SMALL, f'camera_info_url:={calibration}')
    ros.make(CameraNode, *[part for argument in arguments for part in ('-p', argument)])
    infos = ros.collect(CameraInfo, 'camera_info')
    assert not change(ros, 'CONFIGURE')
    assert state(ros) == State.PRIMARY_STATE_UNCONFIGURED
    assert str(calibration) in capfd.readouterr().err
    health = ros.collect(DiagnosticArray, '/diagnostics')
    ros.wait_for(lambda: len(health) > 1, 'that it lives on')
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


# What a camera and attention publish


def test_every_image_comes_with_its_calibration_and_frame(ros):
    images, infos = (
        ros.collect(Image, 'robot1/left/image_raw'),
        ros.collect(CameraInfo, 'robot1/left/camera_info'),
    )
    ros.make(CameraNode, '-p', SMALL, namespace='robot1/left')
    ros.wait_for(lambda: len(images) > 3 and len(infos) > 3, 'images')
    image = images[2]
    assert image.header.frame_id == 'left_optical_frame'
    assert (image.encoding, image.width, image.height, image.step) == ('bgr8', 160, 120, 480)
    assert image.header in [info.header for info in infos]
    assert (infos[0].width, infos[0].height) == (160, 120)
    stamps = [stamp_from_msg(image.header.stamp) for image in images]
    assert stamps == sorted(set(stamps))
    now = ros.node.get_clock().now().nanoseconds
    assert 0 < now - stamps[-1] < 60e9


def test_before_simulated_time_begins_nothing_is_published(ros):
    images, infos = ros.collect(Image, 'image_raw'), ros.collect(CameraInfo, 'camera_info')
    health = ros.collect(DiagnosticArray, '/diagnostics')
    node = ros.make(CameraNode, '-p', SMALL, '-p', 'use_sim_time:=true')
    ros.wait_for(lambda: len(health) >= 2, 'two reports')
    assert node.get_clock().clock_type == ClockType.ROS_TIME
    assert not images
    assert not infos
    clock = ros.node.create_publisher(Clock, '/clock', 10)
    seconds = 500
    ros.wait_for(
        lambda: clock.publish(Clock(clock=stamp_to_msg(seconds * 10**9))) or (images and infos),
        'images',
    )
    assert all(abs(stamp_from_msg(i.header.stamp) * 1e-9 - seconds) < 10 for i in images + infos)


def feed_attention(ros, publisher, world, begin, count):
    for number in range(begin, begin + count):
        picture = world.render(number / 30, number)
        header = Header(stamp=stamp_to_msg(10**9 + number * 33_333_333), frame_id='camera')
        publisher.publish(image_to_msg(picture, 'bgr8', header))


def test_attention_refuses_what_is_no_image_and_goes_on(ros, capfd):
    crops = ros.collect(CropArray, 'crops', 100)
    health = ros.collect(DiagnosticArray, '/diagnostics')
    images = ros.node.create_publisher(Image, 'image_raw', 100)
    # It would skip some, otherwise, and not be tried with each.
    all_of_them = 'qos_overrides./image_raw.subscription'
    ros.make(
        AttentionNode,
        '-p',
        f'{all_of_them}.reliability:=reliable',
        '-p',
        f'{all_of_them}.depth:=9',
    )
    ros.wait_for(images.get_subscription_count, 'a subscriber')
    good = image_to_msg(np.zeros((120, 160, 3), np.uint8), 'bgr8', Header(frame_id='good'))
    bad = [
        Image(),
        Image(encoding='bgr8', width=160, height=120, step=480),
        Image(encoding='32FC1', width=1, height=1, step=4, data=bytes(4)),
        image_to_msg(np.zeros((8, 8, 3), np.uint8), 'bgr8', Header()),
    ]
    for message in bad:
        images.publish(message)
        images.publish(good)
    ros.wait_for(lambda: len(crops) == len(bad), 'crops')
    assert {array.header.frame_id for array in crops} == {'good'}
    count = len(health)
    ros.wait_for(lambda: len(health) > count, 'diagnostics')
    figures = {pair.key: pair.value for pair in health[-1].status[0].values}
    assert (figures['received'], figures['rejected']) == ('8', '4')
    assert "/image_raw: encoding '' is not one of bgr8" in capfd.readouterr().err


def test_attention_is_tuned_while_it_runs(ros):
    crops = ros.collect(CropArray, 'crops', 100)
    images = ros.node.create_publisher(Image, 'image_raw', 100)
    ros.make(AttentionNode)
    ros.wait_for(images.get_subscription_count, 'a subscriber')
    world = SyntheticWorld(seed=2, width=320, height=240)

    def sides(begin):
        feed = iter(range(begin, begin + 3000))

        def step():
            feed_attention(ros, images, world, next(feed), 1)
            return crops and crops[-1].crops and {c.image.width for c in crops[-1].crops}

        return ros.wait_for(step, 'crops')

    assert sides(0) == {64}
    before = ros.ask(
        SetParametersAtomically,
        'under_test/set_parameters_atomically',
        parameters=[Parameter('min_roi_px', value=4000).to_parameter_msg()],
    ).result
    assert not before.successful
    assert 'max_roi_px' in before.reason
    after = ros.ask(
        SetParametersAtomically,
        'under_test/set_parameters_atomically',
        parameters=[Parameter('crop_size', value=32).to_parameter_msg()],
    ).result
    assert after.successful
    crops.clear()
    assert sides(3000) == {32}


STUCK = """
import os, signal, sys, threading, time
from sage_perception.ros.endpoints import Node
from sage_perception.ros.run import run

class Stuck(Node):
    def __init__(self, **options):
        super().__init__('stuck', **options)
    def setup(self):
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    def destroy_node(self):
        time.sleep(60)

sys.exit(run(Stuck, []))
"""


def test_a_node_that_the_middleware_does_not_let_go_says_where_and_ends():
    done = subprocess.run(
        [sys.executable, '-c', STUCK], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert 'Timeout (0:00:03)!' in done.stderr
    assert 'in destroy_node' in done.stderr
