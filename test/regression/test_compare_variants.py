# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""`sage compare`: models and parameter files side by side on the same bags."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from sage_perception.cli.compare import main
from sage_perception.core.latent import Latent, Roi
from sage_perception.core.lct import LCT
from sage_perception.regression.events import AgreementEvent, FrameEvent, LctEvent, Pair, Region
from sage_perception.regression.quality import Quality
from sage_perception.regression.variants import Variant, variants
from sage_perception.vision.camera_health import Fault


def test_models_are_compared_on_the_same_bag(golden, tmp_path, capsys):
    bag, plot, page = golden('dual'), tmp_path / 'new' / 'plot.png', tmp_path / 'report.html'
    options = ['--models', 'tinyvae', 'tinyvae_128', '--json', '--plot', plot, '--html', page]
    assert main([str(bag), *map(str, options)]) == 0
    small, large = json.loads(capsys.readouterr().out)
    assert [small['variant'], large['variant']] == ['tinyvae', 'tinyvae_128']
    for name in ('frames', 'crops', 'lcts', 'matches'):
        assert small[name] == large[name] > 0, name
    # Twice as many dimensions: twice the bytes, and a better reconstruction.
    assert (small['bytes_per_lct'], large['bytes_per_lct']) == pytest.approx((64, 128), rel=0.06)
    assert 15 < small['psnr_db'] < large['psnr_db'] < 40
    assert 0.3 < small['ssim'] < large['ssim'] < 1
    assert small['encode_ms'] > 0
    assert small['hashes']['model'] != large['hashes']['model']
    assert small['hashes']['bag'] == large['hashes']['bag']
    assert cv2.imread(str(plot)) is not None
    document = page.read_text()
    assert document.count('<article class="moment"') == 6  # three times, two models
    assert 'cam0, tinyvae_128' in document


def test_parameter_files_are_compared(golden, tmp_path, capsys):
    files = []
    for count in (1, 4):
        files.append(tmp_path / f'crops_{count}.yaml')
        files[-1].write_text(f'/**/attention:\n  ros__parameters:\n    max_crops: {count}\n')
    assert main([str(golden('single')), '--params', *map(str, files)]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert [row.split()[1] for row in rows] == ['crops_1.yaml', 'crops_4.yaml']
    column = header.replace('PSNR dB', 'PSNR_dB').split().index('LCTs')
    counts = [int(row.split()[column]) for row in rows]
    assert counts[0] < counts[1]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['bag'], 'a comparison needs two models or two parameter files'),
        (['bag', '--models', 'tinyvae'], 'a comparison needs two models'),
        (['bag', '--models', 'a', 'b/a'], "two variants are named 'a'"),
        (['absent', '--models', 'tinyvae', 'tinyvae_128'], 'absent does not exist'),
        (['absent', '--models', 'tinyvae', 'no_model'], "'no_model' is neither a model"),
        (['absent', '--params', 'x.yaml', 'y.yaml'], 'x.yaml'),
    ],
)
def test_errors_take_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count('\n') == 1


def test_variants_are_all_combinations():
    files = [Path('a.yaml'), Path('b.yaml')]
    found = [each.name for each in variants(['m', 'n'], files)]
    assert found == ['m + a.yaml', 'm + b.yaml', 'n + a.yaml', 'n + b.yaml']
    assert Variant().name == 'default'


class Echo:
    """A decoder that returns an image of the gray level that the latent has."""

    def decode(self, model, values):
        return [np.full((16, 16, 3), round(255 * float(z[0])), np.uint8) for z in values]


def lct(track: int, level: float) -> LCT:
    latent = Latent(np.full(4, level, np.float32), track_id=track)
    return LCT('cam0', track, 0, latent, (), trust=0.5)


def test_quality_is_that_of_the_decoded_lcts_of_the_same_frame_and_track():
    quality = Quality(Echo(), every=2)
    for i in range(4):
        inputs = np.stack([np.full((3, 16, 16), level, np.float32) for level in (0.2, 0.6)])
        regions = [Region(t, Roi(0, 0, 9, 9), 1.0) for t in (1, 2)]
        quality(FrameEvent('cam0', i, (64, 48), Fault.NONE, regions, inputs=inputs))
        # In another order than the crops; the second one is off by 0.1 of the range.
        quality(LctEvent('cam0', i, [lct(2, 0.7), lct(1, 0.2)], size_bytes=32))
    quality(AgreementEvent('cam0', 'cam1', 0, [Pair(1, 1, 0.9, True), Pair(2, 2, 0.1, False)]))
    assert (quality.frames, quality.crops, quality.lcts, quality.size_bytes) == (4, 8, 8, 128)
    levels = np.round(np.array([0.6, 0.7]) * 255) / 255
    off_by = -20 * np.log10(levels[1] - levels[0])
    assert quality.psnr_db == pytest.approx((100 + off_by) / 2, rel=1e-3)
    assert quality.trust == 0.5
    assert (quality.matches, quality.agreements, quality.similarity) == (2, 1, 0.5)


def test_quality_without_images_is_not_measured():
    quality = Quality(Echo())
    quality(LctEvent('cam0', 0, [lct(1, 0.5)], size_bytes=16))
    assert np.isnan(quality.psnr_db)
    assert np.isnan(quality.ssim)
    assert np.isnan(quality.similarity)
