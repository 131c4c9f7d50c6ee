# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests without ROS."""

import os
import shutil
import textwrap

import cv2
import pytest
from footage import LENGTH, numbered, write_video
from stubs import ROOT


@pytest.fixture
def one_thread():
    """Run torch on one thread with a fixed seed."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope='session')
def video(tmp_path_factory):
    """Return the path of a video of numbered frames."""
    return write_video(tmp_path_factory.mktemp('video') / 'numbers.avi', LENGTH)


@pytest.fixture(scope='session')
def folder(tmp_path_factory):
    """Return a folder of numbered images."""
    path = tmp_path_factory.mktemp('images')
    for number in range(12):
        cv2.imwrite(str(path / f'img{number}.png'), numbered(number))
    (path / 'notes.txt').write_text('not an image')
    return path


@pytest.fixture
def write_node(tmp_path, monkeypatch):
    """Return a function that writes the module of a stub node."""
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(tmp_path), str(ROOT)]))

    def write(executable: str, code: str, package: str = 'stub') -> None:
        # The nodes of a package that replaces the suite still start through `bringup.start`.
        for part in ('bringup/start.py', 'core/threads.py'):
            file = tmp_path / package / part
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / 'sage_perception' / part, file)
        folder = tmp_path / package / 'nodes'
        folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / package / '__init__.py').touch()
        (folder / '__init__.py').touch()
        (folder / f'{executable}.py').write_text(textwrap.dedent(code))

    return write
