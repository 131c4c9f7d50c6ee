# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage memory`: what is remembered is found by an image of it."""

import contextlib
import shutil
import sqlite3
from dataclasses import replace

import cv2
import numpy as np
import pytest
from memories import OTHER, lct

from sage_perception.cli import memory as recall
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
def place(tmp_path_factory, images):
    """Give a memory of these, seen one second after another by cam0 and cam1."""
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
    code = recall.main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_a_image_finds_the_memory_of_itself_and_all_is_drawn(capsys, place, images, tmp_path):
    image, drawn = tmp_path / 'asked.png', tmp_path / 'found.png'
    cv2.imwrite(str(image), images[4][..., ::-1])
    code, out, _ = run(capsys, 'search', image, '--store', place, '-n', 3, '-o', drawn)
    assert code == 0
    first = out.splitlines()[1].split()
    assert first[2:5] == ['cam0', '5', '1.000']
    assert len(out.splitlines()) == 5
    assert cv2.imread(str(drawn)).shape[1] > 3 * 128
    _, out, _ = run(capsys, 'search', image, '--store', place, '--entity', 'cam1')
    assert 'cam0' not in out


def test_what_was_kept_last_comes_first(capsys, place):
    _, out, _ = run(capsys, 'list', '--store', place, '--until', '2199-01-01', '-n', '2')
    assert [line.split()[3] for line in out.splitlines()[1:]] == ['6', '5']
    _, out, _ = run(capsys, 'list', '--store', place, '--until', '2001-01-01')
    assert out == 'nothing is remembered that fits\n'


def test_memories_that_cannot_be_read_are_counted(capsys, place, tmp_path):
    copy = shutil.copy(place, tmp_path)
    with contextlib.closing(sqlite3.connect(copy)) as db, db:
        db.execute("UPDATE sage_memory SET detail = '' WHERE id = 6")
    code, out, err = run(capsys, 'list', '--store', copy)
    assert code == 0
    assert len(out.splitlines()) == 6
    assert '1 passed over that cannot be read' in err


def test_the_contents_are_told(capsys, place):
    code, out, _ = run(capsys, 'info', '--store', place)
    assert code == 0
    assert f'{place}: 6 memories' in out
    assert '3 seen by cam1' in out
    assert '6 latents of tinyvae' in out


def test_what_cannot_be_is_said_in_one_line(capsys, place, images, tmp_path):
    image = tmp_path / 'asked.png'
    cv2.imwrite(str(image), images[0])
    alien = tmp_path / 'alien.db'
    with open_store(alien, Space(OTHER, np.zeros(16, np.float32))) as store:
        store.add([MemoryRecord(lct(1, model=OTHER), Snarc())])
        store.commit()
    for arguments, complaint in (
        (('info', '--store', tmp_path / 'none.db'), 'there is no memory; memory_node makes one'),
        (('search', tmp_path / 'none.png', '--store', place), 'no such image'),
        (('search', image, '--store', place, '--model', 'nothing'), "'nothing' is neither"),
        (('search', image, '--store', alien), 'holds no latents of tinyvae'),
        (('list', '--store', alien, '-o', tmp_path / 'x.png'), 'give --model'),
        (('list', '--store', place, '-n', 0), 'count is 0'),
        (('list', '--store', place, '--until', '2999-01-01'), 'between 1970 and 2262'),
        (('list', '--store', place, '--track', -1), 'track is -1'),
    ):
        code, _, err = run(capsys, *arguments)
        assert code == 2
        assert err.count('\n') == 1
        assert complaint in err
    with pytest.raises(SystemExit):
        recall.main(['list', '--since', 'yesterday'])
    assert 'write 30s, 10m, 2h or 1d' in capsys.readouterr().err
