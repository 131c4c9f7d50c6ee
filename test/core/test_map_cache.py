# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Files of latent maps: round trip, identity, and damage."""

import logging
import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sage_perception.trust.compatibility import probe_set
from sage_perception.trust.compatibility.latent_map import LatentMap
from sage_perception.trust.compatibility.map_cache import (
    find_latent_map,
    latent_map_path,
    load_latent_map,
    save_latent_map,
    store_latent_map,
)

OURS, THEIRS, OTHERS = b'r' * 32, b's' * 32, b'o' * 32
RNG = np.random.default_rng(0)
MAP = LatentMap(
    sender=THEIRS,
    receiver=OURS,
    weights=RNG.standard_normal((7, 9)),
    offset=RNG.standard_normal(9),
    residual=RNG.random(9),
    method='ridge',
    image_count=384,
    r2=0.9,
    p_value=0.001,
)


@pytest.fixture
def path(tmp_path):
    path = latent_map_path(tmp_path, THEIRS, OURS)
    save_latent_map(path, MAP)
    return path


def test_round_trip(tmp_path):
    folder = tmp_path / 'new'
    store_latent_map(folder, MAP)
    loaded = find_latent_map(folder, THEIRS, OURS)
    for name in ('weights', 'offset', 'residual'):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(MAP, name))
    for name in ('sender', 'receiver', 'method', 'image_count', 'r2', 'p_value'):
        assert getattr(loaded, name) == getattr(MAP, name)
    assert os.listdir(folder) == [latent_map_path(folder, THEIRS, OURS).name]


def test_finds_only_the_map_of_the_pair(tmp_path, path):
    assert find_latent_map(tmp_path, OTHERS, OURS) is None
    assert find_latent_map(tmp_path, THEIRS, OTHERS) is None
    assert find_latent_map(tmp_path, OURS, THEIRS) is None
    # The fingerprints in the file decide, not its name.
    path.rename(latent_map_path(tmp_path, OTHERS, OURS))
    assert find_latent_map(tmp_path, OTHERS, OURS) is None


def test_a_new_probe_set_invalidates_stored_maps(tmp_path, path, monkeypatch):
    monkeypatch.setattr(probe_set, 'SHA256', '1' * 64)
    assert find_latent_map(tmp_path, THEIRS, OURS) is None
    with pytest.raises(ValueError, match='another probe set'):
        load_latent_map(path)


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def replace_with_text(path):
    path.write_text('not an archive')


def replace_with_folder(path):
    path.unlink()
    path.mkdir()


def pickle(path):
    np.savez(path, weights=np.array([{'a': 1}], object))


def open_bracket(path):
    """Make the header of an array an unfinished Python literal, for the tokenizer to fail on."""
    data = path.read_bytes()
    assert b'), }' in data
    path.write_bytes(data.replace(b'), }', b'),  '))


def make_nan(path):
    save_latent_map(path, replace(MAP, weights=MAP.weights * np.nan))


def make_score_nan(path):
    save_latent_map(path, replace(MAP, r2=np.nan))


def shorten(path):
    save_latent_map(path, replace(MAP, offset=MAP.offset[:-1]))


DAMAGES = (
    cut,
    replace_with_text,
    replace_with_folder,
    pickle,
    open_bracket,
    make_nan,
    make_score_nan,
    shorten,
)


@pytest.mark.parametrize('damage', DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_file_is_ignored_with_a_warning(tmp_path, path, damage, caplog):
    damage(path)
    with pytest.raises(ValueError, match=path.name):
        load_latent_map(path)
    with caplog.at_level(logging.WARNING):
        assert find_latent_map(tmp_path, THEIRS, OURS) is None
    assert path.name in caplog.text
    assert 'fitted again' in caplog.text


@settings(max_examples=100)
@given(st.data())
def test_any_changed_bytes_are_a_value_error_or_harmless(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / 'changed_bytes'
    path = latent_map_path(folder, THEIRS, OURS)
    save_latent_map(path, MAP)
    content = bytearray(path.read_bytes())
    start = data.draw(st.integers(0, len(content) - 1))
    new = data.draw(st.binary(min_size=1, max_size=8))
    content[start : start + len(new)] = new
    path.write_bytes(content)
    try:
        loaded = load_latent_map(path)
    except ValueError:
        return
    assert loaded.apply(np.zeros((1, loaded.input_dim))).shape == (1, loaded.offset.size)


def test_an_unwritable_folder_is_a_warning(tmp_path, caplog):
    (tmp_path / 'file').touch()
    with caplog.at_level(logging.WARNING):
        store_latent_map(tmp_path / 'file' / 'folder', MAP)
    assert 'not stored' in caplog.text
