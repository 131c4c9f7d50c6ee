# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Identity heads: their codes, their files, and their thresholds."""

import shutil

import numpy as np
import onnxruntime
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from sage_perception.core.discrimination import auroc
from sage_perception.models import ModelError, artifact, available, identity, load_codec
from sage_perception.models.identity import GRAPH, WEIGHTS
from sage_perception.training.data.crops import Stills
from sage_perception.training.tasks.identity.module import places_auroc
from sage_perception.training.tasks.identity.views import PLACES, VIEWS, sample_views

RNG = np.random.default_rng(0)


@pytest.fixture
def model(tmp_path):
    return shutil.copytree(available()['tinyvae'], tmp_path / 'model')


def rewrite(folder, **metadata):
    with safe_open(folder / WEIGHTS, 'numpy') as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata() | metadata
    save_file(tensors, folder / WEIGHTS, metadata)


def latents(codec, count=20):
    return codec.latent_mean + codec.latent_std * RNG.standard_normal(
        (count, codec.latent_dim)
    ).astype(np.float32)


def test_codes_have_length_one():
    codec = load_codec('tinyvae')
    codes = codec.identity(latents(codec))
    assert codes.dtype == np.float32
    assert np.allclose(np.linalg.norm(codes, axis=1), 1, atol=1e-5)
    assert codec.identity(latents(codec, 0)).shape == (0, codes.shape[1])


def test_the_graph_computes_the_same_codes():
    codec = load_codec('tinyvae')
    z = latents(codec)
    session = onnxruntime.InferenceSession(
        str(codec.artifact.path / GRAPH), providers=['CPUExecutionProvider']
    )
    (codes,) = session.run(None, {'z': z})
    assert np.allclose(codes, codec.identity(z), atol=1e-4)


def test_a_latent_that_is_not_finite_is_similar_to_nothing():
    codec = load_codec('tinyvae')
    z = latents(codec, 3)
    z[0, 5], z[1, 5] = np.nan, np.inf
    codes = codec.identity(z)
    assert not codes[:2].any()
    assert codes[2].any()


def test_the_head_separates_places_better_than_centered_latents(tmp_path):
    import cv2

    codec = load_codec('tinyvae')
    noise = np.random.default_rng(3)
    for number in range(4):
        small = noise.integers(0, 256, (40, 60, 3), np.uint8)
        large = cv2.resize(small, (960, 640), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(tmp_path / f'{number}.png'), large)
    views = sample_views(Stills(sorted(tmp_path.glob('*.png'))), 64, 16, 0)
    x = views.reshape(-1, 64, 64, 3).transpose(0, 3, 1, 2).astype(np.float32) / 255
    z = codec.encode(x)
    centered = z - codec.latent_mean
    centered /= np.linalg.norm(centered, axis=1, keepdims=True)
    head = places_auroc(codec.identity(z).reshape(16, PLACES, VIEWS, -1))
    assert head > places_auroc(centered.reshape(16, PLACES, VIEWS, -1)) + 0.01


def test_thresholds_fall_with_the_rate():
    head = load_codec('tinyvae').identity_head
    values = [head.threshold(rate) for rate in (1e-6, 0.001, 0.007, 0.01, 0.5)]
    assert values == sorted(values, reverse=True)
    assert -1 < values[-1] < values[0] < 1


def test_a_head_of_another_latent_space_is_an_error(model):
    rewrite(model, fingerprint='00' * 32)
    with pytest.raises(ModelError, match='latent space 00000000'):
        load_codec(model).identity(np.zeros((1, 64), np.float32))


@pytest.mark.parametrize(
    'thresholds',
    [
        '{}',
        '[1]',
        '{"0.01": "x"}',
        '{"2": 0.5}',
        'nonsense',
        f'{{"0.01": {10**400}}}',
        '[' * 10**5,
    ],
    ids=lambda text: text[:20],
)
def test_damaged_thresholds_are_one_line_errors(model, thresholds):
    rewrite(model, thresholds=thresholds)
    with pytest.raises(ModelError) as caught:
        load_codec(model).identity(np.zeros((1, 64), np.float32))
    assert '\n' not in str(caught.value)


def test_a_truncated_head_is_an_error(model):
    path = model / WEIGHTS
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError, match='cannot be read'):
        load_codec(model).identity(np.zeros((1, 64), np.float32))


def test_a_model_without_a_head_names_the_fix(model):
    (model / WEIGHTS).unlink()
    codec = load_codec(model)
    assert codec.identity_head is None
    with pytest.raises(ModelError, match='has no identity head'):
        codec.identity(np.zeros((1, 64), np.float32))


def test_the_fingerprint_of_the_latents_does_not_depend_on_the_head(model):
    before = artifact.read(model).id
    (model / WEIGHTS).unlink()
    assert artifact.read(model).id == before


def test_models_of_one_space_share_the_head():
    z = latents(load_codec('tinyvae'))
    fine = load_codec('tinyvae_hq')
    if fine.id.fingerprint == load_codec('tinyvae').id.fingerprint:
        assert np.array_equal(fine.identity(z), load_codec('tinyvae').identity(z))


def test_views_of_one_place_are_more_alike_than_places():
    head = identity.read(available()['tinyvae'], load_codec('tinyvae').id.fingerprint, 64)
    z = latents(load_codec('tinyvae'), 50)
    near = head(z + 0.01 * RNG.standard_normal(z.shape).astype(np.float32))
    cosines = head(z) @ near.T
    same = np.eye(50, dtype=bool)
    assert auroc(cosines[same], cosines[~same]) > 0.99
