# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Latents as tokens: the nearest codes, files that fit their model, and what training makes."""

import itertools
import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file
from vector_quantize_pytorch import ResidualVQ

from sage_perception.codecs.codebook import CODEBOOK, Codebook, installed, read, write
from sage_perception.codecs.packing import Encoding, Packer
from sage_perception.models import ModelError, load_codec
from sage_perception.models import artifact as artifact
from sage_perception.models.registry import available
from sage_perception.training import codebook as training

SPACE = bytes(range(32))


def random_book(seed=0, levels=3, codes=16, dim=8):
    rng = np.random.default_rng(seed)
    scale = 0.6 ** np.arange(levels)[:, None, None]
    return Codebook((scale * rng.normal(size=(levels, codes, dim))).astype(np.float32), SPACE)


def random_latents(seed=1, count=50, dim=8):
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    """Return a model folder with all that a fingerprint needs."""
    config = {'input_channels': 3, 'img_size': 64, 'latent_dim': 8}
    tensors = {
        'encoder.weight': np.ones((8, 3), np.float32),
        artifact.LATENT_MEAN: np.zeros(8, np.float32),
        artifact.LATENT_STD: np.ones(8, np.float32),
    }
    save_file(tensors, tmp_path / artifact.WEIGHTS)
    tree = {
        'name': 'small',
        'version': '1',
        'family': 'tinyvae',
        'config': config,
        'fingerprint': artifact.fingerprint('tinyvae', config, tensors).hex(),
        'files': {artifact.WEIGHTS: artifact.file_sha256(tmp_path / artifact.WEIGHTS)},
    }
    (tmp_path / artifact.CONFIG).write_text(yaml.safe_dump(tree))
    return tmp_path


def of_model(folder, book):
    return Codebook(book.levels, artifact.read(folder).id.fingerprint)


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 20), st.integers(1, 6))
def test_each_level_takes_the_nearest_code_off_what_is_left(seed, levels, codes, dim):
    book = random_book(seed, levels, codes, dim)
    z = random_latents(seed, 5, dim)
    tokens = book.encode(z)
    assert tokens.shape == (5, levels)
    assert tokens.dtype == np.uint16
    left = z.astype(np.float64)
    for level, column in zip(book.levels, tokens.T, strict=True):
        distance = np.linalg.norm(left[:, None] - level, axis=2)
        np.testing.assert_allclose(
            distance[np.arange(5), column], distance.min(1), rtol=1e-4, atol=1e-4
        )
        left = left - level[column]
    np.testing.assert_allclose(z - left, book.decode(tokens), atol=1e-4)


def test_fewer_tokens_are_the_first_levels():
    book = random_book()
    tokens = book.encode(random_latents())
    np.testing.assert_array_equal(book.encode(random_latents(), levels=2), tokens[:, :2])
    np.testing.assert_array_equal(book.decode(tokens[:, :1]), book.levels[0][tokens[:, 0]])
    assert book.decode(tokens[:, :2]).dtype == np.float32


def test_codes_of_a_plain_codebook_are_their_own_tokens():
    book = random_book(levels=1)
    np.testing.assert_array_equal(book.encode(book.levels[0])[:, 0], np.arange(book.codes))


@given(st.integers(0, 2**32 - 1))
def test_a_beam_that_drops_nothing_finds_the_nearest_of_all(seed):
    book = random_book(seed, levels=3, codes=4, dim=5)
    z = random_latents(seed, 6, 5)
    every = np.array(list(itertools.product(range(4), repeat=3)), np.uint16)
    best = np.linalg.norm(z[:, None] - book.decode(every), axis=2).min(1)
    found = np.linalg.norm(z - book.decode(book.encode(z, beam=16)), axis=1)
    np.testing.assert_allclose(found, best, rtol=1e-4, atol=1e-4)


def test_a_beam_comes_nearer():
    book, z = random_book(levels=6), random_latents(count=400)
    errors = [np.square(z - book.decode(book.encode(z, beam=beam))).mean() for beam in (1, 4, 16)]
    assert errors[0] > 1.05 * errors[1] > 1.05 * errors[2]


def test_many_latents_are_encoded_as_each_alone():
    book, z = random_book(), random_latents(count=3000)
    together = book.encode(z)
    for index in (0, 1023, 1024, 2999):
        np.testing.assert_array_equal(book.encode(z[index : index + 1])[0], together[index])


@pytest.mark.parametrize('beam', [1, 3])
def test_no_latents_have_no_tokens(beam):
    book = random_book()
    tokens = book.encode(np.zeros((0, 8), np.float32), beam=beam)
    assert tokens.shape == (0, 3)
    assert book.decode(tokens).shape == (0, 8)


def test_size():
    book = random_book(levels=3, codes=512, dim=64)
    assert (book.depth, book.codes, book.dim, book.token_bits) == (3, 512, 64, 9)
    assert random_book(codes=2).token_bits == 1
    assert random_book(codes=513).token_bits == 10


def test_digest_tells_codes_and_space():
    book = random_book()
    assert book.digest == random_book().digest
    assert book.digest != random_book(seed=5).digest
    assert book.digest != Codebook(book.levels, bytes(32)).digest
    assert book.digest.hex()[:8] in repr(book)


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda b: b.encode(np.zeros((2, 7), np.float32)), r'\[B, 8\], not float32 \[2, 7\]'),
        (lambda b: b.encode(np.zeros(8, np.float32)), r'not float32 \[8\]'),
        (lambda b: b.encode(np.zeros((2, 8), int)), 'not int64'),
        (lambda b: b.encode(np.full((1, 8), np.nan, np.float32)), 'not finite'),
        (lambda b: b.encode(np.zeros((1, 8), np.float32), levels=4), 'levels is 4'),
        (lambda b: b.encode(np.zeros((1, 8), np.float32), levels=0), 'levels is 0'),
        (lambda b: b.encode(np.zeros((1, 8), np.float32), beam=0), 'beam is 0'),
        (lambda b: b.decode(np.zeros((2, 4), np.uint16)), '4 tokens a latent'),
        (lambda b: b.decode(np.zeros((2, 0), np.uint16)), '0 tokens a latent'),
        (lambda b: b.decode(np.zeros(3, np.uint16)), r'not uint16 \[3\]'),
        (lambda b: b.decode(np.zeros((2, 3))), 'not float64'),
        (lambda b: b.decode(np.uint16([[1, 16, 0]])), 'token 16 is none: .* 0 to 15'),
        (lambda b: b.decode(np.int64([[1, -1, 0]])), 'token -1 is none'),
        (lambda b: Codebook(b.levels[0], SPACE), r'not float32 \[16, 8\]'),
        (lambda b: Codebook(b.levels.astype(float), SPACE), 'not float64'),
        (lambda b: Codebook(b.levels * np.inf, SPACE), 'not finite'),
        (lambda b: Codebook(b.levels, b'short'), '32 bytes, not 5'),
    ],
)
@pytest.mark.filterwarnings('ignore:invalid value')
def test_errors_name_what_is_wrong(call, message):
    with pytest.raises(ModelError, match=message):
        call(random_book())


def test_a_codebook_comes_back_from_the_folder_of_its_model(folder):
    assert read(folder) is None
    book = of_model(folder, random_book())
    assert write(folder, book) == folder / CODEBOOK
    again = read(folder)
    np.testing.assert_array_equal(again.levels, book.levels)
    assert (again.fingerprint, again.digest) == (book.fingerprint, book.digest)
    write(folder, of_model(folder, random_book(seed=4)))
    assert read(folder).digest != book.digest
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        [artifact.CONFIG, artifact.WEIGHTS, CODEBOOK]
    )


def test_the_codebook_of_an_installed_model_is_that_of_its_latent_space():
    model = artifact.read(available()['tinyvae']).id
    assert installed(model).fingerprint == model.fingerprint
    assert installed(replace(model, fingerprint=bytes(32))) is None
    assert installed(replace(model, name='elsewhere')).digest == installed(model).digest


def test_a_larger_decoder_reads_the_tokens_of_its_latents():
    robot, receiver = (Packer.of(load_codec(name)) for name in ('tinyvae', 'tinyvae_hq'))
    z = np.linspace(-1, 1, robot.dim, dtype=np.float32)
    tokens = robot.pack(z, Encoding.VQ)
    assert np.array_equal(receiver.unpack(tokens, Encoding.VQ), robot.unpack(tokens, Encoding.VQ))


def test_a_codebook_of_another_space_is_refused(folder):
    with pytest.raises(ModelError, match='latent space 00010203, the model in'):
        write(folder, random_book())
    assert read(folder) is None
    book = random_book()
    metadata = {'fingerprint': SPACE.hex(), 'digest': book.digest.hex()}
    save_file({'levels': book.levels}, folder / CODEBOOK, metadata)
    with pytest.raises(ModelError, match=r'latent space 00010203, .* sage codebook'):
        read(folder)


def test_a_damaged_codebook_is_refused(folder):
    path = write(folder, of_model(folder, random_book()))
    good = bytearray(path.read_bytes())
    good[-6] ^= 1
    path.write_bytes(good)
    with pytest.raises(ModelError, match='was altered'):
        read(folder)
    path.write_bytes(good[:100])
    with pytest.raises(ModelError, match='is no codebook'):
        read(folder)
    save_file({'levels': random_book().levels}, path)
    with pytest.raises(ModelError, match='is no codebook'):
        read(folder)


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
    fresh = clusters(1, 1000, 12)
    tokens = book.encode(fresh)
    errors = [np.square(fresh - book.decode(tokens[:, :n])).mean() for n in (1, 2, 3, 4)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] < 0.05 * fresh.var()
    used = training.usage(book, {'fresh': fresh})
    assert 11 < used['perplexity']['fresh'][0] <= 16
    again = training.train({'one': z}, SPACE, levels=4, codes=16, steps=20)
    assert again.digest == book.digest


def test_a_small_source_gets_its_share_of_the_codes(monkeypatch):
    monkeypatch.setattr(training, 'BATCH', 512)
    sources = {'many': clusters(0, 4000, 40), 'few': 20 + clusters(1, 60, 41)}
    book = training.train(sources, SPACE, levels=1, codes=32, steps=20)
    found = training.usage(book, sources)
    assert found['perplexity']['few'][0] > 8
    assert found['perplexity']['many'][0] > 8
    assert found['in_common'] == 0


def test_tokens_are_those_of_the_library():
    torch.manual_seed(0)
    quantizer = ResidualVQ(dim=8, num_quantizers=3, codebook_size=16).eval()
    z = random_latents()
    book = Codebook(quantizer.codebooks.detach().contiguous().numpy(), SPACE)
    quantized, indices, _ = quantizer(torch.from_numpy(z))
    np.testing.assert_array_equal(book.encode(z), indices.numpy())
    np.testing.assert_allclose(book.decode(book.encode(z)), quantized.detach(), atol=1e-5)


def test_perplexity_counts_codes():
    counts = np.array([[5, 5, 5, 5], [7, 0, 0, 0], [3, 3, 0, 0]])
    np.testing.assert_allclose(training.perplexity(counts), [4, 1, 2])


def test_usage_of_two_sources():
    book = Codebook(np.arange(4, dtype=np.float32).reshape(1, 4, 1), SPACE)
    a, b = np.float32([[0], [1], [0], [1]]), np.float32([[1], [2], [1], [2]])
    assert training.usage(book, {'a': a, 'b': b}) == {
        'perplexity': {'a': [2.0], 'b': [2.0]},
        'dead_codes': [1],
        'in_common': 0.333,
    }


def test_fewest_levels_that_are_good_enough_on_every_kind():
    rows = {
        'a': [{}, *({'levels': n, 'bytes': n, 'loss_db': 3 / n} for n in (1, 4, 8))],
        'b': [{}, *({'levels': n, 'bytes': n, 'loss_db': 1 / n} for n in (1, 4, 8))],
    }
    assert training.needed(rows, 'loss_db') == {
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
        ({'a': np.full((40, 3), np.inf, np.float32)}, "'a' holds numbers that are not finite"),
    ],
)
def test_training_names_what_is_wrong_with_a_source(sources, message):
    with pytest.raises(ValueError, match=message):
        training.train(sources, SPACE, codes=16)


@pytest.fixture
def config_file(tmp_path):
    """Return a training configuration with three images, one of them kept apart."""
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
    for name, value in (('BATCH', 128), ('STARTED_FROM', 1024), ('STEPS', 4)):
        monkeypatch.setattr(training, name, value)
    model = tmp_path / 'model'
    shutil.copytree(available()['tinyvae'], model)
    (model / CODEBOOK).unlink(missing_ok=True)
    np.save(tmp_path / 'audio.npy', random_latents(count=600, dim=64))
    arguments = [str(model), str(config_file), '--levels', '2', '--crops', '300']
    heard = ['--latents', f'audio={tmp_path / "audio.npy"}']
    assert training.main([*arguments, *heard, '--json']) == 0
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
    assert 'held-out crops' in training.table(report)


def test_command_complains_in_one_line(tmp_path, config_file, capsys):
    model = str(available()['tinyvae'])
    assert training.main(['nothing', str(config_file)]) == 2
    assert training.main([model, str(tmp_path / 'none.yaml')]) == 2
    np.save(tmp_path / 'wrong.npy', np.zeros((5, 3), np.float32))
    wrong = f'x={tmp_path / "wrong.npy"}'
    assert training.main([model, str(config_file), '--latents', wrong]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert 'none.yaml: no such file' in lines[1]
    assert '[5, 3]' in lines[2]
    with pytest.raises(SystemExit):
        training.main([model, str(config_file), '--latents', 'nonsense'])
    assert 'NAME=FILE.npy' in capsys.readouterr().err
    for option, value in (('--levels', '0'), ('--crops', '100')):
        with pytest.raises(SystemExit):
            training.main([model, str(config_file), option, value])
        assert f'{option} is {value}' in capsys.readouterr().err
