# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Loading models: backends agree, and missing, altered or invalid files are rejected."""

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from sage_perception.core.latent import ModelId
from sage_perception.evaluation.baselines import downsample, mean_color
from sage_perception.evaluation.scores import fidelity, means
from sage_perception.models import (
    Codec,
    Compressor,
    ModelError,
    artifact,
    available,
    load,
    load_codec,
    load_compressor,
)
from sage_perception.models.backends.onnx_backend import MAX_BATCH
from sage_perception.models.backends.tensorrt_backend import provider_options
from sage_perception.models.networks.families import FAMILIES
from sage_perception.models.registry import LOADED, ZOO, resolve
from sage_perception.training.data.crops import CropConfig, Stills
from sage_perception.training.data.images import ImagePyramid, to_model
from sage_perception.training.data.mixture import Mixture

BACKENDS = ['onnxruntime', 'torch']


def dead_leaves(seed, side=256):
    """Return an image of occluding textured discs: natural in spectrum, edges and colors.

    Lee, Mumford and Huang, Occlusion models for natural images, 2001.
    """
    rng = np.random.default_rng(seed)
    image = np.full((side, side, 3), 128, np.uint8)
    for _ in range(400):
        radius = int(np.clip(4 * rng.pareto(1.5) + 4, 4, side / 2))
        center = tuple(int(v) for v in rng.integers(0, side, 2))
        gray = rng.normal(110, 55)
        color = np.clip(gray + rng.normal(0, 25, 3), 0, 255)
        cv2.circle(image, center, radius, tuple(map(float, color)), -1, cv2.LINE_AA)
    return cv2.GaussianBlur(image, (0, 0), 0.7)


@pytest.fixture(scope='module')
def x():
    """Return 48 crops at many scales, float32 `[48, 3, 64, 64]`."""
    stills = Stills([])
    stills.images = [ImagePyramid(dead_leaves(seed)) for seed in range(6)]
    return to_model(Mixture((stills,), (1.0,), CropConfig()).sample(48, seed=0), 3)


@pytest.fixture(scope='module', params=BACKENDS)
def codec(request):
    return load('tinyvae', backend=request.param)


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(ZOO / 'tinyvae', tmp_path / 'copy')


def test_attributes_of_a_codec(codec):
    assert isinstance(codec, Codec)
    assert isinstance(codec.id, ModelId)
    assert codec.id.name == 'tinyvae'
    assert any(codec.id.fingerprint)
    assert (codec.latent_dim, codec.input_size, codec.input_channels) == (64, 64, 3)
    assert codec.latent_mean.shape == codec.latent_std.shape == (64,)
    assert (codec.latent_std > 0).all()
    assert codec.parameters <= 300_000
    assert 'license' in codec.card.lower()
    assert codec.id.name in repr(codec)


def test_returns_arrays_for_arrays(codec, x):
    z = codec.encode(x)
    mean, log_var = codec.encode_stats(x)
    y = codec.decode(z)
    for array, shape in ((z, (48, 64)), (mean, (48, 64)), (log_var, (48, 64)), (y, x.shape)):
        assert type(array) is np.ndarray
        assert array.dtype == np.float32
        assert array.shape == shape
    assert np.array_equal(z, mean)
    assert np.array_equal(z, codec.encode(x))
    assert y.min() >= 0
    assert y.max() <= 1
    np.testing.assert_allclose(y, codec.reconstruct(x), atol=1e-6)


@pytest.mark.parametrize('count', [0, 1, 65, 130])
def test_supports_any_batch_size(codec, count):
    images = np.random.default_rng(0).random((count, 3, 64, 64), np.float32)
    z = codec.encode(images)
    assert z.shape == (count, 64)
    assert codec.decode(z).shape == images.shape
    if count:
        np.testing.assert_allclose(z[-1:], codec.encode(images[-1:]), atol=1e-4)


def test_backends_agree(x):
    onnx, torch_ = (load('tinyvae', backend=backend) for backend in BACKENDS)
    assert onnx.id == torch_.id
    for ours, theirs in zip(onnx.encode_stats(x), torch_.encode_stats(x), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    z = torch_.encode(x)
    np.testing.assert_allclose(onnx.decode(z), torch_.decode(z), atol=1e-4)


def test_half_precision_is_close_to_single(x):
    half = load('tinyvae', precision='fp16')
    assert (half.backend, half.precision) == ('torch', 'fp16')
    a, b = half.encode(x), load('tinyvae').encode(x)
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosine.min() > 0.999
    assert np.abs(half.reconstruct(x) - load('tinyvae').reconstruct(x)).max() < 0.03


def test_torch_returns_tensors_for_tensors(x):
    codec = load('tinyvae', backend='torch')
    z = codec.encode(torch.from_numpy(x))
    assert isinstance(z, torch.Tensor)
    np.testing.assert_allclose(z.numpy(), codec.encode(x))
    assert codec.decode(z).shape == x.shape
    way = codec.interpolate(z[0], z[1], 3)
    assert isinstance(way, torch.Tensor)
    np.testing.assert_array_equal(way, codec.interpolate(z[0].numpy(), z[1].numpy(), 3))


def test_accepts_lists(codec, x):
    z = codec.encode(x[:1].tolist())
    assert type(z) is np.ndarray
    np.testing.assert_allclose(z, codec.encode(x[:1]), atol=1e-6)
    assert type(codec.decode(z.tolist())) is np.ndarray
    with pytest.raises(ModelError, match='tinyvae takes images as'):
        codec.encode([[0.0]])


def quality(y, x):
    """Return the means over crops of PSNR, MSE, SSIM and MS-SSIM."""
    return means(fidelity(y, x))


def test_beats_downsampling_to_as_many_values(codec, x):
    ours = quality(codec.reconstruct(x), x)
    for simpler in (mean_color(x), downsample(x, codec.latent_dim)):
        theirs = quality(simpler, x)
        assert ours['psnr'] > theirs['psnr'] + 0.5
        assert ours['ms_ssim'] > theirs['ms_ssim'] + 0.02


def test_beats_downsampling_on_a_photograph(codec):
    cbook = pytest.importorskip('matplotlib.cbook')
    stills = Stills([Path(cbook.get_sample_data('grace_hopper.jpg', asfileobj=False))])
    x = to_model(Mixture((stills,), (1.0,), CropConfig()).sample(64, seed=0), 3)
    ours = quality(codec.reconstruct(x), x)
    theirs = quality(downsample(x, codec.latent_dim), x)
    assert quality(mean_color(x), x)['psnr'] < theirs['psnr'] < ours['psnr'] - 0.8


def test_latents_match_the_stored_statistics(codec, x):
    standard = (codec.encode(x) - codec.latent_mean) / codec.latent_std
    assert np.abs(standard.mean(0)).max() < 1.5
    assert 0.3 < standard.std() < 2


def test_onnxruntime_needs_no_torch():
    code = (
        'import sys, numpy, sage_perception.models as m\n'
        "c = m.load('tinyvae', backend='onnxruntime')\n"
        'c.reconstruct(numpy.zeros((1, 3, 64, 64), numpy.float32))\n'
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_automatic_choice_is_onnxruntime_on_the_cpu():
    codec = load('tinyvae')
    assert (codec.backend, codec.device, codec.precision) == ('onnxruntime', 'cpu', 'fp32')


@pytest.mark.parametrize(
    'wrong',
    [
        np.zeros((2, 3, 64, 64), np.uint8),
        np.zeros((3, 64, 64), np.float32),
        np.zeros((2, 64, 64, 3), np.float32),
        np.zeros((2, 3, 32, 32), np.float32),
    ],
)
def test_rejects_images_of_another_shape_or_dtype(codec, wrong):
    with pytest.raises(ModelError, match=r'tinyvae takes images as float32 \[B, 3, 64, 64\]'):
        codec.encode(wrong)


def test_rejects_latents_of_another_shape(codec):
    with pytest.raises(ModelError, match=r'latents as float32 \[B, 64\], not float32 \[2, 16\]'):
        codec.decode(np.zeros((2, 16), np.float32))


def test_error_for_unknown_model_lists_the_available_ones():
    assert 'tinyvae' in available()
    with pytest.raises(ModelError, match=r"'tinyvea' is neither .*tinyvae"):
        load('tinyvea')


@pytest.mark.parametrize(
    ('argument', 'value'), [('backend', 'onnx'), ('device', 'gpu'), ('precision', 'int4')]
)
def test_error_for_unknown_option_lists_the_valid_ones(argument, value):
    with pytest.raises(ModelError, match=rf"{argument} is '{value}'; it must be one of"):
        load('tinyvae', **{argument: value})


def test_error_for_missing_backend_names_the_package(monkeypatch):
    monkeypatch.setattr('sage_perception.models.registry.installed', lambda _: False)
    with pytest.raises(ModelError, match='pip install onnxruntime'):
        load('tinyvae', backend='onnxruntime')


@pytest.mark.skipif(torch.cuda.is_available(), reason='a GPU is available')
@pytest.mark.parametrize('backend', BACKENDS)
def test_error_for_missing_device_names_the_alternative(backend):
    with pytest.raises(ModelError, match=r"cuda'? is not available to .* use .*cpu"):
        load('tinyvae', backend=backend, device='cuda')


def test_error_for_half_precision_on_onnxruntime_names_torch():
    with pytest.raises(ModelError, match="backend='torch'"):
        load('tinyvae', backend='onnxruntime', precision='fp16')


def test_path_is_a_folder_first_and_a_name_second(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load(Path('tinyvae')).artifact.path == available()['tinyvae']
    Path('tinyvae').mkdir()
    assert load('tinyvae').artifact.path == available()['tinyvae']
    with pytest.raises(ModelError, match=r'config\.yaml is missing'):
        load(Path('tinyvae'))


def test_rejects_a_folder_without_a_model(tmp_path):
    with pytest.raises(ModelError, match=r'config\.yaml is missing'):
        load(tmp_path)


@pytest.mark.parametrize(
    'file', [artifact.WEIGHTS, artifact.ENCODER, artifact.DECODER, artifact.PCA]
)
@pytest.mark.parametrize('damage', ['missing', 'altered', 'truncated'])
def test_names_the_damaged_file(copy, file, damage):
    path = copy / file
    data = bytearray(path.read_bytes())
    if damage == 'missing':
        path.unlink()
    elif damage == 'altered':
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    else:
        path.write_bytes(data[:-100])
    with pytest.raises(ModelError, match=file):
        load(copy)


@pytest.mark.parametrize('file', [artifact.WEIGHTS, artifact.ENCODER, artifact.DECODER])
def test_names_the_file_without_a_digest(copy, file):
    config = copy / artifact.CONFIG
    tree = yaml.safe_load(config.read_text())
    del tree['files'][file]
    config.write_text(yaml.safe_dump(tree))
    with pytest.raises(ModelError, match=f'has no SHA-256 of {file}'):
        load(copy)


@pytest.mark.parametrize('backend', BACKENDS)
def test_error_for_wrong_fingerprint_names_both(copy, backend):
    config = copy / artifact.CONFIG
    tree = yaml.safe_load(config.read_text())
    right, wrong = tree['fingerprint'], 'ab' * 32
    config.write_text(yaml.safe_dump(tree | {'fingerprint': wrong}))
    with pytest.raises(ModelError, match=rf'{right}.*{wrong}'):
        load(copy, backend=backend)


@pytest.mark.parametrize('backend', BACKENDS)
def test_loads_codecs_and_compressors(backend):
    assert isinstance(load('tinyvae', backend=backend), Codec)
    assert isinstance(load('h_to_l_hybrid', backend=backend), Compressor)
    assert load_codec('tinyvae', backend=backend).backend == backend
    assert load_compressor('h_to_l_hybrid', backend=backend).backend == backend
    with pytest.raises(ModelError, match=r'h_to_l_hybrid@.* use a model of images'):
        load_codec('h_to_l_hybrid', backend=backend)
    with pytest.raises(ModelError, match=r'tinyvae@.* use a compressor of contexts'):
        load_compressor('tinyvae', backend=backend)


def test_every_family_has_backends():
    # An identity head is part of its image model, and slots of sequences are run by their task
    # alone; semantic codes and fusion are not trained by `sage train`.
    loaded_only, trained_only = {'semantic_text', 'fusion'}, {'identity', 'slot_sequences'}
    assert set(LOADED) - loaded_only == set(FAMILIES) - trained_only


def declared(folder, **changes):
    """Change the configuration of a model and its fingerprint accordingly."""
    config = folder / artifact.CONFIG
    tree = yaml.safe_load(config.read_text()) | changes
    tensors = load_file(folder / artifact.WEIGHTS)
    fingerprint = artifact.fingerprint(tree['family'], tree['config'], tensors)
    config.write_text(yaml.safe_dump(tree | {'fingerprint': fingerprint.hex()}))
    return folder


@pytest.mark.parametrize('backend', BACKENDS)
def test_rejects_an_unknown_family(copy, backend):
    declared(copy, family='later')
    with pytest.raises(ModelError, match="of family 'later'; it must be one of tinyvae, "):
        load(copy, backend=backend)


@pytest.mark.parametrize(
    ('change', 'message'),
    [({'later_setting': 3}, 'later_setting'), ({'latent_dim': 9}, 'size mismatch')],
)
def test_rejects_a_configuration_of_another_version(copy, change, message):
    config = yaml.safe_load((copy / artifact.CONFIG).read_text())['config']
    declared(copy, config=config | change)
    with pytest.raises(ModelError, match=f'is not a tinyvae of this version of sage: .*{message}'):
        load(copy, backend='torch')


@pytest.mark.parametrize(
    'text',
    [
        '',
        'name: x',
        '{',
        'fingerprint: nonsense',
        'a: &a [x, x]\nb: [*a, *a]\n',
        'a: ' + '[' * 5000,
        'a: !!timestamp x\n',
        "{name: x, version: '1', family: x, fingerprint: x, config: [], files: {}}",
        '{name: x, version: 1, family: x, fingerprint: x, config: {}, files: {}}',
        "{name: x, version: '1', family: x, fingerprint: x, config: {}, files: {../x: y}}",
    ],
)
def test_rejects_an_invalid_configuration(copy, text):
    (copy / artifact.CONFIG).write_text(text)
    with pytest.raises(ModelError, match=r'config\.yaml is not a model configuration') as info:
        load(copy)
    assert len(str(info.value).splitlines()) == 1


def test_names_the_missing_tensor(copy):
    weights = load_file(copy / artifact.WEIGHTS)
    del weights[artifact.LATENT_STD]
    save_file(weights, copy / artifact.WEIGHTS)
    files = yaml.safe_load((copy / artifact.CONFIG).read_text())['files']
    digest = artifact.file_sha256(copy / artifact.WEIGHTS)
    declared(copy, files=files | {artifact.WEIGHTS: digest})
    with pytest.raises(ModelError, match=r'has no tensor latent\.std'):
        load(copy)


@pytest.mark.parametrize('value', [None, 'x', 0, True])
def test_names_the_invalid_dimension(copy, value):
    config = yaml.safe_load((copy / artifact.CONFIG).read_text())['config']
    codec = load(declared(copy, config=config | {'img_size': value}), backend='onnxruntime')
    with pytest.raises(ModelError, match=rf'config\.img_size is {value!r}'):
        codec.encode(np.zeros((1, 3, 64, 64), np.float32))


def test_loads_weights_with_the_tensor_names_of_version_0_1(copy, x):
    old = {'latent_features': 'hint', 'up_proj_color': 'enlarge_colour', 'up_proj': 'enlarge'}
    weights = {}
    for name, tensor in load_file(copy / artifact.WEIGHTS).items():
        half, _, rest = name.partition('.')
        layer, _, rest = rest.partition('.')
        layer = old.get(layer, layer) if half == 'decoder' else layer
        weights['.'.join(filter(None, (half, layer, rest)))] = tensor
    assert 'decoder.enlarge.filter.weight' in weights
    save_file(weights, copy / artifact.WEIGHTS)
    files = yaml.safe_load((copy / artifact.CONFIG).read_text())['files']
    digest = artifact.file_sha256(copy / artifact.WEIGHTS)
    declared(copy, files=files | {artifact.WEIGHTS: digest})
    ours, theirs = load(copy, backend='torch'), load('tinyvae', backend='torch')
    assert ours.id == theirs.id
    np.testing.assert_array_equal(ours.reconstruct(x), theirs.reconstruct(x))


SHAPE = {'input_channels': 3, 'img_size': 64, 'latent_dim': 2}
TENSORS = {
    'encoder.b': np.float32([1, 2, 3, 4]),
    'encoder.a': np.float32([[5]]),
    'decoder.a': np.float32([6]),
    'latent.mean': np.float32([7, 8]),
}


def test_fingerprint_covers_the_latent_space_only():
    reference = artifact.fingerprint('tinyvae', SHAPE, TENSORS)
    assert len(reference) == 32

    def changed(**tensors):
        return artifact.fingerprint('tinyvae', SHAPE, TENSORS | tensors)

    reordered = dict(reversed(TENSORS.items()))
    assert artifact.fingerprint('tinyvae', SHAPE | {'decoder_width': 9}, reordered) == reference
    assert changed(**{'decoder.a': np.float32([0])}) == reference
    assert changed(**{'encoder.b': np.float32([[1, 2], [3, 4]])}) != reference
    assert changed(**{'latent.mean': np.float32([7, 9])}) != reference
    assert artifact.fingerprint('other', SHAPE, TENSORS) != reference
    assert artifact.fingerprint('tinyvae', SHAPE | {'img_size': 128}, TENSORS) != reference
    big_endian = {name: tensor.astype('>f4') for name, tensor in TENSORS.items()}
    assert artifact.fingerprint('tinyvae', SHAPE, big_endian) == reference


@given(st.integers(0, 3), st.floats(width=32, allow_nan=False))
def test_fingerprint_covers_every_weight(index, value):
    weights = TENSORS['encoder.b'].copy()
    weights[index] = value
    same = weights.tobytes() == TENSORS['encoder.b'].tobytes()
    other = artifact.fingerprint('tinyvae', SHAPE, TENSORS | {'encoder.b': weights})
    assert (other == artifact.fingerprint('tinyvae', SHAPE, TENSORS)) == same


@pytest.mark.skipif(
    'TensorrtExecutionProvider' in onnxruntime.get_available_providers(),
    reason='this ONNX Runtime has TensorRT',
)
def test_tensorrt_is_rejected_where_onnx_runtime_does_not_have_it():
    with pytest.raises(ModelError, match='backend tensorrt is not available: install TensorRT'):
        load('tinyvae', backend='tensorrt')
    with pytest.raises(ModelError, match=r'does not run h_to_l_hybrid.*onnxruntime, torch'):
        load('h_to_l_hybrid', backend='tensorrt')


def test_tensorrt_engines_are_cached_by_model_and_graph_for_all_batch_sizes(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    encoder = provider_options(b'\1\2', 'encoder.onnx', (3, 64, 64), 'fp16')
    decoder = provider_options(b'\1\2', 'decoder.onnx', (64,), 'fp32')
    assert encoder['trt_engine_cache_path'] == str(tmp_path / 'sage' / 'tensorrt' / '0102')
    assert encoder['trt_engine_cache_prefix'] != decoder['trt_engine_cache_prefix']
    assert (encoder['trt_fp16_enable'], decoder['trt_fp16_enable']) == ('True', 'False')
    assert encoder['trt_profile_min_shapes'] == 'x:1x3x64x64'
    assert decoder['trt_profile_max_shapes'] == f'z:{MAX_BATCH}x64'
    for file, options in (('encoder.onnx', encoder), ('decoder.onnx', decoder)):
        session = onnxruntime.InferenceSession(
            resolve('tinyvae') / file, providers=['CPUExecutionProvider']
        )
        name, _, shape = options['trt_profile_opt_shapes'].partition(':')
        [graph_input] = session.get_inputs()
        assert graph_input.name == name
        assert [str(side) for side in graph_input.shape[1:]] == shape.split('x')[1:]
