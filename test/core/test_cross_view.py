# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Comparison and fusion of the frames of several cameras at one moment."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from sage_perception.core.latent import Latent, LatentKind, ModelId, Roi
from sage_perception.core.lct import LCT, Operation, Provenance
from sage_perception.trust.fusion.comparison import CosineComparer
from sage_perception.trust.fusion.cross_view import CONTRADICTED_WEIGHT, CrossViewFusion
from sage_perception.trust.fusion.fusion import ALONE_TRUST, View, fuse
from sage_perception.trust.fusion.geometry import CameraGeometry
from sage_perception.trust.fusion.majority import (
    AGREEMENT,
    CONTRADICTION,
    DISAGREEMENT,
    agreement_evidence,
    agreement_groups,
)
from sage_perception.trust.fusion.matching import Match
from sage_perception.trust.fusion.moments import AcceptedFrame, Moment, Pairing
from sage_perception.trust.fusion.synchronizer import Partner

MODEL = ModelId('m', '1', bytes(range(32)))
MEAN = np.full(4, 2.0)
CAMERAS = ('cam0', 'cam1', 'cam2', 'cam3', 'cam4')
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
    if 'threshold' in options:
        options['comparer'] = CosineComparer(MEAN, threshold=options.pop('threshold'))
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
    comparer = CosineComparer(MEAN, threshold=0.99)
    fusion = CrossViewFusion(CAMERAS, MEAN, entity='arbiter', comparer=comparer)
    frame, partners = a_frame('cam0', A), {'cam1': Partner(a_frame('cam1', A + 0.9 * B), 0)}
    assert fusion.fuse(frame, partners, EVEN, lambda: 1).agreements == 0
    comparer.threshold = 0.7
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
    comparer = CosineComparer(MEAN, weights, 0.9)
    fusion = CrossViewFusion(CAMERAS, MEAN, entity='arbiter', comparer=comparer, weights=weights)
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
    groups = agreement_groups('cam0', centered, pairings, lambda *_: [False])
    assert agreement_evidence(groups) == expected
    assert agreement_evidence(groups, CAMERAS) == expected | {'cam2': CONTRADICTION}
    assert Moment(empty, pairings, []).agreements == 1
    assert Moment(empty, pairings, []).disagreements == 1


def frames(**crops):
    """Return the partners of cam0 that see these crops."""
    return {camera: a_frame(camera, *directions) for camera, directions in crops.items()}


def test_a_minority_gives_no_evidence_for_its_members():
    honest = {'cam1': [A], 'cam2': [A], 'cam3': [A]}
    moment = settle(a_frame('cam0', B), frames(**honest, cam4=[B]))
    assert moment.evidence == {
        **dict.fromkeys(honest, AGREEMENT),
        'cam0': DISAGREEMENT,
        'cam4': DISAGREEMENT,
    }


def test_two_groups_of_the_same_size_are_no_evidence():
    moment = settle(a_frame('cam0', A), frames(cam1=[A], cam2=[B], cam3=[B]))
    assert moment.evidence == {}


@pytest.mark.parametrize(
    ('shared_view', 'weight'), [(False, 1.0), (True, CONTRADICTED_WEIGHT)], ids=str
)
def test_an_accomplice_does_not_confirm_a_primary_camera_that_is_outvoted(shared_view, weight):
    others = frames(cam1=[A], cam2=[A], cam3=[A], cam4=[B])
    moment = settle(a_frame('cam0', B), others, shared_view=shared_view)
    assert moment.agreements == 1
    (fused,) = moment.fused
    assert len(fused.provenance) == 2, 'no other view is fused'
    assert fused.trust == pytest.approx(weight * ALONE_TRUST)


def test_a_crop_is_confirmed_by_half_of_the_cameras_that_share_the_view():
    others = frames(cam1=[A, B], cam2=[A, -B], cam3=[A, -B], cam4=[A, -B])
    first, second = settle(a_frame('cam0', A, B), others).fused
    assert len(first.provenance) == 6
    assert (len(second.provenance), second.trust) == (2, pytest.approx(ALONE_TRUST))
    others = frames(cam1=[A, B], cam2=[A, -B], cam3=[A, -B])
    second = settle(a_frame('cam0', A, B), others).fused[1]
    assert len(second.provenance) == 3


def test_a_homography_tells_which_cameras_see_the_same_place():
    def at(frame, x):
        lcts = [
            replace(lct, latent=replace(lct.latent, roi=Roi(x, 0, 10, 10))) for lct in frame.lcts
        ]
        return replace(frame, lcts=lcts)

    geometry = {
        f'cam{n}': CameraGeometry(np.eye(3), planar=True, tolerance_px=5) for n in (1, 2, 3)
    }
    ours = at(a_frame('cam0', A), 0)
    others = {'cam1': at(a_frame('cam1', A), 0), 'cam2': at(a_frame('cam2', B), 0)}
    others['cam3'] = at(a_frame('cam3', C), 90)
    evidence = settle(ours, others, geometry=geometry).evidence
    assert (evidence['cam2'], evidence['cam3']) == (CONTRADICTION, DISAGREEMENT)
