# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Export of runs: model folders on both backends, stale files, shared encoders, engines."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from scenes import write_scenes
from tiny_runs import write_tiny_config

from sage_perception.cli import eval as eval_command
from sage_perception.cli import export as command
from sage_perception.cli import train as train_command
from sage_perception.codecs.codebook import CODEBOOK
from sage_perception.models import load
from sage_perception.trust.fitted import FILE as TRUST

pytestmark = pytest.mark.usefixtures('one_thread')
CONTEXTS_CONFIG = Path(__file__).resolve().parents[2] / 'config/train/h_to_l_hybrid.yaml'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Return a folder with six images and a clip of a disc that crosses the first of them."""
    return write_scenes(tmp_path_factory.mktemp('data'), 6)


@pytest.fixture
def config_file(data, tmp_path):
    """Return a function that writes a training configuration with changes."""
    return lambda **changes: write_tiny_config(tmp_path / 'tiny.yaml', data, **changes)


@pytest.fixture(scope='module')
def trained(data, tmp_path_factory):
    """Return the folder of a run of the tiny configuration."""
    folder = tmp_path_factory.mktemp('trained')
    path = write_tiny_config(folder / 'tiny.yaml', data)
    assert train_command.main([str(path), '--out', str(folder / 'run')]) == 0
    return folder / 'run'


@pytest.fixture
def run(trained, tmp_path):
    """Return a copy of the run that a test may change."""
    return Path(shutil.copytree(trained, tmp_path / 'run'))


def export(path, run, folder):
    return command.main([str(path), '--run', str(run), '--to', str(folder)])


def test_exported_model_computes_the_same_on_both_backends(config_file, run, tmp_path):
    assert export(config_file(), run, tmp_path / 'model') == 0
    x = np.random.default_rng(0).random((3, 3, 64, 64), np.float32)
    codecs = [load(tmp_path / 'model', backend=backend) for backend in ('onnxruntime', 'torch')]
    np.testing.assert_allclose(*(codec.reconstruct(x) for codec in codecs), atol=1e-4)
    assert codecs[0].artifact.tensors['encoder.linear.weight'].dtype == np.float16


def test_export_removes_files_fitted_to_another_model(config_file, run, tmp_path, capsys):
    folder = tmp_path / 'model'
    assert export(config_file(), run, folder) == 0
    (folder / CODEBOOK).write_bytes(b'fitted to this model')
    (folder / TRUST).write_text('{}')
    assert export(config_file(), run, folder) == 0
    assert (folder / CODEBOOK).is_file()  # the model is the same
    assert export(config_file(version='2'), run, folder) == 0
    assert f'removed {TRUST} of the previous model' in capsys.readouterr().out
    assert not {CODEBOOK, TRUST} & {file.name for file in folder.iterdir()}


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'model': {'latent_dim': 9}},
            'model.latent_dim 8, but the configuration has 9',
        ),
        ({'training': {'learning_rate': 1e-4}}, 'training.learning_rate'),
    ],
)
def test_rejects_a_run_of_another_configuration(
    config_file, run, tmp_path, capsys, changes, message
):
    other = config_file(**changes)
    before = (run / 'run.yaml').read_text()
    assert train_command.main([str(other), '--out', str(run)]) == 2
    assert f'{run} was trained with {message}' in capsys.readouterr().err
    assert export(other, run, tmp_path / 'model') == 2
    assert f'{run} was trained with {message}' in capsys.readouterr().err
    assert (run / 'run.yaml').read_text() == before


def test_rejects_a_truncated_checkpoint(config_file, run, capsys):
    whole = (run / 'last.ckpt').read_bytes()
    (run / 'last.ckpt').write_bytes(whole[: len(whole) // 2])
    assert train_command.main([str(config_file()), '--out', str(run)]) == 2
    assert 'last.ckpt is damaged: delete it to start over' in capsys.readouterr().err


def test_run_of_version_0_1_is_exported_but_not_resumed(config_file, run, tmp_path, capsys):
    checkpoint = torch.load(run / 'last.ckpt', weights_only=True)
    checkpoint['state_dict'] = {
        name.replace('decoder.latent_features.', 'decoder.hint.'): value
        for name, value in checkpoint['state_dict'].items()
    }
    torch.save(checkpoint, run / 'last.ckpt')
    assert train_command.main([str(config_file()), '--out', str(run)]) == 2
    assert 'last.ckpt is of sage 0.1 and can be exported but not' in capsys.readouterr().err
    assert export(config_file(), run, tmp_path / 'model') == 0


def test_rejects_a_folder_without_checkpoint(config_file, tmp_path, capsys):
    assert export(config_file(), tmp_path, tmp_path / 'model') == 2
    assert 'last.ckpt is missing' in capsys.readouterr().err


def test_exported_model_can_be_evaluated(config_file, run, data, tmp_path, capsys):
    path, folder = config_file(), tmp_path / 'model'
    assert export(path, run, folder) == 0
    capsys.readouterr()
    arguments = [str(folder), '--data', str(data), '--held-out', str(path), '--crops', '20']
    assert eval_command.main([*arguments, '--json']) == 0
    report = json.loads(capsys.readouterr().out)
    assert report['dims'] == 8
    assert report['params'] == load(folder).parameters
    assert report['crops'] == 20
    assert set(report['sets']) == {'stills'}
    for figures in (report, *report['baselines'].values()):
        assert figures['mse'] > 0
        assert -1 <= figures['ssim'] <= 1
        assert 0 <= figures['ms_ssim'] <= 1
        assert figures['psnr'] > 5
    assert {'mean_color', 'downsample', 'pca'} <= set(report['baselines'])
    assert 1 <= report['active_dims'] <= 8
    assert eval_command.main([*arguments, '--native']) == 0
    assert 'pca' in capsys.readouterr().out


def test_larger_decoder_shares_the_latent_space(config_file, run, tmp_path):
    base, large = tmp_path / 'base', tmp_path / 'large'
    assert export(config_file(), run, base) == 0
    path = config_file(name='large', encoder=str(base), model={'decoder_width': 24})
    assert train_command.main([str(path), '--out', str(tmp_path / 'large_run')]) == 0
    assert export(path, tmp_path / 'large_run', large) == 0
    sender, receiver = load(base), load(large)
    assert receiver.parameters > sender.parameters
    assert receiver.id.fingerprint == sender.id.fingerprint
    x = np.random.default_rng(0).random((3, 3, 64, 64), np.float32)
    z = sender.encode(x)
    assert np.array_equal(z, receiver.encode(x))
    assert not np.array_equal(sender.decode(z), receiver.decode(z))
    np.testing.assert_allclose(receiver.latent_mean, sender.latent_mean)
