# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests without ROS."""

import cv2
import pytest
from footage import LENGTH, numbered, write_video


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
