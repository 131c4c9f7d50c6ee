# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Three cameras, one with a differently trained model, are measured, translated and fused."""

from dataclasses import replace

import numpy as np
import pytest
from sage_msgs.msg import Crop, CropArray, LCTArray, TrustReport
from sage_msgs.srv import Align
from sensor_msgs.msg import RegionOfInterest
from std_msgs.msg import Header

from sage_perception import models
from sage_perception.bringup.graph import Camera, perception
from sage_perception.cli import keys as keyring
from sage_perception.core.lct import Operation
from sage_perception.ros.conversions.lcts import lct_from_msg
from sage_perception.ros.conversions.stamps import stamp_to_msg
from sage_perception.ros.images import image_to_msg
from sage_perception.ros.message_form import sign_message
from sage_perception.trust import TrustStore, verify
from sage_perception.trust.security.identity import Identity
from sage_perception.trust.security.keys import load_key
from sage_perception.vision.synthetic import SyntheticWorld

CAMERAS = ('cam0', 'cam1', 'cam2')
TRANSLATED = 'cam1'


class Scene:
    """Shows all cameras the same object, a few times a second."""

    def __init__(self, graph):
        self.graph = graph
        node = graph.ros.node
        self.clock = node.get_clock()
        self._crops = [node.create_publisher(CropArray, f'{c}/crops', 10) for c in CAMERAS]
        self.trusted = graph.collect(LCTArray, 'trusted')
        self.fused = graph.collect(LCTArray, 'fused')
        self.reports = graph.collect(TrustReport, 'trust_report')
        frame = SyntheticWorld(seed=1, width=128, height=128, objects=1).render(0.0)
        self.pixels = np.ascontiguousarray(frame[32:96, 32:96, ::-1])
        self._shown = 0

    def show(self):
        now = self.clock.now().nanoseconds
        if now - self._shown > 200_000_000:
            self._shown = now
            header = Header(stamp=stamp_to_msg(now), frame_id='lens')
            image = image_to_msg(self.pixels, 'rgb8', header)
            crop = Crop(image=image, roi=RegionOfInterest(width=64, height=64), track_id=1)
            for publisher in self._crops:
                publisher.publish(CropArray(header=header, crops=[crop]))

    def until(self, condition, what):
        return self.graph.wait_for(lambda: self.show() or condition(), what)

    def fused_from_all(self):
        """Return the frames that are fused from all three cameras."""
        return [a for a in list(self.fused) if a.lcts and parents(a.lcts[0]) == 3]


def parents(lct):
    return sum(step.operation == Operation.FUSE for step in lct.provenance)


@pytest.fixture(scope='module')
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp('keys')
    assert keyring.main(['create', *CAMERAS, 'arbiter', 'operator', '--dir', str(folder)]) == 0
    return folder


@pytest.fixture(scope='module')
def scene(run_graph, keys):
    signed = {'key': str(keys)}
    own = {
        TRANSLATED: {'model': 'tinyvae_128'},
        'cam2': {'encoding': 'int8'},
        '': {'keys': str(keys), 'require_signatures': True, 'sync_timeout_s': 1.0},
    }
    specs = [
        replace(spec, parameters={**spec.parameters, **signed, **own.get(spec.namespace, {})})
        for spec in perception([Camera(name) for name in CAMERAS])
        if spec.name in ('encoder', 'arbiter')
    ]
    return Scene(run_graph(specs))


def test_three_cameras_are_fused_once_per_frame_and_one_is_translated(scene, keys):
    array = scene.until(scene.fused_from_all, 'a latent fused from all three')[-1]
    assert [a.header for a in scene.fused].count(array.header) == 1
    fused = lct_from_msg(array.lcts[0])
    store = TrustStore(keys)
    assert verify(fused, store) is None
    codec = models.load('tinyvae', backend='onnxruntime')
    z = codec.encode(scene.pixels.transpose(2, 0, 1)[None].astype(np.float32) / 255)[0]
    near, scale = np.linalg.norm(fused.latent.mean - z), np.linalg.norm(z - codec.latent_mean)
    assert near < 0.25 * scale

    def of(operation):
        lcts = [lct for a in list(scene.trusted) for lct in a.lcts]
        return [lct for lct in lcts if lct.provenance[-1].operation == operation]

    translated = lct_from_msg(of(Operation.TRANSLATE)[-1])
    assert verify(translated, store) is None
    first, step = translated.provenance
    assert (first.entity_id, first.model) == (TRANSLATED, models.load('tinyvae_128').id)
    assert (step.entity_id, step.model, translated.latent.model) == ('arbiter', codec.id, codec.id)
    assert 0.7 < step.trust < 1
    # The others pass with their own signature.
    assert {lct.entity_id for lct in of(Operation.ENCODE)} == {'cam0', 'cam2'}


def test_reports_have_the_measured_trust(scene):
    def measured():
        newest = {report.entity_b: report for report in list(scene.reports)}
        return all(r.level and r.accepted for r in newest.values()) and len(newest) == 3 and newest

    reports = scene.until(measured, 'reports')
    assert [reports[c].calibrated for c in CAMERAS] == [False, True, False]
    for report in reports.values():
        assert report.compression_trust == min(report.forward, report.backward) > 0.7
        assert report.probes == 512
        assert 0.5 < report.reputation <= 1
    assert reports[TRANSLATED].reason.startswith('translated: trust 0.')
    assert reports['cam0'].reason.startswith('shared directly: trust 1.00')


def test_the_align_service_measures_again(scene, keys):
    operator = Identity('operator', load_key(keys, 'operator'))

    def align(a, b):
        request = Align.Request(entity_a=a, entity_b=b)
        signature = sign_message(request, operator, '/arbiter/align').signature
        return scene.graph.ros.ask(
            Align, 'arbiter/align', entity_a=a, entity_b=b, signature=signature
        )

    scene.until(scene.fused_from_all, 'a measurement of all cameras')
    for receiver in ('', 'cam0'):
        answer = align(receiver, TRANSLATED)
        assert (answer.success, answer.message) == (True, '')
        report = answer.report
        assert (report.entity_a, report.entity_b) == (receiver or 'arbiter', TRANSLATED)
        assert report.calibrated
        assert report.level >= TrustReport.LEVEL_MEDIUM
    there = align(TRANSLATED, 'cam0').report
    assert (there.calibrated, there.model_b.name) == (True, 'tinyvae')
    answer = align('cam0', 'cam9')
    assert not answer.success
    assert answer.message == "'cam9' is not one of the cameras cam0, cam1, cam2"
