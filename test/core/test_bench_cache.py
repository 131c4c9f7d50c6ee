# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Results that the translation bench keeps are those of the present code and models."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'bench'))
from translation_parts import cache

MODULES = {
    'pack/__init__.py': '',
    'pack/one.py': 'import json\nfrom pack import two\nfrom pack.three import number\n',
    'pack/two.py': '"""Text."""\n\n\ndef double(x):\n    """Return 2 x."""\n    return 2 * x\n',
    'pack/three.py': 'number = 3\n',
    'pack/four.py': 'from pack import one\n',
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of some modules; `print_of(module)` is the present fingerprint."""
    for name, text in MODULES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(cache, 'ROOTS', {'pack': tmp_path})
    monkeypatch.setattr(cache, 'FOLDER', tmp_path / 'kept')
    return tmp_path


def print_of(module, models=()):
    cache.fingerprint.cache_clear()
    return cache.fingerprint(module, models)


def test_the_modules_that_a_module_imports_are_found(project):
    names = {'pack', 'pack.one', 'pack.two', 'pack.three'}
    assert set(cache.sources('pack.one')) == names
    assert set(cache.sources('pack.three')) == {'pack.three'}


@pytest.mark.parametrize(
    ('file', 'old', 'new', 'same'),
    [
        ('two', '2 *', '3 *', False),
        ('three', 'number = 3', 'number = 4', False),
        ('two', 'Return 2 x.', 'Return the double.', True),
        ('two', '"""Text."""', '# Another text.', True),
        ('four', 'import one', 'import two', True),
    ],
)
def test_code_counts_and_text_does_not(project, file, old, new, same):
    before = print_of('pack.one')
    path = project / 'pack' / f'{file}.py'
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert (print_of('pack.one') == before) == same


def test_a_network_is_trained_once_and_again_after_a_change(project):
    trained = []

    def fit():
        trained.append(torch.nn.Linear(2, 1))
        return trained[-1]

    def network():
        cache.fingerprint.cache_clear()
        path = cache.cached_file('small.pt', 'pack.one')
        return cache.kept(path, torch.nn.Linear(2, 1), fit).weight

    assert torch.equal(network(), network())
    assert len(trained) == 1
    other = cache.cached_file('smaller.pt', 'pack.one')
    other.write_bytes(b'')
    (project / 'pack' / 'three.py').write_text('number = 5\n')
    assert torch.equal(network(), trained[1].weight)
    assert len(list((project / 'kept').glob('small.*'))) == 1
    assert other.exists()


def test_the_files_of_models_count_except_their_cards(project, monkeypatch):
    folder = project / 'model'
    folder.mkdir()
    (folder / 'model.safetensors').write_bytes(b'1')
    monkeypatch.setattr(cache, 'resolve', lambda name: folder)
    before = print_of('pack.one', ('small',))
    assert before != print_of('pack.one')
    (folder / 'card.md').write_text('text')
    assert print_of('pack.one', ('small',)) == before
    (folder / 'model.safetensors').write_bytes(b'2')
    assert print_of('pack.one', ('small',)) != before
