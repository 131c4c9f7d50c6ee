# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation: each measure against its definition, the report and the command."""

import json
import shutil
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scenes import scene, write_scenes

from sage_perception.cli import eval as command
from sage_perception.codecs import codebook
from sage_perception.evaluation import baselines, evaluate, scores
from sage_perception.evaluation import linear_probe as probe
from sage_perception.evaluation.comparison import Comparison
from sage_perception.evaluation.image_codecs import CODECS, QualityLadder
from sage_perception.models import load
from sage_perception.models.artifact import ModelError
from sage_perception.models.pca import Pca
from sage_perception.reports import rate_distortion
from sage_perception.training.losses import images as losses
from sage_perception.training.losses import perceptual

pytestmark = pytest.mark.usefixtures('one_thread')


def planes(*images):
    """Return uint8 images as model input, float32 `[B, 3, S, S]`."""
    return np.stack(images).transpose(0, 3, 1, 2).astype(np.float32) / 255


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Return a folder with three images and a clip of a disc that crosses one of them."""
    return write_scenes(tmp_path_factory.mktemp('data'), 3)


# Image codecs


@pytest.mark.parametrize('codec', CODECS)
@pytest.mark.parametrize('budget', [64, 256, 700, 3000])
def test_image_codec_uses_its_budget_and_does_not_exceed_it(codec, budget):
    ladder = QualityLadder(codec, scene(1, 64))
    chosen = ladder.within(budget)
    if chosen.bytes > budget:
        assert chosen is ladder[0]  # no setting is smaller
        assert min(ladder[q].bytes for q in range(0, 101, 10)) == chosen.bytes
    else:
        assert ladder[min(chosen.quality + 1, 100)].bytes > budget or chosen.quality == 100


@pytest.mark.parametrize('codec', CODECS)
def test_image_codec_reaches_a_quality_with_the_fewest_bytes(codec):
    ladder = QualityLadder(codec, scene(2, 64))
    for wanted in (10, 24, 28):
        chosen = ladder.reaching(wanted)
        assert chosen.psnr >= wanted
        if chosen is not ladder[0]:
            assert ladder[chosen.quality - 1].psnr < wanted
    assert ladder.reaching(99) is ladder[100]  # not reachable: the best setting


@pytest.mark.parametrize('codec', CODECS)
def test_decoded_image_is_that_of_the_payload(codec):
    for image in (scene(3, 64), cv2.cvtColor(scene(3, 64), cv2.COLOR_RGB2GRAY)):
        encoded = QualityLadder(codec, image)[80]
        assert encoded.decoded.shape == image.shape
        assert encoded.decoded.dtype == np.uint8
        if image.ndim == 3:
            decoded = cv2.imdecode(np.frombuffer(encoded.payload, np.uint8), cv2.IMREAD_COLOR_RGB)
            assert np.abs(decoded.astype(int) - encoded.decoded).mean() < 2
        mse = np.mean((encoded.decoded / 255.0 - image / 255.0) ** 2)
        assert encoded.psnr == pytest.approx(-10 * np.log10(mse))
        assert encoded.psnr > 25
    assert QualityLadder(codec, scene(3, 64))[5].psnr < QualityLadder(codec, scene(3, 64))[90].psnr


# The perceptual distance


@pytest.fixture
def network():
    if not perceptual.installed():
        pytest.skip(perceptual.FIX)
    return perceptual.features()


def test_perceptual_distance_grows_with_the_damage(network):
    x = [scene(seed, 64) for seed in range(4)]
    original = torch.from_numpy(planes(*x))
    blurred = [
        perceptual.perceptual_distance(
            original, torch.from_numpy(planes(*(cv2.GaussianBlur(i, (0, 0), s) for i in x)))
        )
        for s in (0.5, 1, 2, 4)
    ]
    assert torch.stack(blurred).diff(dim=0).min() > 0
    other = perceptual.perceptual_distance(original, original.roll(1, 0))
    assert (other > blurred[1]).all()
    assert perceptual.perceptual_distance(original, original).abs().max() < 1e-5


def test_perceptual_distance_is_half_the_squared_distance_of_unit_features(network):
    a, b = torch.rand(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    parts = []
    for p, q in zip(network(a), network(b), strict=True):
        p, q = (m / m.square().sum(1, keepdim=True).sqrt() for m in (p, q))
        parts.append(((p - q).square().sum(1) / 2).mean((1, 2)))
    torch.testing.assert_close(perceptual.perceptual_distance(a, b), sum(parts) / 5)
    torch.testing.assert_close(
        perceptual.perceptual_distance(a, b), perceptual.perceptual_distance(b, a)
    )
    assert [m.shape[2] for m in network(a)] == [32, 16, 8, 4, 2]


def test_perceptual_distance_is_differentiable(network):
    with torch.inference_mode():
        perceptual.perceptual_distance(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64))
    network.train()
    assert not any(module.training for module in network.modules())
    target = torch.from_numpy(planes(scene(0, 64)))
    x = target.roll(9, 3).requires_grad_()
    before = perceptual.perceptual_distance(x, target).sum()
    before.backward()
    assert all(weight.grad is None for weight in network.parameters())
    with torch.no_grad():
        after = perceptual.perceptual_distance(x - 0.5 * x.grad / x.grad.norm(), target)
    assert after < before


def test_gray_equals_its_repetition_in_three_channels(network):
    gray = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    same = perceptual.perceptual_distance(gray, gray.expand(-1, 3, -1, -1))
    assert same.abs().max() < 1e-5


# Scores, baselines, probe


def test_scores_agree_with_the_losses():
    x, y = planes(scene(0, 64), scene(1, 64)), planes(scene(0, 64), scene(2, 64))
    scored = scores.Scorer(x)(y)
    a, b = torch.from_numpy(y), torch.from_numpy(x)
    np.testing.assert_allclose(scored['psnr'], losses.psnr(a, b), rtol=1e-5)
    np.testing.assert_allclose(scored['ms_ssim'], losses.ms_ssim(a, b), rtol=1e-5)
    assert scored['above_085']['ssim'].tolist() == [True, False]
    if perceptual.installed():
        distance = perceptual.perceptual_distance(a, b)
        np.testing.assert_allclose(scored['perceptual'], distance, atol=1e-5)
    small = scores.Scorer(x[..., ::2, ::2].copy())(y[..., ::2, ::2].copy())
    assert small['ms_ssim'] is None  # the fifth scale would have two pixels


@given(
    st.lists(arrays(np.float64, st.integers(1, 9), elements=st.floats(-5, 5)), min_size=1),
)
def test_means_are_over_the_crops_of_all_batches(parts):
    trees = [{'a': part, 'b': {'c': part > 0, 'd': None}} for part in parts]
    whole = np.concatenate(parts)
    found = scores.means(scores.concatenated(trees))
    assert found['a'] == pytest.approx(whole.mean(), abs=1e-6)
    assert found['b'] == {'c': pytest.approx((whole > 0).mean(), abs=1e-6), 'd': None}


def test_baselines_have_at_most_the_allowed_rank():
    rng = np.random.default_rng(0)
    x = rng.random((100, 3, 64, 64), np.float32)
    for allowed, rank in ((64, 60), (16, 12), (12, 12), (4, 3)):
        flat = baselines.downsample(x, allowed).reshape(100, -1)
        assert np.linalg.matrix_rank(flat, tol=1e-3) == rank
    assert np.ptp(baselines.mean_color(x), axis=(2, 3)).max() == 0


@settings(max_examples=20)
@given(st.sampled_from([(1, 8, 8), (3, 8, 4), (3, 16, 4)]), st.integers(1, 48))
def test_components_of_blocks_have_at_most_the_allowed_rank(shape, numbers):
    channels, size, side = shape
    rng = np.random.default_rng(numbers)
    length = channels * side * side
    basis, _ = np.linalg.qr(rng.normal(size=(length, length)))
    mean = rng.uniform(0.4, 0.6, length).astype(np.float32)
    full = baselines.Components(Pca(mean, basis.T.astype(np.float32)), channels, size)
    x = rng.uniform(0.3, 0.7, (30, channels, size, size)).astype(np.float32)
    np.testing.assert_allclose(full.reconstruct(x, full.max_values), x, atol=1e-5)
    kept = full.reconstruct(x, numbers)
    rank = max(numbers // full.blocks, 1) * full.blocks
    assert full.coefficients(x, numbers).shape == (30, min(rank, full.max_values))
    if rank < 29:
        middle = kept - kept.mean(0)
        assert np.linalg.matrix_rank(middle.reshape(30, -1), tol=1e-4) <= rank


def test_rejects_components_that_are_not_square_blocks():
    with pytest.raises(ValueError, match='not a square block'):
        baselines.Components(Pca(np.zeros(75, np.float32), np.eye(75, dtype=np.float32)), 3, 64)


def test_linear_probe_separates_colors_and_not_random_labels(tmp_path):
    codec = load('tinyvae')
    rng = np.random.default_rng(0)
    for truth, folder in ((True, tmp_path / 'colors'), (False, tmp_path / 'random')):
        for index in range(60):
            red = index % 2
            name = ('red' if red else 'blue') if truth else rng.choice(['a', 'b'])
            (folder / name).mkdir(parents=True, exist_ok=True)
            image = scene(index, 48) // 4
            image[..., 2 if red else 0] += 150  # BGR
            cv2.imwrite(str(folder / name / f'{index:02}.png'), image)
    found = probe.probe(codec, baselines.read_components(codec), tmp_path / 'colors')
    assert min(found['latent'], found['pca']) > 0.9
    assert found['classes'] == ['blue', 'red']
    assert found['test_images'] == 12
    assert found['chance'] == 0.5
    assert probe.probe(codec, None, tmp_path / 'random')['latent'] < 0.8
    with pytest.raises(ValueError, match='has 0 folders'):
        probe.probe(codec, None, tmp_path / 'colors' / 'red')


def test_a_fifth_of_each_class_is_for_the_test():
    labels = np.repeat([0, 1, 2], [10, 25, 12])
    test = probe.is_test_image(labels)
    assert [int(test[labels == k].sum()) for k in range(3)] == [2, 5, 2]


# The command


def run(capsys, *args):
    code = command.main([*map(str, args)])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(scope='module')
def full_report(data, tmp_path_factory):
    plot = tmp_path_factory.mktemp('plot') / 'rates.png'
    codec = load('tinyvae')
    kinds = evaluate.sources_at(data)
    report = evaluate.evaluate(codec, kinds, evaluate.CropConfig(64), 6, rates=True)
    rate_distortion.plot([report], plot)
    return report, plot


def test_report_has_means_over_all_crops_and_over_each_kind(full_report):
    report, _ = full_report
    codec = load('tinyvae')
    assert report['params'] == codec.parameters
    assert report['dims'] == codec.latent_dim
    assert report['crops'] == 12
    assert set(report['sets']) == {'stills', 'motion'}
    for key in ('psnr', 'mse', 'ssim', 'ms_ssim', 'kl'):
        parts = [figures[key] for figures in report['sets'].values()]
        assert report[key] == pytest.approx(np.mean(parts), rel=1e-4)
    assert 0 < report['active_dims'] <= report['dims']
    assert report['kl_per_dim'] == pytest.approx(report['kl'] / report['dims'], rel=1e-3)
    assert all(time > 0 for time in report['latency_ms_b1'].values())


def test_report_compares_quality_at_equal_bytes(full_report):
    report, _ = full_report
    dims = report['dims']
    wire = report['encoding']
    assert wire['float32']['bytes'] == 4 * dims
    assert wire['float16']['bytes'] == 2 * dims
    assert dims <= wire['int8']['bytes'] < 1.2 * dims, 'few latents need half precision'
    assert wire['entropy_int8']['bytes'] < dims
    assert wire['float32']['psnr'] == report['psnr']
    assert report['psnr'] - 0.1 <= wire['int8']['psnr']
    baseline = report['baselines']
    assert set(baseline) == {'mean_color', 'downsample', 'pca', 'webp', 'jpeg', 'avif'}
    assert baseline['pca']['bytes'] == 4 * dims
    assert baseline['downsample']['bytes'] <= 4 * dims
    assert baseline['mean_color']['psnr'] < baseline['downsample']['psnr'] < report['psnr']
    for name in CODECS:
        assert baseline[name]['bytes'] <= 4 * dims or baseline[name]['fits'] < 1
        assert report['at_equal_quality'][name]['reached'] == 1
        assert report['at_equal_quality'][name]['psnr'] >= report['psnr']
        rates = report['rates'][name].values()
        for key in ('bytes', 'psnr'):
            steps = [step[key] for step in rates]
            assert steps == sorted(steps)
    coarse = list(report['rates']['entropy_int8'].values())
    assert coarse[0]['bytes'] > coarse[-1]['bytes']
    assert coarse[0]['psnr'] > coarse[-1]['psnr']


def test_tokens_are_scored_if_the_model_has_a_codebook(data, tmp_path):
    shutil.copytree(load('tinyvae').artifact.path, tmp_path, dirs_exist_ok=True)
    codec = load(tmp_path)
    crops = np.stack([scene(seed, 64) for seed in range(20)])
    z = codec.encode(planes(*crops))
    levels = np.stack([z[:16], 0.5 * (z[:16] - z[:16].mean(0))])
    codebook.write(tmp_path, codebook.Codebook(levels, codec.id.fingerprint))
    figures = scores.means(Comparison(codec, None).measure(crops[:8]))
    assert figures['baselines']['pca'] is None
    assert 1 <= figures['encoding']['vq']['bytes'] <= 4  # two tokens of four bits, and a check
    # The first level's codes are latents of these very crops.
    assert figures['encoding']['vq']['psnr'] == pytest.approx(figures['psnr'], abs=2)


class Thumbnails:
    """A codec whose latents are 4×4-pixel images, `[3, 4, 4]`."""

    input_size, input_channels = 64, 3
    latent_mean = np.full((3, 4, 4), 0.5, np.float32)
    latent_std = np.full((3, 4, 4), 0.2, np.float32)

    def __init__(self, path):
        self.artifact = SimpleNamespace(path=path)

    def encode_stats(self, x):
        mean = x.reshape(-1, 3, 4, 16, 4, 16).mean((3, 5))
        return mean, np.full_like(mean, -6)

    def decode(self, z):
        return z.repeat(16, 2).repeat(16, 3)


def test_spatial_latents_are_scored(tmp_path):
    comparison = Comparison(Thumbnails(tmp_path), None)
    crops = np.stack([scene(seed, 64) for seed in range(4)])
    figures = scores.means(comparison.measure(crops))
    sizes = {form: values and values['bytes'] for form, values in figures['encoding'].items()}
    assert (sizes['float32'], sizes['float16'], sizes['int8'], sizes['vq']) == (192, 96, 48, None)
    assert figures['encoding']['float32']['psnr'] == figures['psnr']
    assert figures['encoding']['int8']['psnr'] == pytest.approx(figures['psnr'], abs=0.1)
    assert comparison.latents[0].shape == (4, 48)
    x = planes(*crops)
    mean = x.reshape(4, 3, 4, 16, 4, 16).mean((3, 5), keepdims=True)
    mse = ((x.reshape(4, 3, 4, 16, 4, 16) - mean) ** 2).mean()
    assert figures['mse'] == pytest.approx(mse, rel=1e-3)


def test_plot_writes_an_image(full_report):
    image = cv2.imread(str(full_report[1]))
    assert image.shape[0] > 300
    assert image.std() > 10


def test_json_is_an_object_for_one_model_and_a_list_for_several(data, capsys):
    image = data / 'image1.png'
    command = ('--data', image, '--crops', 2)
    code, out, _ = run(capsys, 'tinyvae', *command, '--crop', 64, '--json')
    one = json.loads(out)
    assert code == 0
    assert set(one['sets']) == {'stills'}
    code, out, _ = run(capsys, 'tinyvae', 'tinyvae', *command, '--native')
    assert code == 0
    assert out.count('native crops of 64 px') == 2
    assert 'PCA, 64-D' in out
    code, out, _ = run(capsys, 'tinyvae', 'tinyvae', *command, '--json')
    both = json.loads(out)
    assert [report['psnr'] for report in both] == [one['psnr']] * 2


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (('tinyvea', '--data', '{data}'), 'tinyvea'),
        (('tinyvae', '--data', '{data}/nothing'), 'is not a folder'),
        (
            ('tinyvae', '--data', '{data}', '--crop', '32'),
            'tinyvae takes crops of 64 pixels, not of 32',
        ),
        (('tinyvae', '--data', __file__), 'is not an image, a clip or a bag'),
        (('tinyvae', '--data', '{data}', '--held-out', 'none.yaml'), 'none.yaml: no such file'),
        (('tinyvae', '--data', '{data}/image0.png', '--probe', '{data}/x'), 'is not a folder'),
    ],
)
def test_rejects_invalid_arguments_in_one_line(data, capsys, options, message):
    code, _, err = run(capsys, *(option.format(data=data) for option in options), '--crops', 1)
    assert code == 2
    assert err.startswith('sage eval: ')
    assert message in err
    assert err.count('\n') == 1


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            ('--plot', '{data}/x.rates'),
            '--plot {data}/x.rates is not a file name that Matplotlib can write',
        ),
        (('--plot', '{data}'), '--plot {data} is not a file'),
        (('tinyvae_grey16', '--plot', '{data}/x.png'), 'crops of different colors'),
        (('tinyvae32', '--plot', '{data}/x.png'), 'crops of different sizes'),
        (('--probe', '{data}/x'), '{data}/x is not a folder'),
    ],
)
def test_checks_plot_and_probe_before_reading_the_data(data, capsys, options, message):
    options = ('tinyvae', *options, '--data', '{data}/nothing')
    code, _, err = run(capsys, *(option.format(data=data) for option in options))
    assert code == 2
    assert err.startswith('sage eval: ')
    assert message.format(data=data) in err
    assert err.count('\n') == 1


def test_every_model_has_its_own_color(full_report, tmp_path):
    report, _ = full_report
    most = len(rate_distortion.MODELS)
    assert len(set(rate_distortion.MODELS)) == most
    seen = []
    for count in (most - 1, most):
        encoding = {'int8': {'bytes': 30, 'psnr': 99.0, 'ms_ssim': 1.0}}  # above all curves
        others = [report | {'encoding': encoding}] * count
        rate_distortion.plot(others, tmp_path / 'x.png')
        seen.append(cv2.imread(str(tmp_path / 'x.png')))
    assert (seen[0] != seen[1]).any()
    with pytest.raises(ModelError, match=f'{most + 1} models are too many: plot at most {most}'):
        rate_distortion.check_plot([load('tinyvae')] * (most + 1), tmp_path / 'x.png')


@pytest.fixture
def held_out_config(tmp_path):
    """Return a configuration that holds image1.png out."""
    path = tmp_path / 'run.yaml'
    path.write_text(
        'name: t\nversion: "1"\nmodel: {}\ntraining: {}\n'
        'data: {root: none, held_out: [image1.png]}\n'
    )
    return path


def test_rejects_files_that_are_not_held_out(data, held_out_config, capsys):
    options = ('--held-out', held_out_config, '--crops', 1)
    code, _, _ = run(capsys, 'tinyvae', '--data', data / 'image1.png', *options)
    assert code == 0
    for place in (data / 'image0.png', data / 'clip.avi', held_out_config.parent):
        code, _, err = run(capsys, 'tinyvae', '--data', place, *options)
        assert code == 2
        assert f'{place}: {held_out_config} holds none of it out' in err
        assert err.count('\n') == 1


def test_rejects_zero_crops(data, capsys):
    with pytest.raises(SystemExit) as ended:
        run(capsys, 'tinyvae', '--data', data, '--crops', 0)
    assert ended.value.code == 2
    assert '--crops' in capsys.readouterr().err
