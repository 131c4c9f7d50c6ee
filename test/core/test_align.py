# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The commands `sage align` and `sage trust-matrix`."""

import json
from pathlib import Path

import cv2
import pytest

from sage_perception.cli import align, trust_matrix


def test_align_prints_the_result_and_stores_the_map(tmp_path, capsys):
    assert align.main(['tinyvae', 'tinyvae', '--json', '--cache', str(tmp_path)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result['before']['compression_trust'] == 1.0
    assert result['before']['level'] == 'HIGH'
    assert Path(result['file']).is_file()
    assert align.main(['tinyvae', 'tinyvae', '--cache', str(tmp_path)]) == 0
    assert 'share directly' in capsys.readouterr().out


def test_align_names_an_unknown_model(tmp_path, capsys):
    assert align.main(['tinyvae', 'unknown', '--cache', str(tmp_path)]) == 2
    assert "'unknown'" in capsys.readouterr().err


@pytest.mark.parametrize(('folder', 'code'), [('.', 0), ('missing', 2)])
def test_trust_matrix_writes_an_image(tmp_path, folder, code):
    path = tmp_path / folder / 'matrix.png'
    assert trust_matrix.main(['tinyvae', '-o', str(path)]) == code
    if code == 0:
        assert min(cv2.imread(str(path)).shape[:2]) > 200
