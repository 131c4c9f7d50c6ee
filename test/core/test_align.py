# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The commands `sage align` and `sage trust-matrix`."""

import json
from pathlib import Path

import cv2

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


def test_trust_matrix_writes_an_image_to_a_new_folder(tmp_path):
    path = tmp_path / 'missing' / 'matrix.png'
    assert trust_matrix.main(['tinyvae', '-o', str(path)]) == 0
    assert min(cv2.imread(str(path)).shape[:2]) > 200


def test_trust_matrix_checks_the_name_of_its_output_after_the_models(tmp_path, capsys):
    assert trust_matrix.main(['unknown', '-o', str(tmp_path / 'matrix.xyz')]) == 2
    assert "'unknown' is neither" in capsys.readouterr().err
    assert trust_matrix.main(['tinyvae', '-o', str(tmp_path / 'matrix.xyz')]) == 2
    assert 'is not a file name that Matplotlib can write' in capsys.readouterr().err
