# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The two-camera graph of a robot in a namespace, as processes."""

import itertools
import os
import re
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
from sage_msgs.msg import Agreement, AgreementArray, CropArray, LCTArray, ModelInfo, TrustReport
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from visualization_msgs.msg import MarkerArray

from sage_perception import models
from sage_perception.bringup.graph import Camera, dual_camera
from sage_perception.ros import qos
from sage_perception.ros.conversions.latents import latent_from_msg
from sage_perception.ros.conversions.lcts import lct_from_msg
from sage_perception.ros.conversions.stamps import stamp_from_msg
from sage_perception.ros.images import bgr_from_msg, rgb_from_msg
from sage_perception.trust.fusion.fusion import ALONE_TRUST
from sage_perception.trust.security.validation import find_fault
from sage_perception.vision.synthetic import SyntheticWorld

FPS = 15
WORLD = f'synthetic://?seed=1&width=320&height=240&fps={FPS}&lock=wall'
# Both cameras show the same objects, the second one brighter.
CAMERAS = (Camera('cam0', WORLD), Camera('cam1', f'{WORLD}&gain=1.1'))
# Time to recover from a killed node on an idle machine.
RECOVERY_S = 5.0
IDLE = os.getloadavg()[0] < 0.5 * (os.cpu_count() or 1)


@pytest.fixture(scope='module')
def graph(run_graph):
    specs = [
        # Measure the reconstruction error of every frame.
        replace(spec, parameters={'measure_every': 1, 'encoding': 'float32'})
        if spec.name == 'encoder'
        else spec
        for spec in dual_camera(CAMERAS, namespace='robot1')
    ]
    graph = run_graph(specs)
    graph.topics = {
        # Keep the messages of some seconds only.
        name: graph.collect(kind, f'robot1/{name}', last=60)
        for name, kind in {
            'cam0/image_raw': Image,
            'cam0/crops': CropArray,
            'cam0/lcts': LCTArray,
            'cam1/lcts': LCTArray,
            'trusted': LCTArray,
            'fused': LCTArray,
            'agreement': AgreementArray,
        }.items()
    }
    graph.mosaics = graph.collect(Image, 'robot1/mosaic', last=2)
    graph.health()
    graph.wait_for(lambda: any(is_high(a) for a in list(graph.topics['agreement'])), 'agreement')
    return graph


def is_high(array):
    return any(agreement.level == Agreement.LEVEL_HIGH for agreement in array.agreements)


def key(message):
    return stamp_from_msg(message.header.stamp), message.header.frame_id


def complete(graph):
    """Return the messages of one frame by topic, from the image to the fused LCTs."""
    topics = ('cam0/image_raw', 'cam0/crops', 'cam0/lcts', 'fused', 'agreement')

    def found():
        by_key = [{key(m): m for m in list(graph.topics[name])} for name in topics]
        agreed = [k for k, m in by_key[-1].items() if is_high(m)]
        whole = [k for k in agreed if all(k in messages for messages in by_key)]
        return whole and {name: by_key[n][whole[-1]] for n, name in enumerate(topics)}

    return graph.wait_for(found, 'a frame with all messages')


def test_all_messages_have_the_header_of_the_image(graph):
    frame = complete(graph)
    image, crops, lcts = (frame[f'cam0/{name}'] for name in ('image_raw', 'crops', 'lcts'))
    assert image.header.frame_id == 'cam0_optical_frame'
    assert image.header.stamp.sec > 0
    for message in frame.values():
        assert message.header == image.header
    for crop in crops.crops:
        assert crop.image.header == image.header
    for message in (crops, lcts, frame['fused']):
        assert (message.source_width, message.source_height) == (image.width, image.height)
    for lct in (*lcts.lcts, *frame['fused'].lcts):
        assert lct.stamp == image.header.stamp
    regions = [crop.roi for crop in crops.crops]
    assert [lct.latent.roi for lct in lcts.lcts] == regions
    assert [lct.latent.roi for lct in frame['fused'].lcts] == regions
    tracks = [crop.track_id for crop in crops.crops]
    assert [lct.latent.track_id for lct in frame['fused'].lcts] == tracks


def test_images_show_the_world_at_their_stamp(graph):
    world = SyntheticWorld(seed=1, width=320, height=240)
    image = complete(graph)['cam0/image_raw']
    tick = round(stamp_from_msg(image.header.stamp) * 1e-9 * FPS)
    assert np.array_equal(bgr_from_msg(image), world.render(tick / FPS, tick))


def test_crops_are_cut_from_their_image(graph):
    frame = complete(graph)
    image = rgb_from_msg(frame['cam0/image_raw']).astype(float)
    for crop in frame['cam0/crops'].crops:
        roi = crop.roi
        region = image[roi.y_offset : roi.y_offset + roi.height, roi.x_offset :][:, : roi.width]
        assert region.shape[:2] == (roi.height, roi.width), 'the region is inside the image'
        crop_image = rgb_from_msg(crop.image).astype(float)
        assert np.abs(crop_image.mean(axis=(0, 1)) - region.mean(axis=(0, 1))).max() < 8


def test_latents_equal_those_of_the_model(graph):
    infos = graph.collect(ModelInfo, 'robot1/cam0/model_info', qos.LATCHED)
    info = graph.wait_for(lambda: infos and infos[0], 'the latched model_info')
    codec = models.load('tinyvae', backend=info.backend)
    frame = complete(graph)
    crops, lcts = frame['cam0/crops'].crops, frame['cam0/lcts'].lcts
    images = np.stack([rgb_from_msg(crop.image) for crop in crops])
    x = images.transpose(0, 3, 1, 2).astype(np.float32) / 255
    mean, log_var = codec.encode_stats(x)
    values = [latent_from_msg(lct.latent) for lct in lcts]
    assert np.array_equal(np.stack([value.mean for value in values]), mean)
    assert np.array_equal(np.stack([value.log_var for value in values]), log_var)
    error = np.square(codec.decode(mean) - x).mean(axis=(1, 2, 3))
    assert [v.telemetry.reconstruction_error for v in values] == pytest.approx(error, rel=1e-5)
    assert all(value.model == codec.id for value in values)
    assert bytes(info.model.fingerprint) == codec.id.fingerprint


def test_lcts_are_valid_numbered_and_of_their_camera(graph):
    for camera in ('cam0', 'cam1'):
        lcts = [
            lct_from_msg(lct)
            for array in list(graph.topics[f'{camera}/lcts'])
            for lct in array.lcts
        ]
        assert lcts
        assert {lct.entity_id for lct in lcts} == {f'robot1/{camera}'}
        assert {find_fault(lct) for lct in lcts} == {None}
        assert len({lct.id for lct in lcts}) == len(lcts)
        sequences = [(lct.sequence, lct.index) for lct in lcts]
        assert all(b > a for a, b in itertools.pairwise(sequences))


def test_accepted_lcts_are_forwarded_unchanged(graph):
    sent = {
        bytes(lct.id): lct
        for name in ('cam0/lcts', 'cam1/lcts')
        for array in list(graph.topics[name])
        for lct in array.lcts
    }
    trusted = [lct for array in list(graph.topics['trusted']) for lct in array.lcts]
    known = [lct for lct in trusted if bytes(lct.id) in sent]
    assert known
    assert all(lct == sent[bytes(lct.id)] for lct in known)
    assert {lct.entity_id for lct in known} == {'robot1/cam0', 'robot1/cam1'}


def test_matches_are_fused_and_other_lcts_lose_trust(graph):
    frame = complete(graph)
    own = {bytes(lct.id): lct_from_msg(lct) for lct in frame['cam0/lcts'].lcts}
    high = {
        bytes(a.lct_a): a for a in frame['agreement'].agreements if a.level == Agreement.LEVEL_HIGH
    }
    for fused in map(lct_from_msg, frame['fused'].lcts):
        assert find_fault(fused) is None
        assert fused.entity_id == 'robot1/arbiter'
        steps = fused.provenance[1:]
        source = own[steps[0].parent_id]
        assert fused.provenance[0] == source.provenance[0]
        if steps[0].parent_id in high:
            match = high[steps[0].parent_id]
            assert [step.parent_id for step in steps[1:]] == [bytes(match.lct_b)]
            assert match.log_ratio > 0
            assert 0.5 * ALONE_TRUST < fused.trust / source.trust <= 1
        else:
            assert len(steps) == 1
            assert 0.5 * ALONE_TRUST < fused.trust / source.trust <= ALONE_TRUST
            assert np.array_equal(fused.latent.mean, source.latent.mean)


def test_arbiter_reports_on_each_camera(graph):
    reports = graph.collect(TrustReport, 'robot1/trust_report')

    def measured():
        newest = {report.entity_b: report for report in list(reports)}
        levels = [report.level for report in newest.values()]
        return levels == [TrustReport.LEVEL_HIGH] * 2 and newest

    for report in graph.wait_for(measured, 'reports').values():
        assert report.entity_a == 'robot1/arbiter'
        assert report.compression_trust == pytest.approx(1.0, abs=1e-3)
        assert (report.probes, report.calibrated) == (512, False)
        assert 0.5 < report.reputation <= 1
        assert report.accepted > 0
        assert report.refused == 0


def test_viewer_publishes_images_and_markers(graph):
    shown = {
        name: graph.collect(kind, f'robot1/{name}', last=2)
        for name, kind in {
            'mosaic/compressed': CompressedImage,
            'cam0/crop_image': Image,
            'cam1/reconstruction': Image,
            'cam0/markers': MarkerArray,
            'cam0/image_raw/compressed': CompressedImage,
            'cam0/camera_info': CameraInfo,
        }.items()
    }
    graph.wait_for(lambda: all(shown.values()), 'images')
    image = graph.wait_for(lambda: graph.mosaics and graph.mosaics[-1], 'the mosaic')
    assert len(image.data) == image.step * image.height > 0
    graph.wait_for(lambda: len(shown['cam0/markers'][-1].markers) > 2, 'markers')
    for name in ('cam0/crop_image', 'cam1/reconstruction'):
        assert rgb_from_msg(shown[name][0]).std() > 0
        assert shown[name][0].header.frame_id == f'{name[:4]}_optical_frame'
    for name in ('mosaic/compressed', 'cam0/image_raw/compressed'):
        assert bytes(shown[name][0].data[:2]) == b'\xff\xd8', 'JPEG'
    for received in shown.values():
        graph.ros.forget(received)


def test_nodes_stay_in_their_namespace(graph):
    common = {'/diagnostics', '/parameter_events', '/rosout', '/clock'}
    node = graph.ros.node

    def names():
        found = node.get_node_names_and_namespaces()
        return {f'{namespace.rstrip("/")}/{name}' for name, namespace in found}

    def endpoints(path):
        namespace, _, name = path.rpartition('/')
        found = [
            *node.get_publisher_names_and_types_by_node(name, namespace),
            *node.get_subscriber_names_and_types_by_node(name, namespace),
        ]
        # Every node has topics of its own and the common ones.
        own = [topic for topic, _ in found if topic.startswith('/robot1/')]
        services = node.get_service_names_and_types_by_node(name, namespace)
        return len(own) >= 2 and ({topic for topic, _ in found}, [s for s, _ in services])

    ours = {f'/{path}' for path in graph.runner.processes}
    graph.wait_for(lambda: ours <= names(), 'the names of all nodes')
    for path in ours:
        topics, services = graph.wait_for(lambda p=path: endpoints(p), f'the topics of {path}')
        outside = {topic for topic in topics if not topic.startswith('/robot1/')}
        assert outside <= common
        assert all(service.startswith(f'{path}/') for service in services)


def test_diagnostics_become_ok(graph):
    graph.wait_until_healthy()
    nodes = {name.rpartition(':')[0] for name in graph.health()}
    assert nodes == set(graph.runner.processes)


@pytest.mark.parametrize('node', [spec.path for spec in dual_camera(CAMERAS, namespace='robot1')])
def test_graph_recovers_from_a_killed_node(graph, node, record_property):
    old = graph.pid(node)
    others = {
        path: process.pid for path, process in graph.runner.processes.items() if path != node
    }
    os.kill(old, signal.SIGKILL)
    start_s = time.monotonic()
    new = graph.wait_for(
        lambda: (
            graph.runner.processes[node].pid not in (None, old)
            and graph.runner.processes[node].pid
        ),
        f'the restart of {node}',
    )
    # Only messages from now on count.
    for messages in (*graph.topics.values(), graph.mosaics):
        messages.clear()
    graph.wait_for(lambda: any(is_high(a) for a in list(graph.topics['agreement'])), 'agreement')
    graph.wait_for(lambda: graph.mosaics, 'an image')
    frame = complete(graph)
    recovery_s = time.monotonic() - start_s
    record_property('recovery_s', recovery_s)
    assert recovery_s < (RECOVERY_S if IDLE else 30)
    assert frame['fused'].lcts
    assert not re.search('refused|rejected', graph.written()), 'a restart is not a replay'
    assert new != old
    assert {
        path: process.pid for path, process in graph.runner.processes.items() if path != node
    } == others
