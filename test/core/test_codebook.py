# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Latents as tokens: residual quantization, and files that belong to one latent space."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from sage_perception.codecs.codebook import CODEBOOK, Codebook, installed, read, write
from sage_perception.codecs.packing import Encoding, Packer
from sage_perception.models import ModelError, artifact, load_codec
from sage_perception.models.registry import available

SPACE = bytes(range(32))


def random_book(seed=0, levels=3, codes=16, dim=8):
    rng = np.random.default_rng(seed)
    scale = 0.6 ** np.arange(levels)[:, None, None]
    return Codebook((scale * rng.normal(size=(levels, codes, dim))).astype(np.float32), SPACE)


def random_latents(seed=1, count=50, dim=8):
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    """Return a minimal valid model folder."""
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
def test_each_level_quantizes_the_residual_to_the_nearest_code(seed, levels, codes, dim):
    book = random_book(seed, levels, codes, dim)
    z = random_latents(seed, 5, dim)
    tokens = book.encode(z)
    assert tokens.shape == (5, levels)
    assert tokens.dtype == np.uint16
    residual = z.astype(np.float64)
    for level, column in zip(book.levels, tokens.T, strict=True):
        distance = np.linalg.norm(residual[:, None] - level, axis=2)
        np.testing.assert_allclose(
            distance[np.arange(5), column], distance.min(1), rtol=1e-4, atol=1e-4
        )
        residual = residual - level[column]
    np.testing.assert_allclose(z - residual, book.decode(tokens), atol=1e-4)


def test_fewer_tokens_are_the_first_levels():
    book = random_book()
    tokens = book.encode(random_latents())
    np.testing.assert_array_equal(book.encode(random_latents(), levels=2), tokens[:, :2])
    np.testing.assert_array_equal(book.decode(tokens[:, :1]), book.levels[0][tokens[:, 0]])
    assert book.decode(tokens[:, :2]).dtype == np.float32


def test_code_of_a_plain_codebook_encodes_to_its_index():
    book = random_book(levels=1)
    np.testing.assert_array_equal(book.encode(book.levels[0])[:, 0], np.arange(book.codes))


@given(st.integers(0, 2**32 - 1))
def test_exhaustive_beam_finds_the_nearest_latent(seed):
    book = random_book(seed, levels=3, codes=4, dim=5)
    z = random_latents(seed, 6, 5)
    every = np.array(list(itertools.product(range(4), repeat=3)), np.uint16)
    best = np.linalg.norm(z[:, None] - book.decode(every), axis=2).min(1)
    found = np.linalg.norm(z - book.decode(book.encode(z, beam=16)), axis=1)
    np.testing.assert_allclose(found, best, rtol=1e-4, atol=1e-4)


def test_beam_reduces_the_error():
    book, z = random_book(levels=6), random_latents(count=400)
    errors = [np.square(z - book.decode(book.encode(z, beam=beam))).mean() for beam in (1, 4, 16)]
    assert errors[0] > 1.05 * errors[1] > 1.05 * errors[2]


def test_encoding_does_not_depend_on_the_batch():
    book, z = random_book(), random_latents(count=3000)
    together = book.encode(z)
    for index in (0, 1023, 1024, 2999):
        np.testing.assert_array_equal(book.encode(z[index : index + 1])[0], together[index])


@pytest.mark.parametrize('beam', [1, 3])
def test_empty_batch(beam):
    book = random_book()
    tokens = book.encode(np.zeros((0, 8), np.float32), beam=beam)
    assert tokens.shape == (0, 3)
    assert book.decode(tokens).shape == (0, 8)


def test_dimensions_and_bits_of_a_token():
    book = random_book(levels=3, codes=512, dim=64)
    assert (book.depth, book.codes, book.dim, book.token_bits) == (3, 512, 64, 9)
    assert random_book(codes=2).token_bits == 1
    assert random_book(codes=513).token_bits == 10


def test_digest_depends_on_codes_and_space():
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
        (lambda b: b.decode(np.zeros((2, 4), np.uint16)), '4 tokens per latent'),
        (lambda b: b.decode(np.zeros((2, 0), np.uint16)), '0 tokens per latent'),
        (lambda b: b.decode(np.zeros(3, np.uint16)), r'not uint16 \[3\]'),
        (lambda b: b.decode(np.zeros((2, 3))), 'not float64'),
        (
            lambda b: b.decode(np.uint16([[1, 16, 0]])),
            'token 16 is out of range; it must be 0 to 15',
        ),
        (lambda b: b.decode(np.int64([[1, -1, 0]])), 'token -1 is out of range'),
        (lambda b: Codebook(b.levels[0], SPACE), r'not float32 \[16, 8\]'),
        (lambda b: Codebook(b.levels.astype(float), SPACE), 'not float64'),
        (lambda b: Codebook(b.levels * np.inf, SPACE), 'not finite'),
        (lambda b: Codebook(b.levels, b'short'), '32 bytes, not 5'),
    ],
)
@pytest.mark.filterwarnings('ignore:invalid value')
def test_errors_name_the_invalid_argument(call, message):
    with pytest.raises(ModelError, match=message):
        call(random_book())


def test_reads_what_was_written(folder):
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


def test_finds_installed_codebook_by_latent_space():
    model = artifact.read(available()['tinyvae']).id
    assert installed(model).fingerprint == model.fingerprint
    assert installed(replace(model, fingerprint=bytes(32))) is None
    assert installed(replace(model, name='elsewhere')).digest == installed(model).digest


def test_models_of_one_latent_space_share_tokens():
    sender, receiver = (Packer.of(load_codec(name)) for name in ('tinyvae', 'tinyvae_hq'))
    z = np.linspace(-1, 1, sender.dim, dtype=np.float32)
    tokens = sender.pack(z, Encoding.VQ)
    assert np.array_equal(receiver.unpack(tokens, Encoding.VQ), sender.unpack(tokens, Encoding.VQ))


def test_rejects_a_codebook_of_another_space(folder):
    with pytest.raises(ModelError, match='latent space 00010203, the model in'):
        write(folder, random_book())
    assert read(folder) is None
    book = random_book()
    metadata = {'fingerprint': SPACE.hex(), 'digest': book.digest.hex()}
    save_file({'levels': book.levels}, folder / CODEBOOK, metadata)
    with pytest.raises(ModelError, match=r'latent space 00010203, .* sage codebook'):
        read(folder)


def test_rejects_a_damaged_codebook(folder):
    path = write(folder, of_model(folder, random_book()))
    good = bytearray(path.read_bytes())
    good[-6] ^= 1
    path.write_bytes(good)
    with pytest.raises(ModelError, match='was altered'):
        read(folder)
    path.write_bytes(good[:100])
    with pytest.raises(ModelError, match='is not a codebook'):
        read(folder)
    save_file({'levels': random_book().levels}, path)
    with pytest.raises(ModelError, match='is not a codebook'):
        read(folder)
