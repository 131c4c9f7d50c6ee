# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Agreement of crops from several cues: the model, its fit, and the comparison that uses it."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception import models
from sage_perception.codecs.directions import pack_direction
from sage_perception.core.discrimination import auroc
from sage_perception.core.latent import Code, Latent, LatentKind, ModelId, Roi
from sage_perception.core.lct import LCT, Operation, Provenance
from sage_perception.training.data.objects.tumbling import tumbling
from sage_perception.training.trust.agreement import Scenes, fit_agreement, fit_by_image
from sage_perception.trust.fitted import similarity_of, similarity_weights
from sage_perception.trust.fusion import agreement
from sage_perception.trust.fusion.agreement import (
    CODE,
    HEAD,
    LATENT,
    PALETTE,
    SMALL_CODE,
    AgreementModel,
    CueFunction,
)
from sage_perception.trust.fusion.agreement import Fit as AgreementFit
from sage_perception.trust.fusion.assignment import matches
from sage_perception.trust.fusion.comparison import View
from sage_perception.trust.fusion.geometry import CameraGeometry
from sage_perception.trust.fusion.matching import center, cosine_matrix

HEAD_CUE = {'head': {'x': [0, 1], 'y': [0, 1]}}


@pytest.fixture(scope='module')
def codec():
    return models.load('tinyvae')


def pairs_of(rng, count, shift, names=(HEAD, LATENT)):
    """Return cues of pairs: a common part, which makes them depend on each other, and noise."""
    common = rng.normal(shift, 1, count)
    return {name: common + rng.normal(0, 0.7, count) for name in names}


@given(st.integers(0, 2**32 - 1), st.floats(0.5, 3.0))
def test_a_fit_is_monotone_in_each_cue(seed, shift):
    rng = np.random.default_rng(seed)
    fit = fit_agreement(pairs_of(rng, 60, shift), pairs_of(rng, 60, 0.0))
    grid = np.linspace(-6, 9, 50)
    for name in (HEAD, LATENT):
        cues = {HEAD: np.zeros(50), LATENT: np.zeros(50)} | {name: grid}
        assert (np.diff(fit.log_ratio(cues)) >= -1e-9).all()


def test_a_fit_is_calibrated_and_holds_its_error_rate():
    rng = np.random.default_rng(0)
    fit = fit_agreement(pairs_of(rng, 4000, 2.0), pairs_of(rng, 4000, 0.0))
    same, other = (fit.log_ratio(pairs_of(rng, 4000, shift)) for shift in (2.0, 0.0))
    scores = np.concatenate([same, other])
    truth = np.repeat([1.0, 0.0], 4000)
    for low, high in ((-2, -1), (-1, 0), (0, 1), (1, 2)):
        some = (scores > low) & (scores <= high)
        expected = 1 / (1 + np.exp(-scores[some]))
        assert truth[some].mean() == pytest.approx(expected.mean(), abs=0.06)
    for rate in (0.01, 0.05):
        assert (other > fit.threshold(rate)).mean() == pytest.approx(rate, abs=0.5 * rate)
    assert fit.threshold(0.01) > fit.threshold(0.05)


def scenes_of(rng, images, hard=(), places=6, same=3.0):
    """Return scenes with cues of `same` more for one place, and of 2.5 more in `hard` images."""
    shape = (len(images), places, places)
    more = 2.5 * np.isin(images, hard)[:, None, None]

    def cues(mean):
        common = rng.normal(0, 1, shape) + more + mean
        return {name: common + rng.normal(0, 0.7, shape) for name in (HEAD, LATENT)}

    own = [cues(0.0) for _ in range(2)]
    stacked = {name: np.stack([each[name] for each in own]) for name in own[0]}
    return Scenes(cues(same * np.eye(places)), stacked, np.ones(shape, bool), np.array(images))


def test_thresholds_are_those_of_a_typical_image_that_was_not_seen():
    rng = np.random.default_rng(2)
    # one image of repeated structure
    fit = fit_by_image(scenes_of(rng, np.repeat(np.arange(12), 30), hard=(5,)))
    pooled = fit_agreement(*scenes_of(rng, np.repeat(np.arange(12), 30), hard=(5,)).pairs())
    new = scenes_of(rng, np.arange(300))
    unseen = fit.log_ratio(new.pairs()[1])
    for rate in (0.02, 0.05):
        found, before = ((unseen > each.threshold(rate)).mean() for each in (fit, pooled))
        assert rate / 3 < found < 1.5 * rate
        assert before < found
    alike = replace(new, distinct=np.zeros_like(new.distinct))
    with pytest.raises(ValueError, match='no image'):
        fit_by_image(alike)


def test_places_that_resemble_each_other_need_more_evidence_in_their_images():
    rng = np.random.default_rng(3)
    images = np.repeat(np.arange(12), 30)
    fit = fit_by_image(scenes_of(rng, images, hard=(1, 4, 7, 10)))
    new = scenes_of(rng, np.arange(400), hard=np.arange(0, 400, 3))
    same, other = new.pairs()
    alone = fit.log_ratio(same), fit.log_ratio(other)
    assert auroc(*new.of_images(fit)) > auroc(*alone) + 0.01
    rate = (new.of_images(fit)[1] > fit.threshold(0.05, of_images=True)).mean()
    assert rate < (alone[1] > fit.threshold(0.05)).mean()


def test_two_cues_that_repeat_each_other_are_not_counted_twice():
    rng = np.random.default_rng(1)
    same, other = rng.normal(1, 1, 3000), rng.normal(-1, 1, 3000)
    alone = fit_agreement({HEAD: same}, {HEAD: other})
    twice = fit_agreement({HEAD: same, LATENT: same}, {HEAD: other, LATENT: other})
    grid = np.linspace(-1, 1, 9)
    np.testing.assert_allclose(
        twice.log_ratio({HEAD: grid, LATENT: grid}), alone.log_ratio({HEAD: grid}), atol=0.3
    )


def test_a_pair_uses_the_fit_with_the_most_cues_that_it_has():
    one = AgreementFit({HEAD: CueFunction((0, 1), (0, 1))}, {0.1: 0.25})
    both = AgreementFit(
        {HEAD: CueFunction((0, 1), (0, 1)), CODE: CueFunction((0, 1), (0, 10))}, {0.1: 4.0}
    )
    model = AgreementModel('', '', np.zeros((4, 3)), np.zeros(3), [both, one])
    cues = {HEAD: np.array([[0.5, 0.5, np.nan]]), CODE: np.array([[1.0, np.nan, 1.0]])}
    ratios, margins = model.log_ratios(cues, 0.1)
    np.testing.assert_allclose(ratios, [[10.5, 0.5, -np.inf]])
    np.testing.assert_allclose(margins, [[6.5, 0.25, -np.inf]])


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        ({'fits': []}, 'no fits'),
        ({'fits': [{'cues': {}, 'thresholds': {'0.1': 0}}]}, 'cues'),
        ({'fits': [{'cues': HEAD_CUE, 'thresholds': {}}]}, 'no thresholds'),
        ({'fits': [{'cues': HEAD_CUE, 'thresholds': {'2': 0}}]}, 'rates'),
        (
            {
                'fits': [
                    {'cues': HEAD_CUE, 'thresholds': {'.1': 0}, 'image_thresholds': {'.1': 1e999}}
                ]
            },
            'finite',
        ),
        ({'fits': [{'cues': {'head': {'x': [0, 0], 'y': [0, 1]}}, 'thresholds': {}}]}, 'increase'),
        ({'color_map': [[1, 2]]}, 'color_map'),
        ({'color_offset': [float('nan')] * 12}, 'finite'),
        ({'fingerprint': 3}, 'text'),
        ({'code_spaces': {'code': None}}, 'text'),
        ({'code_spaces': {'color': ''}}, 'code_spaces'),
        ({'code_spaces': 3}, 'iterable'),
        ({'color_offset': [10**400]}, 'too large'),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_damaged_file_is_refused_in_one_line(codec, tmp_path, change, reason):
    tree = json.loads((codec.artifact.path / agreement.FILE).read_text())
    (tmp_path / agreement.FILE).write_text(json.dumps({**tree, **change}))
    with pytest.raises(ValueError, match=reason) as refused:
        agreement.read(tmp_path)
    assert str(tmp_path) in str(refused.value)
    assert '\n' not in str(refused.value)


def test_the_file_survives_a_round_trip(codec, tmp_path):
    shipped = agreement.read(codec.artifact.path)
    assert shipped is not None
    shipped.write(tmp_path)
    again = agreement.read(tmp_path)
    assert again is not None
    assert [fit.functions.keys() for fit in again.fits] == [
        fit.functions.keys() for fit in shipped.fits
    ]
    np.testing.assert_allclose(again.color_map, shipped.color_map)
    for fit, before in zip(again.fits, shipped.fits, strict=True):
        assert fit.thresholds == before.thresholds
        assert fit.image_thresholds == before.image_thresholds
        assert fit.image_thresholds


def test_a_palette_tells_colors_in_the_middle_apart_wherever_they_are_there(codec):
    model = agreement.read(codec.artifact.path, agreement.REENTRY_FILE)
    crops = np.full((3, 64, 64, 3), 0.4, np.float32)
    crops[0, 16:40, 16:40] = crops[1, 24:48, 24:48] = (0.8, 0.2, 0.2)
    crops[2, 16:40, 16:40] = (0.2, 0.2, 0.8)
    found = model.palette(codec.encode(crops.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)
    assert found[0] @ found[1] > found[0] @ found[2] + 0.1


def test_the_fit_for_re_entry_knows_objects_that_have_turned(codec):
    small = models.load_codes('semantic_small')
    model = agreement.read(codec.artifact.path, agreement.REENTRY_FILE)
    assert model.code_spaces == agreement.read(codec.artifact.path).code_spaces
    right = {'head': [], 'fit': []}
    for seed in range(8):
        video = tumbling(np.random.default_rng(seed))
        views = [crops_of(image, label) for image, label in zip(*video, strict=True)]
        first, last = views[0], views[-1]
        names = [name for name in last if name in first]
        cues = {SMALL_CODE: [], HEAD: [], LATENT: [], PALETTE: []}
        for crops in (last, first):
            images = np.stack([crops[name] for name in names])
            z = codec.encode(images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
            cues[SMALL_CODE].append(small.identity(images))
            cues[HEAD].append(codec.identity(z))
            cues[LATENT].append(center(z, codec.latent_mean, similarity_weights(codec)))
            cues[PALETTE].append(model.palette(z))
        scores = {name: cosine_matrix(*each) for name, each in cues.items()}
        fit, _ = model.log_ratios(scores, 0.01)
        for name, score in (('head', scores[HEAD]), ('fit', fit)):
            right[name] += (score.argmax(1) == np.arange(len(names))).tolist()
    assert len(right['fit']) > 20
    assert np.mean(right['fit']) > max(0.8, np.mean(right['head']))


def crops_of(image, label):
    """Return the crops of the objects of a scene by number."""
    found = {}
    for number in np.unique(label[label > 0]):
        ys, xs = np.nonzero(label == number)
        if len(ys) > 60:
            half = round(0.6 * max(np.ptp(xs), np.ptp(ys))) + 1
            y, x = ((v.min() + v.max()) // 2 + half for v in (ys, xs))
            padded = np.pad(image, ((half, half), (half, half), (0, 0)), mode='edge')
            square = padded[y - half : y + half, x - half : x + half]
            found[int(number)] = cv2.resize(square, (64, 64), interpolation=cv2.INTER_AREA)
    return found


def test_a_file_without_thresholds_for_images_uses_those_of_pairs(codec, tmp_path):
    tree = json.loads((codec.artifact.path / agreement.FILE).read_text())
    for fit in tree['fits']:
        del fit['image_thresholds']
    tree['code_space'] = tree.pop('code_spaces')[CODE]
    (tmp_path / agreement.FILE).write_text(json.dumps(tree))
    model = agreement.read(tmp_path)
    assert model.code_spaces == {CODE: tree['code_space']}
    for fit in model.fits:
        assert fit.threshold(0.01, of_images=True) == fit.threshold(0.01)


def lct_of(codec, image, track=1, code=None, space=None):
    z = codec.encode(image[None].transpose(0, 3, 1, 2).astype(np.float32) / 255)[0]
    codes = ()
    if code is not None:
        fitted = bytes.fromhex(agreement.read(codec.artifact.path).code_spaces[CODE])
        model = ModelId(fingerprint=space or fitted)
        codes = (Code(LatentKind.IDENTITY, model, 2, pack_direction(code)),)
    latent = Latent(z, model=codec.id, track_id=track, codes=codes)
    return LCT('cam', 1, 10**9, latent, (Provenance(Operation.ENCODE, 'cam', codec.id),), 1.0)


def textured(seed):
    rng = np.random.default_rng(seed)
    return np.kron(rng.uniform(30, 220, (4, 4, 3)), np.ones((16, 16, 1))).astype(np.uint8)


def test_the_shipped_model_tells_views_of_one_thing_from_others(codec):
    comparer = similarity_of(codec, 0.7, 0.01).comparer
    images = [textured(seed) for seed in range(4)]
    ours = comparer.view('cam0', [lct_of(codec, image) for image in images])
    darker = [lct_of(codec, np.roll(image, 3, 1) // 10 * 7) for image in images]
    comparison = comparer.compare(ours, comparer.view('cam1', darker))
    ratios = comparison.log_ratio
    assert (np.diag(ratios) > 0).all()
    assert np.diag(ratios).min() > ratios[~np.eye(4, dtype=bool)].max()
    assert [(m.a, m.b) for m in matches(comparison)] == [(i, i) for i in range(4)]


def test_codes_count_for_the_crops_of_tracks_that_have_had_one(codec):
    comparer = similarity_of(codec, 0.7, 0.01).comparer
    image, rng = textured(1), np.random.default_rng(0)
    code, another = np.abs(rng.normal(size=(2, 64)))
    without = comparer.compare(
        *(comparer.view(name, [lct_of(codec, image)]) for name in ('a', 'b'))
    )
    comparer.view('cam0', [lct_of(codec, image, 7, code)])
    comparer.view('cam1', [lct_of(codec, image, 8, code), lct_of(codec, image, 9, -another)])
    ours = comparer.view('cam0', [lct_of(codec, image, 7)])
    theirs = comparer.view('cam1', [lct_of(codec, image, n) for n in (8, 9, 10)])
    ratios = comparer.compare(ours, theirs).log_ratio[0]
    assert ratios[0] > ratios[1]
    assert ratios[2] == pytest.approx(without.log_ratio[0, 0])
    comparer.view('cam2', [lct_of(codec, image, 11, code, b'x' * 32)])
    other = comparer.compare(ours, comparer.view('cam2', [lct_of(codec, image, 11)]))
    assert other.log_ratio[0, 0] == pytest.approx(without.log_ratio[0, 0])


def test_codes_of_both_models_count_but_not_one_with_the_other(codec):
    comparer = similarity_of(codec, 0.7, 0.01).comparer
    spaces = agreement.read(codec.artifact.path).code_spaces
    image, code = textured(1), np.abs(np.random.default_rng(0).normal(size=64))

    def ratio(first, second):
        views = [
            comparer.view(name, [lct_of(codec, image, 1, values, bytes.fromhex(spaces[cue]))])
            for name, (cue, values) in zip('ab', (first, second), strict=True)
        ]
        return comparer.compare(*views).log_ratio[0, 0]

    for cue in (CODE, SMALL_CODE):
        assert ratio((cue, code), (cue, code)) > ratio((cue, code), (cue, -code)) + 1
    mixed = ratio((CODE, code), (SMALL_CODE, code))
    assert mixed == ratio((CODE, code), (SMALL_CODE, -code))


def test_joined_views_compare_as_each_of_them_does(codec):
    comparer = similarity_of(codec, 0.7, 0.01).comparer
    code = np.abs(np.random.default_rng(0).normal(size=64))
    ours = comparer.view('a', [lct_of(codec, textured(1), 1, code)])
    theirs = [
        comparer.view('b', [lct_of(codec, textured(seed), seed, values)])
        for seed, values in ((1, None), (2, code), (3, code[:32]), (4, -code))
    ]
    joined = comparer.compare(ours, View.joined(theirs)).log_ratio[0]
    single = [comparer.compare(ours, each).log_ratio[0, 0] for each in theirs]
    np.testing.assert_allclose(joined, single)


def test_a_crop_that_resembles_another_one_of_its_image_agrees_less(codec):
    comparer = similarity_of(codec, 0.7, 0.01).comparer
    thing, others = lct_of(codec, textured(0)), [lct_of(codec, textured(n)) for n in (1, 2, 3)]
    twin = lct_of(codec, np.roll(textured(0), 3, 1))
    seen = comparer.image('b', [lct_of(codec, np.roll(textured(0), -3, 0))])

    def ratio(lcts):
        return comparer.compare(comparer.image('a', lcts), seen).log_ratio[0, 0]

    alone, distinct, repeated = ratio([thing]), ratio([thing, *others]), ratio([thing, twin])
    assert repeated < alone - 0.5 < distinct - 0.5
    part = comparer.compare(comparer.view('a', [thing]), comparer.view('b', [twin])).log_ratio
    whole = comparer.compare(comparer.image('a', [thing]), comparer.image('b', [twin])).log_ratio
    np.testing.assert_allclose(part, whole)


@pytest.mark.parametrize('kind', ['view', 'image'])
@pytest.mark.parametrize(('first', 'second'), [(0, 0), (0, 2), (2, 0)])
def test_views_without_crops_have_no_pairs(codec, first, second, kind):
    comparer = similarity_of(codec, 0.7, 0.01).comparer
    lcts = [lct_of(codec, textured(seed)) for seed in range(2)]
    view = getattr(comparer, kind)
    found = comparer.compare(view('a', lcts[:first]), view('b', lcts[:second]))
    assert found.margin.shape == found.score.shape == (first, second)
    assert matches(found) == []


def test_the_fit_is_of_the_identity_codes_that_are_shipped(codec):
    """After a change of the model: python tools/fit_agreement.py."""
    fitted = agreement.read(codec.artifact.path).code_spaces
    assert fitted == {
        CODE: models.load_semantic().identity_space.hex(),
        SMALL_CODE: models.load_codes('semantic_small').identity_space.hex(),
    }


def test_geometry_is_evidence_within_its_tolerance_and_no_evidence_without_regions():
    geometry = CameraGeometry(np.eye(3), planar=True, tolerance_px=10)
    ours = [Roi(0, 0, 10, 10), None]
    theirs = [Roi(x, 0, 10, 10) for x in (0, 5, 10, 60)]
    ratios = geometry.log_ratio(ours, theirs)
    assert (np.diff(ratios[0]) < 0).all()
    assert ratios[0, 0] > 3
    assert ratios[0, 3] < -5
    assert (ratios[1] == 0).all()


def test_evidence_is_added_to_a_fitted_comparison_only(codec):
    lcts = [lct_of(codec, textured(1))]
    for rate, changes in ((0.0, False), (0.01, True)):
        comparer = similarity_of(codec, 0.7, rate).comparer
        plain = comparer.compare(comparer.view('a', lcts), comparer.view('b', lcts))
        added = plain.with_evidence(np.array([[-30.0]]))
        assert (added.margin[0, 0] < plain.margin[0, 0]) == changes
        assert replace(plain, log_ratio=None).with_evidence(np.ones((1, 1))).score is plain.score
