# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage encode`, `decode` and `reconstruct`, and the sheet of images they write."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage_perception.cli import main as cli
from sage_perception.codecs import images as coding
from sage_perception.core.metrics import psnr, ssim
from sage_perception.models import ModelError, available, load
from sage_perception.vision.grid import grid


def smooth(seed, height, width):
    """Return an image of soft grays with a tint, uint8 BGR."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 216, (4, 6, 1)) + rng.integers(-20, 21, (4, 6, 3))
    coarse = coarse.astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope='module')
def codec():
    return load('tinyvae')


@pytest.fixture
def pictures(tmp_path):
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
def test_tiles_cover_a_image_and_stay_inside(width, height, size):
    seen = np.zeros((height, width), int)
    rois = coding.tiles(width, height, size)
    for roi in rois:
        assert (roi.width, roi.height) == (size, size)
        assert 0 <= roi.x <= width - size
        assert 0 <= roi.y <= height - size
        seen[roi.y : roi.y + size, roi.x : roi.x + size] += 1
    assert seen.min() == 1
    assert len(rois) == -(-width // size) * -(-height // size)


def test_latents_are_those_of_the_center_square(codec, pictures):
    images = [coding.read_bgr(path) for path in pictures]
    coded = coding.encode_images(codec, ['a', 'b', 'c'], images, tiled=False)
    assert coded.latents.shape == (3, 64)
    assert coded.rois.tolist() == [[0, 0, 64, 64], [25, 0, 150, 150], [30, 0, 70, 70]]
    x = images[0][..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255
    np.testing.assert_allclose(coded.latents[:1], codec.encode(x), atol=1e-4)
    y = coding.decode_images(codec, coded)[0]
    np.testing.assert_allclose(y, codec.reconstruct(x)[0].transpose(1, 2, 0) * 255, atol=0.51)


def test_tiles_are_put_together_again(codec, pictures):
    images = [coding.read_bgr(path) for path in pictures]
    coded = coding.encode_images(codec, ['a', 'b', 'c'], images, tiled=True)
    assert coded.owners.tolist() == [0] + [1] * 12 + [2] * 6
    whole = coding.decode_images(codec, coded)
    assert [picture.shape for picture in whole] == [image.shape for image in images]
    x = coding.crops_of(images, coding.cut('abc', images, 64, True), codec)
    for picture, image in zip(coding.assemble(x, coded), images, strict=True):
        assert np.array_equal(picture[..., ::-1], image)
    for picture, image in zip(whole, images, strict=True):
        assert psnr(picture[..., ::-1], image) > 22  # so smooth an image is easy


def test_latents_of_another_space_are_refused(codec):
    images = [smooth(0, 64, 64)]
    coded = coding.encode_images(codec, ['a'], images, tiled=False)
    coded = replace(coded, model=coding.ModelId('other', '1', bytes(32)))
    with pytest.raises(ModelError, match='another latent space'):
        coding.decode_images(codec, coded)


@pytest.mark.parametrize('tiled', [False, True])
def test_from_images_to_a_file_and_back(codec, pictures, tmp_path, capsys, tiled):
    file, sheet = tmp_path / 'latents.npz', tmp_path / 'grid.png'
    options = ['--tiles'] if tiled else []
    code, out, _ = run(capsys, 'encode', *pictures, '-o', file, *options)
    assert code == 0
    assert f'{19 if tiled else 3} latents of 64 numbers by tinyvae@' in out
    coded = coding.Coded.read(file)
    assert coded.names == ['image0.png', 'image1.png', 'image2.png']
    assert coded.model == codec.id
    assert coded.tiled == tiled
    assert run(capsys, 'decode', file, '-o', sheet)[0] == 0
    image = cv2.imread(str(sheet), cv2.IMREAD_COLOR_RGB)
    first = coding.decode_images(codec, coded)[0].repeat(2, 0).repeat(2, 1)
    assert np.array_equal(image[8 : 8 + 128, 8 : 8 + 128], first)


def test_printed_numbers_are_the_latents(codec, pictures, capsys):
    code, out, _ = run(capsys, 'encode', *pictures[:2], '--print')
    assert code == 0
    blocks = re.split(r'(?m)^image\d\.png \d+x\d+\+\d+\+\d+\n', out)[1:]
    numbers = [np.fromstring(block.strip().strip('[]'), sep=' ') for block in blocks]
    images = [coding.read_bgr(path) for path in pictures[:2]]
    coded = coding.encode_images(codec, ['a', 'b'], images, tiled=False)
    np.testing.assert_allclose(numbers, coded.latents, atol=6e-4)


def test_reconstruct_says_how_well(codec, pictures, tmp_path, capsys):
    sheet = tmp_path / 'grid.png'
    code, out, _ = run(capsys, 'reconstruct', *pictures, '-o', sheet)
    assert code == 0
    said = re.search(r'image0.png: PSNR ([\d.]+) dB, SSIM ([\d.]+)', out)
    image = cv2.imread(str(sheet), cv2.IMREAD_COLOR_RGB)
    before, after = image[8:136:2, 8:136:2], image[140:268:2, 8:136:2]
    assert np.array_equal(before[..., ::-1], coding.read_bgr(pictures[0]))
    assert float(said[1]) == pytest.approx(psnr(before, after), abs=0.006)
    assert float(said[2]) == pytest.approx(ssim(before, after), abs=0.0006)


def test_a_sheet_holds_every_image_and_starts_new_rows():
    pictures = [np.full((40, 300, 3), 30 + 10 * i, np.uint8) for i in range(9)]
    sheet = grid([[picture] for picture in pictures], [[f'number {i}'] for i in range(9)])
    assert sheet.shape[1] <= 1700
    for i in range(9):
        assert (sheet == 30 + 10 * i).all(axis=2).sum() >= 40 * 300
    wide = grid([[np.zeros((5, 3000, 3), np.uint8)]], [['so wide']])
    assert wide.shape[1] > 3000


@pytest.mark.parametrize(
    ('command', 'message'),
    [
        ('encode {tmp}/none.png --print', 'none.png: no such image'),
        ('encode {tmp}/text.png --print', 'text.png is not an image that Pillow reads'),
        ('encode {tmp} --print', 'is a folder: give the images in it'),
        ('encode {tmp}/image0.png', 'give --print, -o FILE.npz, or both'),
        (
            'encode {tmp}/small.png --print --tiles',
            'small.png has 90x40 pixels, smaller than a tile of 64',
        ),
        ('encode {tmp}/image0.png --print --model nothing', "'nothing' is neither a model"),
        ('encode {tmp}/image0.png -o {tmp}/no/where.npz', 'where.npz'),
        ('decode {tmp}/none.npz -o {tmp}/g.png', 'none.npz'),
        ('decode {tmp}/text.png -o {tmp}/g.png', 'no file of sage encode'),
        ('decode {tmp}/other.npz -o {tmp}/g.png', 'no file of sage encode'),
        ('reconstruct {tmp}/image0.png -o {tmp}/g.xyz', 'OpenCV writes no such format'),
        ('reconstruct {tmp}/image0.png -o {tmp}/no/where.png', 'where.png'),
    ],
)
def test_mistakes_are_named_in_one_line(pictures, tmp_path, capsys, command, message):
    (tmp_path / 'text.png').write_text('no image')
    np.savez(tmp_path / 'other.npz', latents=np.zeros(3))
    cv2.imwrite(str(tmp_path / 'small.png'), smooth(0, 40, 90))
    code, _, err = run(capsys, *command.format(tmp=tmp_path).split())
    assert code == 2
    assert err.startswith(f'sage {command.split()[0]}: ')
    assert message in err
    assert err.count('\n') == 1


def harmed(picture, how):
    """Write an image another way, damaged; return where."""
    path = picture.with_name(f'harmed.{how}')
    if how == 'tiff':  # of floats
        cv2.imwrite(str(path), cv2.imread(str(picture)).astype(np.float32) / 255)
    elif how == 'png':
        data = bytearray(picture.read_bytes())
        data[len(data) // 2 : len(data) // 2 + 10] = bytes(10)
        path.write_bytes(data)
    else:
        data = cv2.imencode(path.suffix, cv2.imread(str(picture)))[1].tobytes()
        path.write_bytes(data[: len(data) // 2])
    return path


@pytest.mark.parametrize('how', ['jpg', 'webp', 'bmp', 'png', 'tiff'])
def test_images_that_are_not_whole_are_named(pictures, capfd, how):
    path = harmed(pictures[1], how)
    code, out, err = run(capfd, 'encode', pictures[0], path, '--print')
    assert (code, out) == (2, '')
    assert err.startswith(f'sage encode: {path} ')
    assert err.count('\n') == 1  # with nothing by the libraries, which write past sys.stderr


@pytest.fixture
def archive(codec, pictures, tmp_path):
    """Return a file with the tiles of three images."""
    images = [coding.read_bgr(path) for path in pictures]
    path = tmp_path / 'latents.npz'
    coding.encode_images(codec, ['a', 'b', 'c'], images, tiled=True).save(path)
    return path


def assert_refused(capsys, file, message):
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
        ('latents', lambda z: z.astype(int), 'latents are float32'),
        ('latents', lambda z: z * np.nan, 'not finite'),
        ('latents', lambda z: z[:0], 'latents are float32'),
        ('latents', lambda z: z[:-1], 'rois of 18 latents'),
        ('latents', lambda z: z[0, 0], 'no file of sage encode'),
        ('owners', lambda owners: owners + 9, 'owners are not'),
        ('owners', lambda owners: owners * 0, 'owners are not'),
        ('rois', lambda rois: rois[:2], 'rois of 19 latents'),
        ('rois', lambda rois: rois + np.int32([1, 0, 0, 0]), 'not inside its image'),
        ('rois', lambda rois: rois - np.int32([0, 1, 0, 0]), 'not inside its image'),
        ('sizes', lambda sizes: sizes + np.int32(2**30), 'too few to cover'),
        ('names', lambda names: names[:2], 'sizes of 19 latents of 2 images'),
        ('tiled', np.logical_not, 'owners are not'),
        ('fingerprint', lambda digest: digest[:5], 'has 5 bytes, not 32'),
        ('fingerprint', lambda digest: digest[::-1], 'another latent space'),
        ('model', lambda model: model[::-1], '--model FOLDER'),
    ],
)
def test_latents_that_nobody_encoded_are_refused(archive, capsys, name, change, message):
    with np.load(archive) as file:
        arrays = dict(file)
    np.savez(archive, **(arrays | {name: change(arrays[name])}))
    assert_refused(capsys, archive, message)


def test_tiles_of_another_side_are_refused(codec):
    coded = coding.encode_images(codec, ['a'], [smooth(0, 64, 64)], tiled=True)
    half = replace(coded, rois=coded.rois // 2, sizes=coded.sizes // 2)
    with pytest.raises(ModelError, match='64 pixels a side'):
        coding.decode_images(codec, half)


def test_damaged_archives_are_refused(archive, capsys):
    whole = archive.read_bytes()
    for place in range(40, len(whole) - 400, len(whole) // 12):
        archive.write_bytes(whole[:place] + bytes([0xFF] * 20) + whole[place + 20 :])
        assert_refused(capsys, archive, 'no file of sage encode')
    for end in (0, 10, len(whole) // 2, len(whole) - 30):
        archive.write_bytes(whole[:end])
        assert_refused(capsys, archive, 'no file of sage encode')


def test_an_array_is_no_archive(archive, capsys):
    np.save(archive.with_suffix('.npy'), np.zeros((1, 64), np.float32))
    assert_refused(capsys, archive.with_suffix('.npy'), 'it is no .npz archive')


def test_a_model_in_a_folder_is_named_by_its_folder(pictures, tmp_path, capsys):
    folder = shutil.copytree(available()['tinyvae'], tmp_path / 'mine')
    config = folder / 'config.yaml'
    config.write_text(config.read_text().replace('name: tinyvae', 'name: mine'))
    file = tmp_path / 'latents.npz'
    assert run(capsys, 'encode', pictures[0], '-o', file, '--model', folder)[0] == 0
    assert_refused(capsys, file, 'give its folder, --model FOLDER')
    assert run(capsys, 'decode', file, '-o', tmp_path / 'g.png', '--model', folder)[0] == 0


def test_coding_needs_no_torch(pictures, tmp_path):
    program = (
        'import sys; from sage_perception.cli import main as cli; '
        f'cli.main(["reconstruct", {str(pictures[0])!r}, "-o", {str(tmp_path / "g.png")!r}]); '
        'sys.exit("torch" in sys.modules and "torch was imported")'
    )
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_has_seen_enough_is_no_error(pictures):
    """As `sage encode --print … | head -1`."""
    command = [sys.executable, '-m', 'sage_perception.cli.main', 'encode', '--print']
    pipe = subprocess.Popen(
        [*command, *map(str, pictures * 100)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    pipe.stdout.readline()
    pipe.stdout.close()
    assert (pipe.stderr.read().decode(), pipe.wait()) == ('', 0)
