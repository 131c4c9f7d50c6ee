# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Training runs: resuming, several processes, precision, early stopping, teachers, bad input."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from scenes import write_scenes
from tiny_runs import metrics, weights, write_tiny_config

from sage_perception.cli import train as command
from sage_perception.models import pca
from sage_perception.models.networks.families import FAMILIES
from sage_perception.models.networks.tinyvae import TinyVAE
from sage_perception.training.config import read_config
from sage_perception.training.data.mixture import mixture
from sage_perception.training.data.stream import augmented_crops
from sage_perception.training.tasks import TASKS
from sage_perception.training.tasks.vae import new_network
from sage_perception.training.train import train

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Return a folder with six images and a clip of a disc that crosses the first of them."""
    return write_scenes(tmp_path_factory.mktemp('data'), 6)


@pytest.fixture
def config_file(data, tmp_path):
    """Return a function that writes a training configuration with changes."""
    return lambda **changes: write_tiny_config(tmp_path / 'tiny.yaml', data, **changes)


def test_every_model_family_has_a_task():
    assert TASKS.keys() == FAMILIES.keys()


# Kills its own process in the second epoch.
KILLED = """
import os, signal, sys
from sage_perception.cli import train
from sage_perception.training.tasks.vae_module import VaeModule
step = VaeModule.training_step
def killed(module, *batch):
    if module.global_step == 12:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(module, *batch)
VaeModule.training_step = killed
sys.exit(train.main(sys.argv[1:]))
"""


def test_killed_run_resumes_to_the_weights_of_an_uninterrupted_run(config_file, tmp_path):
    path, parts = config_file(), tmp_path / 'parts'
    config = read_config(path)
    whole = train(config, tmp_path / 'whole', progress=False)
    rows = np.genfromtxt(
        next((tmp_path / 'whole').rglob('metrics.csv')), delimiter=',', names=True
    )
    psnr = rows['val_psnr'][~np.isnan(rows['val_psnr'])]
    assert len(psnr) == 2
    assert psnr[1] > psnr[0]
    figures = metrics(tmp_path / 'whole')
    assert figures['steps'] == 16
    assert figures['val_psnr'] == pytest.approx(psnr[1], abs=1e-3)
    assert figures['parameters'] == weights(whole).numel()
    assert figures['seconds'] > 0
    assert not figures['stopped_early']

    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [sys.executable, '-c', KILLED, path, '--out', parts],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert torch.load(parts / 'last.ckpt', weights_only=True)['global_step'] == 8
    assert not (parts / 'metrics.json').exists()
    resumed = train(config, parts, progress=False)
    torch.testing.assert_close(weights(resumed), weights(whole), atol=1e-6, rtol=1e-4)
    assert metrics(parts)['steps'] == 16


# Writes the numbers of the crops that each process trains on; other streams have another length.
RECORDER = """
import os, pathlib, sys
from sage_perception.cli import train
from sage_perception.training.data.stream import CropStream
get = CropStream.__getitem__
def recorded(stream, index):
    if stream.count == 128:
        with pathlib.Path(sys.argv[1], 'crops' + os.environ['RANK']).open('a') as file:
            print(stream.start + index, file=file)
    return get(stream, index)
CropStream.__getitem__ = recorded
sys.exit(train.main(sys.argv[2:]))
"""


def test_two_processes_share_each_batch_of_one(config_file, tmp_path):
    path, run = config_file(training={'learning_rate': 3e-4}), tmp_path / 'run'
    script = tmp_path / 'recorder.py'
    script.write_text(RECORDER)
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone']
    done = subprocess.run(
        [*torchrun, '--nproc_per_node=2', script, tmp_path, path, '--out', run],
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('trained:') == 1
    first, second = (
        [int(line) for line in (tmp_path / f'crops{rank}').read_text().split()] for rank in (0, 1)
    )
    assert len(first) == len(second) == 128
    assert sorted(first + second) == list(range(256))
    assert len(list(run.rglob('*.ckpt'))) == len(list(run.rglob('metrics.csv'))) == 1
    alone = tmp_path / 'alone'
    train(read_config(path), alone, progress=False)
    assert (metrics(run)['processes'], metrics(alone)['processes']) == (2, 1)
    assert metrics(run)['steps'] == metrics(alone)['steps'] == 16
    assert metrics(run)['val_psnr'] == pytest.approx(metrics(alone)['val_psnr'], abs=0.05)


def test_rejects_a_batch_that_processes_cannot_share(config_file, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('WORLD_SIZE', '3')
    assert command.main([str(config_file()), '--out', str(tmp_path / 'run')]) == 2
    assert 'training.batch is 16, not a multiple of 3 processes' in capsys.readouterr().err


def test_mixed_precision_computes_in_bfloat16_and_keeps_float32_weights(config_file, tmp_path):
    changes = {'ssim_from': 0.5, 'squared_first': False}
    config = read_config(config_file(training={**changes, 'precision': 'bf16-mixed'}))
    outputs = []
    with pytest.MonkeyPatch.context() as patch:
        forward = TinyVAE.forward
        patch.setattr(
            TinyVAE, 'forward', lambda self, x: (outputs.append(forward(self, x)), outputs[-1])[1]
        )
        trained = train(config, tmp_path / 'mixed', progress=False)
    assert {tensor.dtype for output in outputs for tensor in output} <= {
        torch.bfloat16,
        torch.float32,
    }
    assert outputs[0][2].dtype == torch.bfloat16
    assert weights(trained).dtype == torch.float32
    full = config_file(training=changes)
    train(read_config(full), tmp_path / 'full', progress=False)
    mixed, full = metrics(tmp_path / 'mixed'), metrics(tmp_path / 'full')
    assert mixed['val_psnr'] == pytest.approx(full['val_psnr'], abs=0.3)
    assert mixed['ssim'] == pytest.approx(full['ssim'], abs=0.003)


def test_run_without_improvement_stops_early(config_file, tmp_path):
    path = config_file(training={'learning_rate': 0.0, 'patience': 2, 'steps': 80})
    train(read_config(path), tmp_path / 'run', progress=False)
    figures = metrics(tmp_path / 'run')
    assert figures['steps'] == 3 * 8  # the first epoch sets the mark, two do not exceed it
    assert figures['stopped_early']


def test_small_network_learns_from_the_run_of_a_large_one(config_file, tmp_path):
    teacher, run = tmp_path / 'teacher', tmp_path / 'run'
    large = config_file(model={'latent_dim': 400}, training={'fitted_crops': 500})
    train(read_config(large), teacher, progress=False)
    path = config_file(distillation={'teacher': str(teacher), 'perceptual': 0})
    config = read_config(path)
    distilled = train(config, run, progress=False)
    assert {'error', 'kl', 'latent', 'output'} <= metrics(run).keys()
    assert 'perceptual' not in metrics(run)
    assert metrics(run)['parameters'] < metrics(teacher)['parameters'] / 2
    assert (run / 'last.ckpt').stat().st_size < (teacher / 'last.ckpt').stat().st_size
    again = train(config, run, progress=False)  # the run has ended: nothing changes
    torch.testing.assert_close(weights(again), weights(distilled))
    assert again.projection.linear.weight.equal(distilled.projection.linear.weight)
    assert metrics(run)['steps'] == 16


def test_training_starts_at_principal_components(config_file):
    config = read_config(config_file(model={'encoder_width': 64, 'decoder_width': 48}))
    crops = mixture(config.data, 64)
    fitted = augmented_crops(crops, config)
    model = new_network(config, crops)
    x = torch.from_numpy(fitted)
    with torch.no_grad():
        error = (model.reconstruct(x) - x).square().mean()
        variances = model.get_latents(x).var(0)
    best = ((pca.fit(fitted, 8).reconstruct(fitted) - fitted) ** 2).mean()
    assert best <= error <= 1.1 * best
    assert variances.mean() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'data': {'root': '/nowhere/at/all'}},
            'data.root: /nowhere/at/all is not a folder: create',
        ),
        ({'data': {'root': 'out/data/images'}}, 'folder: run tools/fetch_images.py'),
        ({'data': {'exclude': ['*']}}, 'no matching image, clip or bag'),
        ({'data': {'held_out': ['none']}}, 'data.held_out matches no file'),
        (
            {'data': {'exclude': ['*.avi'], 'stills_share': 0}},
            'data.stills_share is 0, but {data} has only images',
        ),
        (
            {'data': {'exclude': ['*.png'], 'stills_share': 1.0}},
            'data.stills_share is 1.0, but {data} has only clips',
        ),
        (
            {'data': {'held_out': '*.png', 'stills_share': 0}},
            'data.stills_share is 0, but data.held_out matches only images',
        ),
        ({'distillation': {'teacher': 'missing'}}, "'missing' is neither a model"),
        ({'encoder': 'missing'}, "'missing' is neither a model"),
    ],
)
def test_rejects_missing_data_and_models_in_one_line(
    config_file, data, tmp_path, monkeypatch, capsys, changes, message
):
    monkeypatch.chdir(tmp_path)
    assert command.main([str(config_file(**changes)), '--out', str(tmp_path / 'run')]) == 2
    error = capsys.readouterr().err
    assert error.startswith('sage train: ')
    assert message.format(data=data) in error
    assert error.count('\n') == 1


def test_rejects_a_missing_configuration(tmp_path, capsys):
    assert command.main([str(tmp_path / 'none.yaml')]) == 2
    assert 'none.yaml: no such file' in capsys.readouterr().err
