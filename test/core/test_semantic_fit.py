# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The fit of semantic_text: classes with hypernyms, identity codes, temperature."""

import numpy as np
import pytest

from sage_perception.training.semantic.classes import ImageClass, Synset, nouns, read_wordnet
from sage_perception.training.semantic.fit import (
    IDENTITY_DIM,
    IDENTITY_WHITENING,
    fit_identity,
    fit_temperature,
)

SYNSETS = {
    1: Synset('dog', 2), 2: Synset('canine', 3), 3: Synset('animal', None), 4: Synset('pug', 1),
    5: Synset('fox', 2),
}  # fmt: skip
CLASSES = [ImageClass('pug', ('pug',), 4, (1, 2, 3)), ImageClass('fox', ('fox',), 5, (2, 3))]


def test_nouns_are_classes_and_common_hypernyms():
    found = nouns(CLASSES, SYNSETS, 2, {'dog', 'animal'})
    assert found == {'pug': [0], 'fox': [1], 'dog': [0], 'animal': [0, 1]}
    assert 'animal' not in nouns(CLASSES, SYNSETS, 1, {'dog', 'animal'})


def test_the_lines_of_wordnet(tmp_path):
    path = tmp_path / 'data.noun'
    path.write_text(
        '  1 the license\n'
        '00000001 05 n 02 dog 0 domestic_dog 0 002 @ 00000002 n 0000 ~ 00000004 n 0000 | a pet\n'
        '00000002 05 n 01 canine_animal 0 000 | fangs\n'
    )
    assert read_wordnet(path) == {1: Synset('dog', 2), 2: Synset('canine animal', None)}


def test_identity_codes_keep_the_directions_in_which_things_differ():
    rng = np.random.default_rng(0)
    dim, things = 2 * IDENTITY_DIM, 1500
    spread = np.r_[np.linspace(3, 1, IDENTITY_DIM), np.full(dim - IDENTITY_DIM, 0.01)]
    basis, _ = np.linalg.qr(rng.standard_normal((dim, dim)))
    content = rng.standard_normal((things, dim)) * spread @ basis.T + 5
    tensors = fit_identity(content.astype(np.float32))
    codes = (content - tensors['identity.mean']) @ tensors['identity.map']
    # The variances keep their order, and their ratio falls from 9 to 9 ** 0.3.
    variances = codes.var(0)
    assert variances[0] / variances[-1] == pytest.approx(
        9 ** (1 - 2 * IDENTITY_WHITENING), rel=0.3
    )
    left = basis.T @ tensors['identity.map'] / np.linalg.norm(tensors['identity.map'], axis=0)
    assert np.abs(left[IDENTITY_DIM:]).max() < 0.05


@pytest.mark.parametrize('temperature', [0.8, 1.7, 3.0])
def test_the_temperature_of_overconfident_logits_is_found(temperature):
    logits = np.random.default_rng(1).standard_normal((300, 20)) * 2
    assert fit_temperature(logits * temperature, logits) == pytest.approx(temperature, abs=0.02)
