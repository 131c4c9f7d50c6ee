# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Networks of codes: training, export, and loading beside the large model."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from sage_perception.models import ModelError, artifact, load, load_codes, load_semantic
from sage_perception.models.networks.codes import Codes, CodesConfig
from sage_perception.training.config import ConfigError, RunConfig, read_config
from sage_perception.training.data.crops import Stills, folder_chances
from sage_perception.training.tasks.codes.data import CodesBatches, Lessons
from sage_perception.training.tasks.codes.module import CodesModule
from sage_perception.training.tasks.codes.task import CodesTask, write_model
from sage_perception.training.tasks.identity.module import places_auroc
from sage_perception.training.tasks.identity.views import PLACES, VIEWS, displaced, sample_views

CONFIG = Path('config/train/identity_small.yaml')
RNG = np.random.default_rng(0)
SMALL = CodesConfig(width=4)


@pytest.fixture(scope='module')
def config() -> RunConfig:
    return read_config(CONFIG)


@pytest.fixture(scope='module')
def network() -> Codes:
    torch.manual_seed(0)
    return Codes(SMALL).eval()


@pytest.fixture(scope='module')
def folder(network, config, tmp_path_factory):
    folder = tmp_path_factory.mktemp('codes')
    write_model(network, config, load_semantic().semantic_space, folder)
    return folder


def test_codes_have_length_one_and_halves_of_equal_length(network):
    with torch.inference_mode():
        identity, semantic = network(torch.rand(5, 3, 64, 64))
    assert torch.allclose(identity.norm(dim=1), torch.ones(5), atol=1e-5)
    assert torch.allclose(semantic.norm(dim=1), torch.ones(5), atol=1e-5)
    assert torch.allclose(identity[:, :32].norm(dim=1), torch.full((5,), 0.5**0.5), atol=1e-5)


def test_code_dim_is_the_sum_of_the_halves():
    with pytest.raises(ValueError, match=r'code_dim is 64; it must be .* 48'):
        CodesConfig(learned_dim=16)


def test_the_exported_model_computes_the_codes_of_the_network(network, folder):
    model = load(folder)
    images = RNG.random((3, 3, 64, 64), np.float32)
    with torch.inference_mode():
        identity, semantic = network(torch.from_numpy(images))
    codes = model.codes(images)
    assert np.allclose(codes.identity, identity, atol=2e-3)
    assert np.allclose(codes.semantic, semantic, atol=2e-3)
    assert np.array_equal(model.encode(images), codes.semantic)
    assert np.array_equal(model.identity(images), codes.identity)


@pytest.mark.parametrize(
    'shape', [(2, 48, 80, 3), (1, 200, 200, 3), (0, 64, 64, 3), (70, 8, 8, 3)]
)
def test_images_of_any_size_and_number_have_codes(folder, shape):
    images = RNG.integers(0, 256, shape, np.uint8)
    codes = load_codes(folder).codes(images)
    assert codes.identity.shape == codes.semantic.shape == (shape[0], 64)
    assert np.isfinite(codes.identity).all()


def test_other_arrays_are_one_line_errors(folder):
    model = load_codes(folder)
    for images in (
        np.zeros((2, 64, 64)),
        np.full((1, 3, 64, 64), np.nan, np.float32),
        np.array(1),
    ):
        with pytest.raises(ModelError) as caught:
            model.codes(images)
        assert '\n' not in str(caught.value)


def test_semantic_codes_are_in_the_space_of_texts_and_identity_codes_in_their_own(folder):
    small, large = load_codes(folder), load_semantic()
    assert small.semantic_space == large.semantic_space
    assert small.identity_space != large.identity_space
    assert len(large.identity_space) == 32


def test_a_network_of_another_semantic_space_has_no_texts(network, config, tmp_path):
    write_model(network, config, bytes(32), tmp_path)
    with pytest.raises(ModelError, match='space 00000000'):
        load_codes(tmp_path).text(['a dog'])


def test_a_damaged_space_is_a_one_line_error(network, config, tmp_path):
    write_model(network, config, bytes(32), tmp_path)
    path = tmp_path / artifact.CONFIG
    tree = yaml.safe_load(path.read_text())
    tree['config']['space'] = 'nonsense'
    tensors = artifact.load_file(tmp_path / artifact.WEIGHTS)
    found = artifact.fingerprint(tree['family'], tree['config'], tensors)
    path.write_text(yaml.safe_dump(tree | {'fingerprint': found.hex()}))
    with pytest.raises(ModelError, match="is 'nonsense', not hexadecimal"):
        load(tmp_path)


def test_models_without_codes_are_refused(folder):
    with pytest.raises(ModelError, match='no semantic codes: use semantic_text'):
        load_codes('tinyvae')
    with pytest.raises(ModelError, match='no nouns: use semantic_text'):
        load_semantic(folder)


def test_the_teacher_must_be_a_model_of_codes(config):
    from dataclasses import replace

    with pytest.raises(ConfigError, match='encoder: tinyvae'):
        CodesTask(replace(config, encoder='tinyvae')).teacher()
    with pytest.raises(ValueError, match='encoder is missing'):
        replace(config, encoder='')


def test_the_loss_falls(config):
    """A few steps on colored noise teach the network to tell its places apart."""
    torch.manual_seed(0)
    rng = np.random.default_rng(1)
    places = rng.integers(0, 256, (8, PLACES, 1, 4, 4, 3)).repeat(VIEWS, 2)
    noisy = (places + rng.normal(0, 10, places.shape)).clip(0, 255).astype(np.uint8)
    views = torch.from_numpy(noisy.repeat(4, 3).repeat(4, 4))
    codes = torch.nn.functional.normalize(torch.randn(16, 64), dim=1)
    lessons = Lessons(views.flatten(0, 2)[:16], codes, codes)
    from dataclasses import replace

    training = replace(config.training, batch=8, epoch=25, steps=25)
    module = CodesModule(Codes(replace(SMALL, img_size=16)), training)
    module.log_dict = lambda *_, **__: None
    optimizer = torch.optim.AdamW(module.parameters(), 3e-3)
    losses = []
    for batch in CodesBatches(views, lessons, training, 0):
        optimizer.zero_grad()
        loss = module.training_step(batch, 0)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if len(losses) == 25:
            break
    assert np.mean(losses[-5:]) < 0.75 * np.mean(losses[:3])


def test_batches_depend_only_on_their_number(config):
    views = torch.arange(2 * PLACES * VIEWS).reshape(2, PLACES, VIEWS, 1, 1, 1).to(torch.uint8)
    lessons = Lessons(torch.arange(9), torch.arange(9), torch.arange(9))
    first, later = (CodesBatches(views, lessons, config.training, start) for start in (0, 2))
    assert torch.equal(first[2][0], later[0][0])
    assert torch.equal(first[2][1].crops, later[0][1].crops)


def test_a_large_folder_does_not_displace_the_others():
    files = [Path('a') / str(i) for i in range(100)] + [Path('b/0')]
    chances = folder_chances(files)
    assert chances.sum() == pytest.approx(1)
    assert chances[:100].sum() / chances[100] == pytest.approx(10)


def test_balanced_images_are_drawn_by_folder(tmp_path):
    for name, count in (('a', 16), ('b', 1)):
        (tmp_path / name).mkdir()
        for number in range(count):
            path = tmp_path / name / f'{number}.png'
            cv2.imwrite(str(path), np.full((32, 32, 3), 10 * (name == 'b'), np.uint8))
    stills = Stills(sorted(tmp_path.rglob('*.png')), balanced=True)
    rng = np.random.default_rng(0)
    drawn = [stills.pick(rng).levels[0].max() > 0 for _ in range(500)]
    assert np.mean(drawn) == pytest.approx(0.2, abs=0.06)


def test_displacements_of_zero_change_nothing_and_equal_ones_shift():
    crop = RNG.integers(0, 256, (64, 64, 3), np.uint8)
    assert np.array_equal(displaced(crop, np.zeros((4, 4, 2))), crop)
    shifts = np.zeros((4, 4, 2))
    shifts[..., 0] = 1 / 8
    assert np.array_equal(displaced(crop, shifts)[:, :56], crop[:, 8:])


def test_parallax_changes_views_only_a_little(tmp_path):
    noise = cv2.resize(RNG.integers(0, 256, (20, 30, 3), np.uint8), (600, 400))
    cv2.imwrite(str(tmp_path / 'a.png'), noise)
    stills = Stills([tmp_path / 'a.png'])
    views = sample_views(stills, 32, 2, 0, parallax=0.05)
    assert views.shape == (2, PLACES, VIEWS, 32, 32, 3)


def test_the_shipped_network_is_small_and_shares_the_space_of_texts():
    model = load_codes('semantic_small')
    assert model.parameters < 1_000_000
    assert model.semantic_space == load_semantic().semantic_space


def test_the_shipped_network_separates_places_in_other_light(tmp_path):
    for number in range(3):
        small = np.random.default_rng(number).integers(0, 256, (40, 60, 3), np.uint8)
        large = cv2.resize(small, (960, 640), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(tmp_path / f'{number}.png'), large)
    views = sample_views(Stills(sorted(tmp_path.glob('*.png'))), 64, 12, 0, parallax=0.04)
    crops = views.reshape(-1, 64, 64, 3)
    codes = load_codes('semantic_small').identity(crops)
    thumbnails = crops.reshape(len(crops), 8, 8, 8, 8, 3).mean((2, 4)).reshape(len(crops), -1)
    thumbnails -= thumbnails.mean(1, keepdims=True)
    thumbnails /= np.linalg.norm(thumbnails, axis=1, keepdims=True)
    separations = [
        places_auroc(each.reshape(12, PLACES, VIEWS, -1)) for each in (codes, thumbnails)
    ]
    assert separations[0] > separations[1] + 0.01
