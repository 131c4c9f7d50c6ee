# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The two-camera graph in one process: the same graph as in processes of its own nodes."""

import os
import re
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
from lifecycle_msgs.srv import GetState
from sage_msgs.msg import AgreementArray, CropArray, LCTArray, ModelInfo, TrustReport
from sensor_msgs.msg import CameraInfo, Image

from sage_perception import models
from sage_perception.bringup.composition import compose
from sage_perception.bringup.graph import Camera, dual_camera
from sage_perception.ros import qos
from sage_perception.ros.conversions.latents import latent_from_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg
from sage_perception.ros.images import rgb_from_msg

WORLD = 'synthetic://?seed=1&width=320&height=240&fps=15&lock=wall'
CAMERAS = (Camera('cam0', WORLD), Camera('cam1', f'{WORLD}&gain=1.1'))
NODES = {f'/robot1/{spec.path}' for spec in dual_camera(CAMERAS)}
RECOVERY_S = 5.0  # on an idle machine
IDLE = os.getloadavg()[0] < 0.5 * (os.cpu_count() or 1)


@pytest.fixture(scope='module', params=['graph', 'camera'])
def graph(run_graph, request):
    specs = [
        replace(spec, parameters={**spec.parameters, 'measure_every': 3, 'encoding': 'float32'})
        if spec.name == 'encoder'
        else spec
        for spec in dual_camera(CAMERAS, namespace='robot1')
    ]
    graph = run_graph(compose(specs, request.param))
    graph.topics = {
        name: graph.collect(kind, f'robot1/{name}', last=100)
        for name, kind in {
            'cam0/camera_info': CameraInfo,
            'cam0/lcts': LCTArray,
            'cam1/lcts': LCTArray,
            'trusted': LCTArray,
            'fused': LCTArray,
            'agreement': AgreementArray,
            'trust_report': TrustReport,
        }.items()
    }
    graph.health()
    wait_for_fusion(graph)
    return graph


def wait_for_fusion(graph):
    graph.topics['agreement'].clear()
    graph.wait_for(
        lambda: any(a.agreements for a in list(graph.topics['agreement'])), 'an agreement'
    )


def stamps(messages):
    return [stamp_from_msg(message.header.stamp) for message in list(messages)]


def test_nodes_and_topics_are_those_of_separate_processes(graph):
    node = graph.ros.node

    def names():
        found = node.get_node_names_and_namespaces()
        return {f'{namespace.rstrip("/")}/{name}' for name, namespace in found}

    graph.wait_for(lambda: names() >= NODES, 'the names of all nodes')

    def topics(name, namespace, direction):
        found = getattr(node, f'get_{direction}_names_and_types_by_node')(name, namespace)
        return {topic for topic, _ in found}

    def attention():
        published = topics('attention', '/robot1/cam0', 'publisher')
        return (
            '/robot1/cam0/crops' in published
            and '/robot1/cam0/image_raw' in topics('attention', '/robot1/cam0', 'subscriber')
            and '/diagnostics' in published
        )

    graph.wait_for(attention, 'the topics of attention')
    state = graph.ros.ask(GetState, '/robot1/cam1/encoder/get_state').current_state
    assert state.label == 'active'


def test_every_frame_is_encoded_once(graph):
    infos, lcts = graph.topics['cam0/camera_info'], graph.topics['cam0/lcts']
    infos.clear()
    graph.wait_for(lambda: len(infos) > 45, 'frames')
    published, encoded = stamps(infos)[:40], stamps(lcts)
    assert len(encoded) == len(set(encoded))
    found = sum(stamp in encoded for stamp in published)
    assert found >= (0.95 if IDLE else 0.5) * len(published)


def test_a_subscriber_outside_receives_images_and_crops(graph):
    images = graph.collect(Image, 'robot1/cam0/image_raw', last=2)
    crops = graph.collect(CropArray, 'robot1/cam0/crops', last=2)
    graph.wait_for(lambda: len(images) == 2 and len(crops) == 2, 'images and crops')
    assert images[0].width * images[0].height * 3 == len(images[0].data)
    for received in (images, crops):
        graph.ros.forget(received)


def test_latents_are_those_of_the_crops(graph):
    crops = graph.collect(CropArray, 'robot1/cam0/crops', last=60)
    lcts = graph.topics['cam0/lcts']
    infos = graph.collect(ModelInfo, 'robot1/cam0/model_info', qos.LATCHED)
    info = graph.wait_for(lambda: infos and infos[0], 'the latched model_info')

    def both():
        by_stamp = {stamp_from_msg(a.header.stamp): a for a in list(lcts) if a.lcts}
        for array in list(crops):
            found = by_stamp.get(stamp_from_msg(array.header.stamp))
            if found is not None:
                return array, found
        return None

    array, found = graph.wait_for(both, 'crops and LCTs of one frame')
    graph.ros.forget(crops)
    codec = models.load('tinyvae', backend=info.backend)
    images = np.stack([rgb_from_msg(crop.image) for crop in array.crops])
    mean, _ = codec.encode_stats(images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    assert np.array_equal(np.stack([latent_from_msg(lct.latent).mean for lct in found.lcts]), mean)


def test_diagnostics_have_no_problem_and_no_message_arrives_twice(graph):
    graph.wait_until_healthy()
    assert {f'/{name.rpartition(":")[0]}' for name in graph.health()} == NODES
    # A second copy of an LCT would be rejected as a replay.
    report = graph.wait_for(
        lambda: list(graph.topics['trust_report'])[-1:], 'the report of the arbiter'
    )[0]
    assert report.accepted > 0
    assert report.refused == 0


def test_killed_process_is_whole_again(graph, record_property):
    name = next(path for path in graph.runner.processes if path.endswith('container'))
    old = graph.pid(name)
    os.kill(old, signal.SIGKILL)
    start_s = time.monotonic()
    graph.wait_for(
        lambda: graph.runner.processes[name].pid not in (None, old), f'the restart of {name}'
    )
    for messages in graph.topics.values():
        messages.clear()
    wait_for_fusion(graph)
    graph.wait_for(
        lambda: all(any(a.lcts for a in list(graph.topics[f'cam{n}/lcts'])) for n in (0, 1)),
        'LCTs of both cameras',
    )
    recovery_s = time.monotonic() - start_s
    record_property('recovery_s', recovery_s)
    assert recovery_s < (RECOVERY_S if IDLE else 30)
    assert not re.search('refused|rejected', graph.written()), 'a restart is not a replay'


def test_stopped_process_leaves_no_error(graph):
    exit_codes = graph.runner.stop()
    assert set(exit_codes.values()) <= {0}, graph.written()
    assert 'Traceback' not in graph.written()
