# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Comparison and fusion of the frames of several cameras at one moment."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from sage_perception.core.latent import Latent, LatentKind, ModelId, Roi
from sage_perception.core.lct import LCT, Operation, Provenance
from sage_perception.trust.fusion.cross_view import (
    AGREEMENT,
    DISAGREEMENT,
    CrossViewFusion,
    agreement_evidence,
)
from sage_perception.trust.fusion.fusion import ALONE_TRUST, View, fuse
from sage_perception.trust.fusion.geometry import CameraGeometry
from sage_perception.trust.fusion.matching import Match
from sage_perception.trust.fusion.moments import AcceptedFrame, Moment, Pairing
from sage_perception.trust.fusion.synchronizer import Partner

MODEL = ModelId('m', '1', bytes(range(32)))
MEAN = np.full(4, 2.0)
CAMERAS = ('cam0', 'cam1', 'cam2')
EVEN = dict.fromkeys(CAMERAS, 1.0)
A, B, C = np.eye(4)[:3]


def an_lct(camera, direction, roi=None):
    latent = Latent(np.float32(MEAN + direction), model=MODEL, roi=roi)
    return LCT(camera, 1, 10**9, latent, (Provenance(Operation.ENCODE, camera, MODEL),), 1.0)


def a_frame(camera, *directions):
    return AcceptedFrame(10**9, [an_lct(camera, direction) for direction in directions])


def settle(frame, others=None, weights=EVEN, **options):
    partners = {camera: Partner(other, 5) for camera, other in (others or {}).items()}
    counter = itertools.count(100)
    fusion = CrossViewFusion(CAMERAS, MEAN, entity='arbiter', **options)
    return fusion.fuse(frame, partners, weights, lambda: next(counter))


def test_fuses_the_crops_that_agree_in_the_order_of_the_primary_frame():
    ours, theirs = a_frame('cam0', A, B, C), a_frame('cam1', B, A)
    moment = settle(ours, {'cam1': theirs}, {'cam0': 0.9, 'cam1': 0.5})
    (pairing,) = moment.pairings
    assert (pairing.camera, pairing.frame, pairing.delta_ns) == ('cam1', theirs, 5)
    assert [(m.a, m.b) for m in pairing.matches] == [(0, 1), (1, 0)]
    assert list(pairing.agree) == [True, True]
    assert (moment.agreements, moment.disagreements) == (2, 0)
    expected = [
        [View(ours.lcts[0], 0.9), View(theirs.lcts[1], 0.5)],
        [View(ours.lcts[1], 0.9), View(theirs.lcts[0], 0.5)],
        [View(ours.lcts[2], 0.9)],
    ]
    for lct, views, sequence in zip(moment.fused, expected, (100, 101, 102), strict=True):
        alike = fuse(views, MEAN, 'arbiter', sequence)
        assert (lct.entity_id, lct.sequence, lct.trust) == ('arbiter', sequence, alike.trust)
        assert lct.provenance == alike.provenance
        assert lct.latent.kind is LatentKind.FUSED
        np.testing.assert_array_equal(lct.latent.mean, alike.latent.mean)


def test_matches_up_to_the_threshold_are_not_fused():
    alike = A + 0.9 * B  # cosine 0.74 with A
    ours, theirs = a_frame('cam0', A), a_frame('cam1', alike)
    assert settle(ours, {'cam1': theirs}, threshold=0.7).agreements == 1
    moment = settle(ours, {'cam1': theirs}, threshold=0.75)
    assert (moment.agreements, moment.disagreements) == (0, 1)
    assert moment.fused[0].trust == pytest.approx(ALONE_TRUST)


def test_the_threshold_can_be_changed_while_running():
    fusion = CrossViewFusion(CAMERAS, MEAN, entity='arbiter', threshold=0.99)
    frame, partners = a_frame('cam0', A), {'cam1': Partner(a_frame('cam1', A + 0.9 * B), 0)}
    assert fusion.fuse(frame, partners, EVEN, lambda: 1).agreements == 0
    fusion.threshold = 0.7
    assert fusion.fuse(frame, partners, EVEN, lambda: 1).agreements == 1


def test_a_camera_without_a_weight_is_compared_but_not_fused():
    ours, theirs = a_frame('cam0', A), a_frame('cam1', A)
    moment = settle(ours, {'cam1': theirs}, {'cam0': 1.0})
    assert moment.agreements == 1
    assert moment.evidence == {'cam0': AGREEMENT, 'cam1': AGREEMENT}
    assert moment.fused[0].trust == pytest.approx(ALONE_TRUST)


def test_geometry_excludes_matches():
    def regions(frame, *xs):
        lcts = [
            replace(lct, latent=replace(lct.latent, roi=Roi(x, 0, 10, 10)))
            for lct, x in zip(frame.lcts, xs, strict=True)
        ]
        return replace(frame, lcts=lcts)

    ours = regions(a_frame('cam0', A, A), 0, 100)
    theirs = regions(a_frame('cam1', A), 100)
    geometry = {'cam1': CameraGeometry(np.eye(3), planar=True, tolerance_px=5)}
    (pairing,) = settle(ours, {'cam1': theirs}, geometry=geometry).pairings
    assert [(m.a, m.b) for m in pairing.matches] == [(1, 0)]


def test_dimension_weights_change_the_similarity():
    ours, theirs = a_frame('cam0', A + B), a_frame('cam1', A - B)
    assert settle(ours, {'cam1': theirs}).agreements == 0
    weights = np.array([1.0, 0.1, 1.0, 1.0])
    assert settle(ours, {'cam1': theirs}, weights=EVEN, threshold=0.9).agreements == 0
    fusion = CrossViewFusion(CAMERAS, MEAN, entity='arbiter', threshold=0.9, weights=weights)
    assert fusion.fuse(ours, {'cam1': Partner(theirs, 0)}, EVEN, lambda: 1).agreements == 1


def test_frames_without_crops_yield_no_fused_latents_and_no_evidence():
    for ours, theirs in [([], []), ([], [A]), ([A], [])]:
        moment = settle(a_frame('cam0', *ours), {'cam1': a_frame('cam1', *theirs)})
        assert len(moment.fused) == len(ours)
        assert moment.evidence == {}


def test_a_camera_alone_has_no_evidence():
    moment = settle(a_frame('cam0', A))
    assert moment.evidence == {}
    assert moment.fused[0].trust == pytest.approx(ALONE_TRUST)


def test_disagreement_counts_only_where_other_cameras_agree():
    ours = a_frame('cam0', A)
    agreeing, other, empty = a_frame('cam1', A), a_frame('cam2', B), a_frame('cam2')
    assert settle(ours, {'cam1': agreeing, 'cam2': other}).evidence == {
        'cam0': AGREEMENT,
        'cam1': AGREEMENT,
        'cam2': DISAGREEMENT,
    }
    assert settle(ours, {'cam2': other}).evidence == {}
    assert 'cam2' not in settle(ours, {'cam1': agreeing, 'cam2': empty}).evidence


def test_two_other_cameras_can_outvote_the_primary_one():
    moment = settle(a_frame('cam0', A), {'cam1': a_frame('cam1', B), 'cam2': a_frame('cam2', B)})
    assert moment.evidence == {'cam0': DISAGREEMENT, 'cam1': AGREEMENT, 'cam2': AGREEMENT}


def test_evidence_of_pairings():
    empty = AcceptedFrame(0, [])
    pairings = [
        Pairing('cam1', empty, 0, [Match(0, 0, 0.9)], [True]),
        Pairing('cam2', empty, 0, [Match(0, 0, 0.1)], [False]),
    ]
    centered = {'cam0': A[None], 'cam1': A[None], 'cam2': B[None]}
    expected = {'cam0': AGREEMENT, 'cam1': AGREEMENT, 'cam2': DISAGREEMENT}
    assert agreement_evidence('cam0', centered, pairings, 0.7) == expected
    assert Moment(empty, pairings, []).agreements == 1
    assert Moment(empty, pairings, []).disagreements == 1
