# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Behavior that commands share: errors take one line and exit code 2."""

import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from sage_perception.cli import (
    align,
    calibrate_trust,
    codebook,
    encode,
    memory,
    models,
    reconstruct,
    trust_matrix,
)
from sage_perception.cli import eval as eval_command
from sage_perception.cli import main as sage
from sage_perception.cli.terminal import EXIT_USAGE, report_errors
from sage_perception.models import ModelError
from sage_perception.models.registry import available

CONFIG = Path(__file__).resolve().parents[2] / 'config' / 'train' / 'tinyvae.yaml'


@pytest.mark.parametrize(
    'error', [ModelError('m'), FileNotFoundError('m'), ValueError('m'), ModuleNotFoundError('m')]
)
def test_errors_of_the_user_are_reported_in_one_line(error, capsys):
    @report_errors('sage try')
    def main(argv=None):
        raise error

    assert main([]) == EXIT_USAGE
    assert capsys.readouterr().err == 'sage try: m\n'


@pytest.mark.parametrize('error', [KeyError, ZeroDivisionError, BrokenPipeError])
def test_other_errors_propagate(error):
    @report_errors('sage try')
    def main(argv=None):
        raise error

    with pytest.raises(error):
        main()


def test_exit_code_is_that_of_the_command():
    assert report_errors('sage try')(lambda argv: len(argv))(['a', 'b', 'c']) == 3


@pytest.mark.parametrize(
    ('main', 'arguments'),
    [
        (encode.main, ['{image}', '--print', '--model', '{model}']),
        (reconstruct.main, ['{image}', '-o', '{folder}/grid.png', '--model', '{model}']),
        (memory.main, ['search', '--image', '{image}', '--model', '{model}']),
        (align.main, ['tinyvae', '{model}']),
        (trust_matrix.main, ['{model}', '-o', '{folder}/matrix.png']),
        (codebook.main, ['{model}', str(CONFIG)]),
        (calibrate_trust.main, ['{model}', str(CONFIG)]),
        (eval_command.main, ['{model}', '--data', '{folder}']),
    ],
)
def test_commands_for_images_reject_a_compressor(main, arguments, tmp_path, capsys):
    image = tmp_path / 'image.png'
    cv2.imwrite(str(image), np.zeros((64, 64, 3), np.uint8))
    places = {'image': image, 'folder': tmp_path, 'model': 'h_to_l_hybrid'}
    assert main([argument.format(**places) for argument in arguments]) == EXIT_USAGE
    *_, last = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        'sage [a-z-]+: h_to_l_hybrid@.* use a model of images, such as tinyvae', last
    )


def test_models_lists_the_shipped_models_and_shows_cards(capsys):
    assert models.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(available()) + 2
    (robot,) = (line.split() for line in lines if line.startswith('tinyvae '))
    (receiver,) = (line.split() for line in lines if line.startswith('tinyvae_hq '))
    assert robot[2:5] == ['64×64', 'RGB', '64']
    assert robot[6] == receiver[6], 'they share their latents'
    assert ' '.join(robot[7:]) == 'latents of crops (codebook, trust, identity)'
    assert models.main(['tinyvae']) == 0
    assert capsys.readouterr().out.startswith('# tinyvae, version')
    assert models.main(['tinyvea']) == EXIT_USAGE
    assert capsys.readouterr().err.startswith("sage models: 'tinyvea' is neither a model")


@pytest.mark.parametrize(
    ('main', 'arguments'),
    [
        (memory.main, ['search', '--image', '{image}', '--model', 'lightweight']),
        (align.main, ['tinyvae', 'lightweight']),
        (codebook.main, ['lightweight', str(CONFIG)]),
        (calibrate_trust.main, ['lightweight', str(CONFIG)]),
    ],
)
def test_commands_for_crops_reject_a_spatial_latent(main, arguments, tmp_path, capsys):
    image = tmp_path / 'image.png'
    cv2.imwrite(str(image), np.zeros((64, 64, 3), np.uint8))
    assert main([argument.format(image=image) for argument in arguments]) == EXIT_USAGE
    *_, last = capsys.readouterr().err.splitlines()
    assert 'has latents of shape 256×7×7, which an LCT cannot carry: use a model of' in last


def test_a_missing_package_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'sage_perception.cli.record', None)  # import fails
    assert sage.main(['record']) == EXIT_USAGE
    error = capsys.readouterr().err
    assert error.startswith('sage record: ')
    assert 'sage_perception.cli.record' in error
    assert error.endswith('; run "sage doctor" for the fix\n')
    assert error.count('\n') == 1


@pytest.mark.parametrize('name', sage.COMMANDS)
def test_help_of_every_command_has_an_example(name, capsys):
    if name in ('record', 'replay', 'demo'):
        pytest.importorskip('rclpy')
    with pytest.raises(SystemExit) as exit_:
        sage.main([name, '--help'])
    assert exit_.value.code == 0
    assert re.search(rf'^examples?:\n  sage {name}', capsys.readouterr().out, re.MULTILINE)


def test_help_of_a_subcommand_has_the_examples_of_its_own(capsys):
    with pytest.raises(SystemExit):
        memory.main(['search', '--help'])
    shown = capsys.readouterr().out
    assert 'sage memory search "a red car"' in shown
    assert 'sage memory list' not in shown
