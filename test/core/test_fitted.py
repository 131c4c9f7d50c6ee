# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The file `trust.json` of a model."""

import json
import shutil

import numpy as np
import pytest

from sage_perception import models
from sage_perception.trust.fitted import (
    FILE,
    FittedTrust,
    similarity_of,
    similarity_weights,
    telemetry_trust_of,
)
from sage_perception.trust.fusion import agreement
from sage_perception.trust.fusion.comparison import CosineComparer, FittedComparer
from sage_perception.trust.quality import QualityMap

MAP = QualityMap(-0.8, 0.2, (-1.0, 1.0, 3.0, 5.0), (0.1, 0.3, 0.8, 0.95), 3.0, 0.1)


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(models.available()['tinyvae'], tmp_path / 'model')


def test_round_trip(folder):
    fingerprint = models.load(folder).id.fingerprint.hex()
    fitted = FittedTrust(fingerprint, MAP, tuple(np.linspace(0.1, 2, 64).tolist()))
    assert fitted.write(folder) == folder / FILE
    assert FittedTrust.read(models.load(folder)) == fitted
    assert similarity_weights(models.load(folder)).tolist() == list(fitted.weights)


def test_the_format_of_the_file_is_stable(folder):
    fitted = FittedTrust.read(models.load(folder))
    shipped = json.loads((folder / FILE).read_text())
    fitted.write(folder)
    assert json.loads((folder / FILE).read_text()) == shipped


def test_a_model_without_the_file_uses_defaults(folder):
    (folder / FILE).unlink()
    codec = models.load(folder)
    assert FittedTrust.read(codec) is None
    assert (similarity_weights(codec) == 1).all()
    assert telemetry_trust_of(codec).quality is None


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        ({'fingerprint': '00' * 32}, 'latent space 00000000'),
        ({'fingerprint': {}}, 'fingerprint'),
        ({'weights': [1.0] * 63}, 'has 63 weights'),
        ({'weights': [1.0] * 63 + [-1.0]}, 'finite numbers above 0'),
        ({'weights': [1.0] * 63 + [float('nan')]}, 'finite numbers above 0'),
        ({'weights': [1.0] * 63 + ['1']}, 'must consist of numbers'),
        ({'weights': [1.0] * 63 + [10**400]}, 'out of range'),
        ({'weights': 1.0}, 'weights'),
        ({'quality': {}}, 'scores'),
        ({'quality': []}, 'quality'),
        ({'quality': {**vars(MAP), 'error': 1.0}}, 'monotone'),
        ({'quality': {**vars(MAP), 'error': None}}, 'must consist of numbers'),
        ({'quality': {**vars(MAP), 'scores': [[1, 2], [3]]}}, 'must consist of numbers'),
    ],
    ids=str,
)
def test_rejects_an_invalid_entry_in_one_line(folder, change, reason):
    tree = json.loads((folder / FILE).read_text())
    (folder / FILE).write_text(json.dumps({**tree, **change}))
    with pytest.raises(ValueError, match=reason) as rejected:
        FittedTrust.read(models.load(folder))
    assert str(folder / FILE) in str(rejected.value)
    assert 'sage calibrate-trust' in str(rejected.value)
    assert '\n' not in str(rejected.value)


@pytest.mark.parametrize(
    'content', [b'', b'{', b'[]', b'null', b'\xff\xfe', b'[' * 100_000, b'{"fingerprint": {}}']
)
def test_rejects_a_damaged_file_in_one_line(folder, content):
    (folder / FILE).write_bytes(content)
    with pytest.raises(ValueError, match='sage calibrate-trust') as rejected:
        FittedTrust.read(models.load(folder))
    assert str(folder / FILE) in str(rejected.value)
    assert '\n' not in str(rejected.value)


def test_an_error_rate_selects_the_fitted_agreement():
    codec = models.load('tinyvae')
    weighted = similarity_of(codec, 0.6, 0.0)
    assert isinstance(weighted.comparer, CosineComparer)
    assert weighted.comparer.threshold == 0.6
    fitted = similarity_of(codec, 0.6, 0.01)
    assert isinstance(fitted.comparer, FittedComparer)
    assert not fitted.note
    np.testing.assert_array_equal(fitted.weights, weighted.weights)


def test_a_model_without_a_fitted_agreement_uses_the_threshold(folder):
    (folder / agreement.FILE).unlink(missing_ok=True)
    found = similarity_of(models.load(folder), 0.6, 0.01)
    assert isinstance(found.comparer, CosineComparer)
    assert 'agreement_threshold' in found.note


def test_an_agreement_of_another_identity_head_is_refused(folder):
    (folder / 'identity.safetensors').unlink()
    with pytest.raises(ValueError, match='another identity head'):
        similarity_of(models.load(folder), 0.6, 0.01)
