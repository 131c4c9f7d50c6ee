# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Training and evaluation of a codebook, and the command `sage codebook`."""

import json
import shutil

import cv2
import numpy as np
import pytest
import torch
import yaml
from vector_quantize_pytorch import ResidualVQ

from sage_perception.cli import codebook as command
from sage_perception.codecs.codebook import CODEBOOK, Codebook, read
from sage_perception.evaluation import codebook as evaluation
from sage_perception.models.registry import available
from sage_perception.reports.codebook import codebook_table
from sage_perception.training import codebook as training

SPACE = bytes(range(32))


def random_latents(seed=1, count=50, dim=8):
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


def clusters(seed, count, centers, dim=6, spread=0.1):
    """Return latents around `centers` points of space, and nearer or farther from the origin."""
    rng = np.random.default_rng(seed)
    middle = 2 * np.random.default_rng(centers).normal(size=(centers, dim))
    z = middle[rng.integers(centers, size=count)] + spread * rng.normal(size=(count, dim))
    return z.astype(np.float32)


def test_training_finds_clusters_and_levels_refine_them(monkeypatch):
    monkeypatch.setattr(training, 'BATCH', 512)
    z = clusters(0, 3000, 12)
    book = training.train({'one': z}, SPACE, levels=4, codes=16, steps=20)
    unseen = clusters(1, 1000, 12)
    tokens = book.encode(unseen)
    errors = [np.square(unseen - book.decode(tokens[:, :n])).mean() for n in (1, 2, 3, 4)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] < 0.05 * unseen.var()
    used = evaluation.usage(book, {'unseen': unseen})
    assert 11 < used['perplexity']['unseen'][0] <= 16
    again = training.train({'one': z}, SPACE, levels=4, codes=16, steps=20)
    assert again.digest == book.digest


def test_small_source_gets_its_share_of_the_codes(monkeypatch):
    monkeypatch.setattr(training, 'BATCH', 512)
    sources = {'many': clusters(0, 4000, 40), 'few': 20 + clusters(1, 60, 41)}
    book = training.train(sources, SPACE, levels=1, codes=32, steps=20)
    found = evaluation.usage(book, sources)
    assert found['perplexity']['few'][0] > 8
    assert found['perplexity']['many'][0] > 8
    assert found['in_common'] == 0


def test_tokens_equal_those_of_the_library():
    torch.manual_seed(0)
    quantizer = ResidualVQ(dim=8, num_quantizers=3, codebook_size=16).eval()
    z = random_latents()
    book = Codebook(quantizer.codebooks.detach().contiguous().numpy(), SPACE)
    quantized, indices, _ = quantizer(torch.from_numpy(z))
    np.testing.assert_array_equal(book.encode(z), indices.numpy())
    np.testing.assert_allclose(book.decode(book.encode(z)), quantized.detach(), atol=1e-5)


def test_perplexity_counts_codes():
    counts = np.array([[5, 5, 5, 5], [7, 0, 0, 0], [3, 3, 0, 0]])
    np.testing.assert_allclose(evaluation.perplexity(counts), [4, 1, 2])


def test_usage_reports_dead_and_shared_codes():
    book = Codebook(np.arange(4, dtype=np.float32).reshape(1, 4, 1), SPACE)
    a, b = np.float32([[0], [1], [0], [1]]), np.float32([[1], [2], [1], [2]])
    assert evaluation.usage(book, {'a': a, 'b': b}) == {
        'perplexity': {'a': [2.0], 'b': [2.0]},
        'dead_codes': [1],
        'in_common': 0.333,
    }


def test_required_levels_hold_for_every_kind_of_crops():
    rows = {
        'a': [{}, *({'levels': n, 'bytes': n, 'loss_db': 3 / n} for n in (1, 4, 8))],
        'b': [{}, *({'levels': n, 'bytes': n, 'loss_db': 1 / n} for n in (1, 4, 8))],
    }
    assert evaluation.required_levels(rows, 'loss_db') == {
        '1': {'levels': 4, 'bytes': 4},
        '0.5': {'levels': 8, 'bytes': 8},
        '0.1': None,
    }


@pytest.mark.parametrize(
    ('sources', 'message'),
    [
        ({}, 'no source'),
        ({'a': np.zeros((4, 3), np.float32)}, '4 latents are too few for 16 codes'),
        (
            {'a': np.zeros((40, 3), np.float32), 'b': np.zeros((40, 2), np.float32)},
            r"'b': latents are float32 \[N, 3\], not float32 \[40, 2\]",
        ),
        ({'a': np.full((40, 3), np.inf, np.float32)}, "'a' has values that are not finite"),
    ],
)
def test_rejects_invalid_sources(sources, message):
    with pytest.raises(ValueError, match=message):
        training.train(sources, SPACE, codes=16)


@pytest.fixture
def config_file(tmp_path):
    """Return a training configuration with three images, one of them held out."""
    rng = np.random.default_rng(0)
    data = tmp_path / 'data'
    data.mkdir()
    for index in range(3):
        coarse = rng.integers(0, 255, (9, 9, 3), np.uint8)
        image = cv2.resize(coarse, (150, 150), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(data / f'image{index}.png'), image)
    tree = {'name': 'tinyvae', 'version': '1', 'model': {}, 'training': {}}
    tree['data'] = {'root': str(data), 'held_out': ['image0.png']}
    path = tmp_path / 'config.yaml'
    path.write_text(yaml.safe_dump(tree))
    return path


def test_command_writes_a_codebook_and_reports(tmp_path, config_file, monkeypatch, capsys):
    for name, value in (('BATCH', 128), ('KMEANS_LATENTS', 1024), ('STEPS', 4)):
        monkeypatch.setattr(training, name, value)
    model = tmp_path / 'model'
    shutil.copytree(available()['tinyvae'], model)
    (model / CODEBOOK).unlink(missing_ok=True)
    np.save(tmp_path / 'audio.npy', random_latents(count=600, dim=64))
    arguments = [str(model), str(config_file), '--levels', '2', '--crops', '300']
    extra = ['--latents', f'audio={tmp_path / "audio.npy"}']
    assert command.main([*arguments, *extra, '--json']) == 0
    report = json.loads(capsys.readouterr().out)
    book = read(model)
    assert book.levels.shape == (2, 512, 64)
    assert report['codebook'] == book.digest.hex()
    assert set(report['usage']['held_out']['perplexity']) == {'stills', 'audio'}
    assert set(report['usage']['training']['perplexity']) == {'vision', 'audio'}
    whole, one, two = report['sets']['stills']
    assert [row['bytes'] for row in (whole, one, two)] == [256, 2, 3]
    assert whole['psnr'] > two['psnr'] > one['psnr']
    assert two['latent_mse'] < one['latent_mse']
    assert 'held-out crops' in codebook_table(report)


def test_command_rejects_invalid_arguments_in_one_line(tmp_path, config_file, capsys):
    model = str(available()['tinyvae'])
    assert command.main(['nothing', str(config_file)]) == 2
    assert command.main([model, str(tmp_path / 'none.yaml')]) == 2
    np.save(tmp_path / 'wrong.npy', np.zeros((5, 3), np.float32))
    wrong = f'x={tmp_path / "wrong.npy"}'
    assert command.main([model, str(config_file), '--latents', wrong]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert 'none.yaml: no such file' in lines[1]
    assert '[5, 3]' in lines[2]
    with pytest.raises(SystemExit):
        command.main([model, str(config_file), '--latents', 'nonsense'])
    assert 'NAME=FILE.npy' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.main([model, str(config_file), '--levels', '0'])
    assert "--levels: '0' is not a whole number of 1 or more" in capsys.readouterr().err
    assert command.main([model, str(config_file), '--crops', '100']) == 2
    assert '--crops is 100; at least 512 are required' in capsys.readouterr().err
