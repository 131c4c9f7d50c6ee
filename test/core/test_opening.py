# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Opening a memory by its file or URL."""

import pytest
from memories import SPACE

from sage_perception.memory import StoreError, default_path, open_store


def test_the_default_file_is_in_the_folder_of_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv('SAGE_MEMORY', str(tmp_path))
    assert default_path('robot1/memory') == tmp_path / 'robot1' / 'memory.db'
    monkeypatch.delenv('SAGE_MEMORY')
    assert default_path().name == 'memory.db'


@pytest.mark.parametrize(
    'url',
    [
        'mysql://robot:secret@127.0.0.1/fleet',
        'postgresql+asyncpg://robot:secret@127.0.0.1/fleet',
        'host=127.0.0.1 user=robot password=secret',
    ],
)
def test_rejects_another_database_without_quoting_its_password(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match='postgresql://') as error:
        open_store(url, SPACE)
    assert 'secret' not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'url',
    [
        'postgresql://robot:secret@127.0.0.1:9/fleet',
        'postgresql://robot:sec%2Fsecret@127.0.0.1:9/fleet',
        'postgres://127.0.0.1:9/fleet?user=robot&password=secret',
        'postgresql://robot@127.0.0.1:9/fleet?sslpassword=secret',
        'postgresql://robot@127.0.0.1:9/fleet?pass%77ord=secret',
        'postgresql://robot:secret/x@127.0.0.1:9/fleet',
        'postgresql://robot:x@secret@127.0.0.1:9/fleet',
    ],
)
def test_refuses_a_url_with_a_password_and_names_the_places_for_it(url):
    with pytest.raises(StoreError, match=r'~/\.pgpass .* PGPASSFILE .* PGPASSWORD') as error:
        open_store(url, SPACE)
    assert 'secret' not in str(error.value)
    assert error.value.__cause__ is None


@pytest.mark.parametrize('limits', [{'capacity': 0}, {'half_life_s': 0.0}])
def test_rejects_limits_that_are_not_positive(tmp_path, limits):
    with pytest.raises(ValueError, match='both must be positive'):
        open_store(tmp_path / 'memory.db', SPACE, **limits)
