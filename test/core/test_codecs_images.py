# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage encode`, `decode` and `reconstruct`, their archive and their sheet of images."""

import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.cli import main as cli
from sage_perception.codecs import encoded_images
from sage_perception.codecs.encoded_images import EncodedImages
from sage_perception.codecs.images import (
    assemble,
    crops_of,
    decode_images,
    encode_images,
    squares,
    tiles,
)
from sage_perception.core.latent import ModelId
from sage_perception.core.metrics import psnr, ssim
from sage_perception.models import ModelError, available, load
from sage_perception.vision.grid import grid
from sage_perception.vision.image_file import read_bgr


def smooth(seed, height, width):
    """Return a smooth image of tinted gray, uint8 BGR."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 216, (4, 6, 1)) + rng.integers(-20, 21, (4, 6, 3))
    coarse = coarse.astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope='module')
def codec():
    return load('tinyvae')


@pytest.fixture
def files(tmp_path):
    paths = []
    for seed, (height, width) in enumerate([(64, 64), (150, 200), (70, 130)]):
        paths.append(tmp_path / f'image{seed}.png')
        cv2.imwrite(str(paths[-1]), smooth(seed, height, width))
    return paths


def run(capsys, *args):
    """Return exit code, standard output and standard error of `sage …`."""
    try:
        code = cli.main([*map(str, args)])
    except SystemExit as ended:
        code = ended.code
    return code, *capsys.readouterr()


@given(st.integers(40, 90), st.integers(40, 90), st.integers(8, 40))
def test_tiles_cover_an_image_and_stay_inside(width, height, size):
    seen = np.zeros((height, width), int)
    rois = tiles(width, height, size)
    for roi in rois:
        assert (roi.width, roi.height) == (size, size)
        assert 0 <= roi.x <= width - size
        assert 0 <= roi.y <= height - size
        seen[roi.y : roi.y + size, roi.x : roi.x + size] += 1
    assert seen.min() == 1
    assert len(rois) == -(-width // size) * -(-height // size)


def test_encodes_the_center_square(codec, files):
    images = [read_bgr(path) for path in files]
    encoded = encode_images(codec, ['a', 'b', 'c'], images, tiled=False)
    assert encoded.latents.shape == (3, 64)
    assert encoded.rois.tolist() == [[0, 0, 64, 64], [25, 0, 150, 150], [30, 0, 70, 70]]
    x = images[0][..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255
    np.testing.assert_allclose(encoded.latents[:1], codec.encode(x), atol=1e-4)
    y = decode_images(codec, encoded)[0]
    np.testing.assert_allclose(y, codec.reconstruct(x)[0].transpose(1, 2, 0) * 255, atol=0.51)


def test_assembles_tiles(codec, files):
    images = [read_bgr(path) for path in files]
    encoded = encode_images(codec, ['a', 'b', 'c'], images, tiled=True)
    assert encoded.owners.tolist() == [0] + [1] * 12 + [2] * 6
    whole = decode_images(codec, encoded)
    assert [image.shape for image in whole] == [image.shape for image in images]
    x = crops_of(images, squares('abc', images, 64, True), codec)
    for deencoded, image in zip(assemble(x, encoded), images, strict=True):
        assert np.array_equal(deencoded[..., ::-1], image)
    for deencoded, image in zip(whole, images, strict=True):
        assert psnr(deencoded[..., ::-1], image) > 22


def test_rejects_latents_of_another_space(codec):
    images = [smooth(0, 64, 64)]
    encoded = encode_images(codec, ['a'], images, tiled=False)
    encoded = replace(encoded, model=ModelId('other', '1', bytes(32)))
    with pytest.raises(ModelError, match='another latent space'):
        decode_images(codec, encoded)


@pytest.mark.parametrize('tiled', [False, True])
def test_encode_and_decode_round_trip(codec, files, tmp_path, capsys, tiled):
    file, sheet = tmp_path / 'latents.npz', tmp_path / 'grid.png'
    options = ['--tiles'] if tiled else []
    code, out, _ = run(capsys, 'encode', *files, '-o', file, *options)
    assert code == 0
    assert f'{19 if tiled else 3} latents of shape 64 by tinyvae@' in out
    encoded = EncodedImages.read(file)
    assert encoded.names == ['image0.png', 'image1.png', 'image2.png']
    assert encoded.model == codec.id
    assert encoded.tiled == tiled
    assert run(capsys, 'decode', file, '-o', sheet)[0] == 0
    image = cv2.imread(str(sheet), cv2.IMREAD_COLOR_RGB)
    first = decode_images(codec, encoded)[0].repeat(2, 0).repeat(2, 1)
    assert np.array_equal(image[8 : 8 + 128, 8 : 8 + 128], first)


def test_prints_the_latents(codec, files, capsys):
    code, out, _ = run(capsys, 'encode', *files[:2], '--print')
    assert code == 0
    blocks = re.split(r'(?m)^image\d\.png \d+x\d+\+\d+\+\d+\n', out)[1:]
    values = [np.fromstring(block.strip().strip('[]'), sep=' ') for block in blocks]
    images = [read_bgr(path) for path in files[:2]]
    encoded = encode_images(codec, ['a', 'b'], images, tiled=False)
    np.testing.assert_allclose(values, encoded.latents, atol=6e-4)


def test_reconstruct_prints_psnr_and_ssim(codec, files, tmp_path, capsys):
    sheet = tmp_path / 'grid.png'
    code, out, _ = run(capsys, 'reconstruct', *files, '-o', sheet)
    assert code == 0
    printed = re.search(r'image0.png: PSNR ([\d.]+) dB, SSIM ([\d.]+)', out)
    image = cv2.imread(str(sheet), cv2.IMREAD_COLOR_RGB)
    before, after = image[8:136:2, 8:136:2], image[140:268:2, 8:136:2]
    assert np.array_equal(before[..., ::-1], read_bgr(files[0]))
    assert float(printed[1]) == pytest.approx(psnr(before, after), abs=0.006)
    assert float(printed[2]) == pytest.approx(ssim(before, after), abs=0.0006)


def test_reconstructs_an_image_of_which_few_bits_are_in_use(files, tmp_path, capsys):
    gray = smooth(0, 64, 64)[..., 1]
    deep, sheet = tmp_path / 'deep.png', tmp_path / 'sheet.png'
    cv2.imwrite(str(deep), gray.astype(np.uint16) * 16)
    code, out, _ = run(capsys, 'reconstruct', deep, '-o', sheet)
    assert code == 0
    before = cv2.imread(str(sheet))[8:136:2, 8:136:2, 1]
    assert np.abs(before.astype(int) - gray).max() <= 1
    assert 20 < float(re.search(r'PSNR ([\d.]+) dB', out)[1]) < 45


def test_sheet_wraps_to_new_rows():
    images = [np.full((40, 300, 3), 30 + 10 * i, np.uint8) for i in range(9)]
    sheet = grid([[image] for image in images], [[f'caption {i}'] for i in range(9)])
    assert sheet.shape[1] <= 1700
    for i in range(9):
        assert (sheet == 30 + 10 * i).all(axis=2).sum() >= 40 * 300
    wide = grid([[np.zeros((5, 3000, 3), np.uint8)]], [['wide']])
    assert wide.shape[1] > 3000


@pytest.mark.parametrize(
    ('command', 'message'),
    [
        ('encode {tmp}/none.png --print', 'none.png: no such image'),
        ('encode {tmp}/text.png --print', 'text.png is not an image that Pillow can read'),
        ('encode {tmp} --print', 'is a folder: pass image files'),
        ('encode {tmp}/image0.png', 'no output: use --print, -o FILE.npz, or both'),
        (
            'encode {tmp}/small.png --print --tiles',
            'small.png has 90x40 pixels, smaller than a tile of 64',
        ),
        ('encode {tmp}/image0.png --print --model nothing', "'nothing' is neither a model"),
        ('encode {tmp}/image0.png -o {tmp}/text.png/where.npz', 'text.png: Not a directory'),
        ('decode {tmp}/none.npz -o {tmp}/g.png', 'none.npz'),
        ('decode {tmp}/text.png -o {tmp}/g.png', 'not a file of sage encode'),
        ('decode {tmp}/other.npz -o {tmp}/g.png', 'not a file of sage encode'),
        ('reconstruct {tmp}/image0.png -o {tmp}/g.xyz', 'unknown image format'),
        ('reconstruct {tmp}/image0.png -o {tmp}/text.png/where.png', 'text.png: Not a directory'),
    ],
)
def test_reports_errors_in_one_line(files, tmp_path, capsys, command, message):
    (tmp_path / 'text.png').write_text('text')
    np.savez(tmp_path / 'other.npz', latents=np.zeros(3))
    cv2.imwrite(str(tmp_path / 'small.png'), smooth(0, 40, 90))
    code, _, err = run(capsys, *command.format(tmp=tmp_path).split())
    assert code == 2
    assert err.startswith(f'sage {command.split()[0]}: ')
    assert message in err
    assert err.count('\n') == 1


def damaged(file, suffix):
    """Write a damaged or unsupported copy of an image file; return its path."""
    path = file.with_name(f'damaged.{suffix}')
    if suffix == 'tiff':  # float pixels
        cv2.imwrite(str(path), cv2.imread(str(file)).astype(np.float32) / 255)
    elif suffix == 'png':
        data = bytearray(file.read_bytes())
        data[len(data) // 2 : len(data) // 2 + 10] = bytes(10)
        path.write_bytes(data)
    else:
        data = cv2.imencode(path.suffix, cv2.imread(str(file)))[1].tobytes()
        path.write_bytes(data[: len(data) // 2])
    return path


@pytest.mark.parametrize('suffix', ['jpg', 'webp', 'bmp', 'png', 'tiff'])
def test_rejects_a_damaged_image(files, capfd, suffix):
    path = damaged(files[1], suffix)
    code, out, err = run(capfd, 'encode', files[0], path, '--print')
    assert (code, out) == (2, '')
    assert err.startswith(f'sage encode: {path} ')
    assert err.count('\n') == 1  # without output of libraries, which bypass sys.stderr


@pytest.fixture
def archive(codec, files, tmp_path):
    """Return an archive with the tiles of three images."""
    images = [read_bgr(path) for path in files]
    path = tmp_path / 'latents.npz'
    encode_images(codec, ['a', 'b', 'c'], images, tiled=True).save(path)
    return path


def assert_rejected(capsys, file, message):
    code, _, err = run(capsys, 'decode', file, '-o', file.with_name('grid.png'))
    assert code == 2
    assert err.startswith(f'sage decode: {file}')
    assert message in err
    assert err.count('\n') == 1
    assert not file.with_name('grid.png').exists()


@pytest.mark.parametrize(
    ('name', 'change', 'message'),
    [
        ('latents', lambda z: z[:, :32], 'takes latents as float32 [B, 64]'),
        ('latents', lambda z: z.astype(int), 'latents must be float32'),
        ('latents', lambda z: z * np.nan, 'not finite'),
        ('latents', lambda z: z[:0], 'latents must be float32'),
        ('latents', lambda z: z[:-1], 'rois of 18 latents'),
        ('latents', lambda z: z[0, 0], 'not a file of sage encode'),
        ('owners', lambda owners: owners + 9, 'owners must be'),
        ('owners', lambda owners: owners * 0, 'owners must be'),
        ('rois', lambda rois: rois[:2], 'rois of 19 latents'),
        ('rois', lambda rois: rois + np.int32([1, 0, 0, 0]), 'not inside its image'),
        ('rois', lambda rois: rois - np.int32([0, 1, 0, 0]), 'not inside its image'),
        ('sizes', lambda sizes: sizes + np.int32(2**30), 'too few to cover'),
        ('names', lambda names: names[:2], 'sizes of 19 latents of 2 images'),
        ('tiled', np.logical_not, 'owners must be'),
        ('fingerprint', lambda digest: digest[:5], 'has 5 bytes, not 32'),
        ('fingerprint', lambda digest: digest[::-1], 'another latent space'),
        ('model', lambda model: model[::-1], '--model FOLDER'),
    ],
)
def test_rejects_invalid_arrays(archive, capsys, name, change, message):
    with np.load(archive) as file:
        arrays = dict(file)
    np.savez(archive, **(arrays | {name: change(arrays[name])}))
    assert_rejected(capsys, archive, message)


def test_rejects_tiles_of_another_size(codec):
    encoded = encode_images(codec, ['a'], [smooth(0, 64, 64)], tiled=True)
    half = replace(encoded, rois=encoded.rois // 2, sizes=encoded.sizes // 2)
    with pytest.raises(ModelError, match='64 pixels a side'):
        decode_images(codec, half)


def test_rejects_damaged_archives(archive, capsys):
    data = archive.read_bytes()
    for place in range(40, len(data) - 400, len(data) // 12):
        archive.write_bytes(data[:place] + bytes([0xFF] * 20) + data[place + 20 :])
        assert_rejected(capsys, archive, 'not a file of sage encode')
    for end in (0, 10, len(data) // 2, len(data) - 30):
        archive.write_bytes(data[:end])
        assert_rejected(capsys, archive, 'not a file of sage encode')


def test_rejects_a_member_that_is_not_an_array(archive, capsys):
    with np.load(archive) as file:
        arrays = dict(file)
    sizes = arrays.pop('sizes')
    np.savez(archive, **arrays)
    with zipfile.ZipFile(archive, 'a') as file:
        file.writestr('sizes', sizes.tobytes())  # without the suffix .npy: NumPy returns bytes
    assert_rejected(capsys, archive, 'not a file of sage encode: sizes is not an array')


def test_rejects_an_archive_that_expands_beyond_memory(archive, capsys, monkeypatch):
    monkeypatch.setattr(encoded_images, 'MAX_ARCHIVE_BYTES', 1 << 20)
    np.savez_compressed(archive, latents=np.zeros((2, 1 << 18), np.float32))
    assert archive.stat().st_size < 10_000
    assert_rejected(capsys, archive, '2 MiB uncompressed, at most 1 MiB')


def test_rejects_an_image_that_expands_beyond_memory(tmp_path, capsys):
    path = tmp_path / 'bomb.ppm'
    path.write_bytes(b'P6\n40000 40000\n255\n' + bytes(99))
    code, _, err = run(capsys, 'encode', path, '--print')
    assert code == 2
    assert 'bomb.ppm is too large' in err
    assert err.count('\n') == 1


def test_rejects_a_single_array(archive, capsys):
    np.save(archive.with_suffix('.npy'), np.zeros((1, 64), np.float32))
    assert_rejected(capsys, archive.with_suffix('.npy'), 'not an .npz archive')


def test_model_folder_is_selected_by_option(files, tmp_path, capsys):
    folder = shutil.copytree(available()['tinyvae'], tmp_path / 'mine')
    config = folder / 'config.yaml'
    config.write_text(config.read_text().replace('name: tinyvae', 'name: mine'))
    file = tmp_path / 'latents.npz'
    assert run(capsys, 'encode', files[0], '-o', file, '--model', folder)[0] == 0
    assert_rejected(capsys, file, 'select its folder with --model FOLDER')
    assert run(capsys, 'decode', file, '-o', tmp_path / 'g.png', '--model', folder)[0] == 0


def test_needs_no_torch(files, tmp_path):
    program = (
        'import sys; from sage_perception.cli import main as cli; '
        f'cli.main(["reconstruct", {str(files[0])!r}, "-o", {str(tmp_path / "g.png")!r}]); '
        'sys.exit("torch" in sys.modules and "torch was imported")'
    )
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_closed_pipe_is_not_an_error(files):
    """As `sage encode --print … | head -1`."""
    command = [sys.executable, '-m', 'sage_perception.cli.main', 'encode', '--print']
    pipe = subprocess.Popen(
        [*command, *map(str, files * 100)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    pipe.stdout.readline()
    pipe.stdout.close()
    assert (pipe.stderr.read().decode(), pipe.wait()) == ('', 0)
