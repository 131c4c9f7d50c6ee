# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Nodes as processes: configuration errors, exit codes and shutdown."""

import subprocess
import sys

import pytest

from sage_perception.bringup.respawn import CONFIGURATION_ERROR
from sage_perception.nodes.arbiter_node import ArbiterNode
from sage_perception.nodes.attention_node import AttentionNode
from sage_perception.nodes.camera_node import CameraNode
from sage_perception.nodes.compressor_node import CompressorNode
from sage_perception.nodes.encoder_node import EncoderNode
from sage_perception.nodes.viewer_node import ViewerNode
from sage_perception.ros.errors import ConfigurationError
from sage_perception.ros.run import run

COMPRESSOR = 'h_to_l_hybrid'
SMALL = 'source:=synthetic://?seed=1&width=160&height=120'


def start_error(capfd, kind, *arguments):
    """Run a node that must not start; return its line on stderr."""
    assert run(kind, ['--ros-args', *arguments]) == CONFIGURATION_ERROR
    errors = capfd.readouterr().err
    assert 'Traceback' not in errors
    lines = [line for line in errors.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1, errors
    return lines[0]


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
        (
            EncoderNode,
            'backend:=tpu',
            ["'backend': 'tpu' is not one of auto, torch, onnxruntime, tensorrt"],
        ),
        (EncoderNode, 'precision:=int8', ["'precision': 'int8' is not one of fp32, fp16"]),
        (EncoderNode, 'device:=abacus', ['abacus']),
        (EncoderNode, f'entity_id:={"r" * 65}', ['is not a valid entity id: give 1 to 64 char']),
        (EncoderNode, f'entity_id:={"ü" * 40}', ['node /encoder: ', 'is not a valid entity id']),
        (ViewerNode, 'model:=nope', ["parameter 'model': 'nope'"]),
        (
            ViewerNode,
            'cameras:=[a,a]',
            ["parameter 'cameras': ['a', 'a'] is not a list of distinct names"],
        ),
        (ViewerNode, 'rate:=0', ["parameter 'rate': 0.0 is not 0.1 to 30.0"]),
        (ArbiterNode, 'cameras:=[]', ["parameter 'cameras'"]),
        (ArbiterNode, 'cameras:=[a-b]', ['a-b/', 'topic name']),
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
def test_node_with_invalid_configuration_exits_with_one_line(capfd, kind, arguments, parts):
    given = [part for argument in arguments.split() for part in ('-p', argument)]
    message = start_error(capfd, kind, *given)
    for part in parts:
        assert part in message


@pytest.mark.usefixtures('keep_signals')
def test_unreadable_files_and_arguments_are_named(capfd, tmp_path):
    missing = tmp_path / 'missing.yaml'
    assert str(missing) in start_error(capfd, ArbiterNode, '--params-file', str(missing))
    broken = tmp_path / 'broken.yaml'
    broken.write_text('/**:\n  ros__parameters:\n    cameras: [a\n')
    assert str(broken) in start_error(capfd, ArbiterNode, '--params-file', str(broken))
    assert '__node:=a.b' in start_error(capfd, ArbiterNode, '-r', '__node:=a.b')
    assert '--nonsense' in start_error(capfd, ArbiterNode, '--nonsense')


@pytest.mark.usefixtures('keep_signals')
def test_incomplete_model_folder_is_named(capfd, tmp_path):
    message = start_error(capfd, EncoderNode, '-p', f'model:={tmp_path}')
    assert "parameter 'model'" in message
    assert str(tmp_path) in message


@pytest.mark.parametrize(
    ('kind', 'arguments'),
    [
        (ArbiterNode, 'agreement_threshold:=2'),  # its parameters are invalid
        (ArbiterNode, f'model:={COMPRESSOR}'),  # without a lifecycle
        (EncoderNode, 'model:=nope'),  # its transition fails
    ],
)
def test_node_that_cannot_start_is_destroyed(ros, kind, arguments):
    with pytest.raises(ConfigurationError) as caught:
        ros.make(kind, '-p', arguments, name='broken')
    # The traceback keeps the node: the garbage collector has not found it.
    assert caught.tb is not None
    ros.wait_for(lambda: 'broken' not in ros.node.get_node_names(), 'the end of the node')


STUCK = """
import os, signal, sys, threading, time
from sage_perception.ros.endpoints import Node
from sage_perception.ros.errors import ConfigurationError
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


def test_blocked_shutdown_prints_traceback_and_exits():
    done = subprocess.run(
        [sys.executable, '-c', STUCK], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert 'Timeout (0:00:03)!' in done.stderr
    assert 'in destroy_node' in done.stderr
