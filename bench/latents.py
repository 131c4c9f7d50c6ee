# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Measure latent arithmetic on real crops: `python bench/latents.py [--out FILE]`.

Interpolation and extrapolation use sequences of a video: `followed` are the crops of a track of
motion attention, `fixed` are crops at a fixed position through which an object moves. Analogies
and tokens use crops of held-out images. Figures are over all examples; `--plot` draws the worst,
median and best example of each.
"""

from __future__ import annotations

import argparse
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from result_file import add_out, write_result

from sage_perception.codecs import codebook
from sage_perception.core.frame import CropSource
from sage_perception.core.metrics import batch_psnr
from sage_perception.evaluation.codebook import reconstruction, usage
from sage_perception.models import Codec, load
from sage_perception.models.latent_ops import MAX_HISTORY, analogy, extrapolate, interpolate
from sage_perception.training.config import read_config
from sage_perception.training.data.crops import CropConfig
from sage_perception.training.data.images import to_model
from sage_perception.training.data.mixture import Mixture, mixture
from sage_perception.training.latents import encode_crops
from sage_perception.vision.attention import Attention
from sage_perception.vision.crops import crop_image, square_roi

GAPS = (1, 3, 5)  # frames from the middle to either end
HORIZONS = (1, 3, 5, 10)  # frames ahead
LENGTH = MAX_HISTORY + max(HORIZONS)  # frames of a sequence, `MAX_HISTORY` of them known
EVERY = 5  # frames between two sequences of a track
VIDEO = Path('out/data/footage/opencv-doc/opencv-doc-vtest.avi')

Rows = list[tuple[str, dict[str, np.ndarray]]]  # label and captioned images [C, S, S]


def sequences(path: Path, frames: int, size: int) -> dict[str, np.ndarray]:
    """Return crops of moving objects in a video, uint8 `[M, LENGTH, size, size, 3]`, by kind."""
    capture = cv2.VideoCapture(str(path))
    fps = capture.get(cv2.CAP_PROP_FPS) or 25.0
    attention = Attention()
    tracks = defaultdict(list)
    recent = deque(maxlen=LENGTH)  # frames and the regions of motion in them
    fixed = []
    for index in range(frames):
        read, image = capture.read()
        if not read:
            break
        chosen = attention.attend(image, index / fps)
        moving = [crop for crop in chosen if crop.source == CropSource.MOTION]
        for crop in moving:
            pixels = crop_image(image, crop.roi, size)
            tracks[crop.track_id].append((index, pixels))
        recent.append((image, [crop.roi for crop in moving]))
        if len(recent) == LENGTH and index % EVERY == 0:
            height, width = image.shape[:2]
            for roi in recent[MAX_HISTORY - 1][1]:
                window = square_roi(roi.center, 1.3 * roi.width, width, height)
                fixed.append([crop_image(frame, window, size) for frame, _ in recent])
    followed = []
    for track in tracks.values():
        for start in range(0, len(track) - LENGTH + 1, EVERY):
            part = track[start : start + LENGTH]
            if part[-1][0] - part[0][0] == LENGTH - 1:  # without gaps
                followed.append([pixels for _, pixels in part])
    if not followed or not fixed:
        raise SystemExit(f'{path}: no track of {LENGTH} frames')
    return {'followed': np.stack(followed), 'fixed': np.stack(fixed)}


def spread(array: np.ndarray, count: int) -> np.ndarray:
    """Return at most `count` rows, evenly spaced."""
    return array[np.linspace(0, len(array) - 1, min(count, len(array))).astype(int)]


def far(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the mean squared difference `[...]` of latents `[..., D]`."""
    return np.square(a - b).mean(-1)


def quantiles(scores: np.ndarray) -> dict[str, int]:
    """Return the indices of the worst, the median and the best score."""
    order = np.argsort(scores)
    return {'worst': order[0], 'median': order[len(order) // 2], 'best': order[-1]}


def share(truths: np.ndarray) -> float:
    return float(np.mean(truths))


def slerp(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the middle of the arc from `a` to `b` `[B, D]` around the origin (Shoemake, 1985)."""
    lengths = [np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b)]
    middle = a / lengths[0] + b / lengths[1]
    return middle / np.linalg.norm(middle, axis=1, keepdims=True) * sum(lengths) / 2


def interpolation(codec: Codec, crops: np.ndarray, z: np.ndarray, rows: Rows, kind: str) -> dict:
    """Compare the interpolation of two frames with the frame between them."""
    results = {}
    for gap in GAPS:
        at = (MAX_HISTORY - gap, MAX_HISTORY, MAX_HISTORY + gap)
        before, truth, after = (to_model(crops[:, t], codec.input_channels) for t in at)
        a, middle, b = (z[:, t] for t in at)
        between = interpolate(a, b, 0.5)
        y, start, end, best = (codec.decode(v) for v in (between, a, b, middle))
        pixels = (before + after) / 2
        found = batch_psnr(y, truth)
        ends = np.maximum(batch_psnr(start, truth), batch_psnr(end, truth))
        nearest = np.minimum(far(a, middle), far(b, middle))
        results[gap] = {
            'triplets': len(truth),
            'nearer_than_either_end_decoded': share(found > ends),
            'nearer_than_either_end_undecoded': share(
                found > np.maximum(batch_psnr(before, truth), batch_psnr(after, truth))
            ),
            'nearer_than_pixel_average': share(found > batch_psnr(pixels, truth)),
            'latent_nearer_than_either_end': share(far(between, middle) < nearest),
            'latent_nearer_than_pixel_average': share(
                far(between, middle) < far(codec.encode(pixels), middle)
            ),
            'latent_nearer_than_slerp': share(far(between, middle) < far(slerp(a, b), middle)),
            'latent_mse': float(far(between, middle).mean()),
            'latent_mse_slerp': float(far(slerp(a, b), middle).mean()),
            'psnr': float(found.mean()),
            'psnr_better_end': float(ends.mean()),
            'psnr_pixel_average': float(batch_psnr(pixels, truth).mean()),
            'psnr_itself': float(batch_psnr(best, truth).mean()),
        }
        if gap == GAPS[1]:
            for name, i in quantiles(found - ends).items():
                shown = {
                    f't−{gap}': before[i],
                    't': truth[i],
                    f't+{gap}': after[i],
                    't decoded': best[i],
                    'interpolated': y[i],
                    'pixel average': pixels[i],
                }
                rows.append(
                    (f'interpolation, {kind}\n{name}: {found[i] - ends[i]:+.1f} dB', shown)
                )
    return results


def extrapolation(codec: Codec, crops: np.ndarray, z: np.ndarray, rows: Rows, kind: str) -> dict:
    """Compare extrapolated latents with the actual ones and with assuming no change."""
    stamps = np.arange(MAX_HISTORY, dtype=float)
    known = z[:, :MAX_HISTORY]
    results = {}
    for ahead in HORIZONS:
        at = MAX_HISTORY - 1 + ahead
        truth = to_model(crops[:, at], codec.input_channels)
        itself = codec.decode(z[:, at])
        guesses = {'persistence': known[:, -1]}
        for method in ('process', 'velocity'):
            guesses[method] = np.stack([extrapolate(h, stamps, at, method) for h in known])
        decoded = {name: codec.decode(guess) for name, guess in guesses.items()}
        error = {name: far(guess, z[:, at]) for name, guess in guesses.items()}
        quality = {name: batch_psnr(y, truth) for name, y in decoded.items()}
        results[ahead] = {
            'sequences': len(truth),
            'latent_mse': {name: float(e.mean()) for name, e in error.items()},
            'psnr': {name: float(q.mean()) for name, q in quality.items()}
            | {'itself': float(batch_psnr(itself, truth).mean())},
            'wins_over_persistence': {
                name: share(error[name] < error['persistence']) for name in ('process', 'velocity')
            },
        }
        if ahead == HORIZONS[2]:
            for name, i in quantiles(quality['process'] - quality['persistence']).items():
                shown = {'last': to_model(crops[i, MAX_HISTORY - 1], codec.input_channels)}
                shown |= {f'{ahead} later': truth[i], 'that decoded': itself[i]}
                shown |= {method: y[i] for method, y in decoded.items()}
                gain = quality['process'][i] - quality['persistence'][i]
                rows.append((f'extrapolation, {kind}\n{name}: {gain:+.1f} dB', shown))
    return results


def views(size: int) -> dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """Return the changes of a crop with a margin of a quarter, all uint8 RGB.

    Each takes the crop and a background, both `[1.5 size, 1.5 size, 3]`, and returns
    `[size, size, 3]`.
    """
    margin = size // 4
    rows, columns = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    inside = np.clip((0.75 - np.hypot(rows, columns)) / 0.1, 0, 1)[..., None]

    def middle(crop, right=0):
        return crop[margin : margin + size, margin + right : margin + right + size]

    def scaled(crop, gain, offset=0.0):
        return (middle(crop) * np.asarray(gain) + offset).clip(0, 255).astype(np.uint8)

    def closer(crop):
        part = middle(crop)[size // 8 : -size // 8, size // 8 : -size // 8]
        return cv2.resize(part, (size, size), interpolation=cv2.INTER_LINEAR)

    def before(crop, background):
        mixed = inside * middle(crop) + (1 - inside) * middle(background)
        return mixed.astype(np.uint8)

    return {
        'unchanged': lambda crop, _: middle(crop),
        'brighter': lambda crop, _: scaled(crop, 1.0, 38),
        'exposed longer': lambda crop, _: scaled(crop, 1.35),
        'warmer': lambda crop, _: scaled(crop, (1.2, 1.0, 0.8)),
        'without color': lambda crop, _: np.repeat(middle(crop).mean(2, keepdims=True), 3, 2),
        'blurred': lambda crop, _: cv2.GaussianBlur(middle(crop), (0, 0), 2.0),
        'closer': lambda crop, _: closer(crop),
        'mirrored': lambda crop, _: middle(crop)[:, ::-1],
        'shifted 4 px': lambda crop, _: middle(crop, 4),
        'shifted 12 px': lambda crop, _: middle(crop, 12),
        'before another': before,
    }


def analogies(codec: Codec, crops: np.ndarray, rows: Rows) -> dict:
    """Compare b − a + c with d, for a crop a and its change b, another crop c and its change d.

    The first criterion is that it is nearer to d than c is. The second is that d is the nearest to
    it among a, b, c, the other changes of the same crop, and the same change of all other crops.
    """
    a_crops, c_crops, behind, instead = np.array_split(crops, 4)
    changes = views(codec.input_size)

    def see(name, subjects, backgrounds):
        seen = [changes[name](*pair) for pair in zip(subjects, backgrounds, strict=False)]
        return to_model(np.stack(seen), codec.input_channels)

    count = min(map(len, (a_crops, c_crops, behind, instead)))
    views_of = {}
    for name in changes:
        if name == 'unchanged':
            continue
        start = 'before another' if name == 'before another' else 'unchanged'
        views_of[name] = [
            see(start, a_crops[:count], behind),
            see(name, a_crops[:count], instead),
            see(start, c_crops[:count], behind),
            see(name, c_crops[:count], instead),
        ]
    latents = {name: [codec.encode(x) for x in four] for name, four in views_of.items()}
    results = {}
    for name, (a, b, c, d) in latents.items():
        guess = analogy(a, b, c)
        error, unmoved = far(guess, d), far(c, d)
        own = [a, b, c, *(four[3] for other, four in latents.items() if other != name)]
        rivals = np.stack([far(guess, rival) for rival in own], 1)
        others = far(guess[:, None], d[None])
        np.fill_diagonal(others, np.inf)
        nearest = error < np.minimum(rivals.min(1), others.min(1))
        truth = views_of[name][3]
        decoded, unchanged, itself = (codec.decode(z) for z in (guess, c, d))
        results[name] = {
            'analogies': count,
            'nearer_than_c': share(error < unmoved),
            'nearest': share(nearest),
            'among': rivals.shape[1] + count,
            'error_left': float(error.mean() / unmoved.mean()),
            'psnr': float(batch_psnr(decoded, truth).mean()),
            'psnr_unchanged': float(batch_psnr(unchanged, truth).mean()),
            'psnr_itself': float(batch_psnr(itself, truth).mean()),
        }
        if name in ('warmer', 'mirrored', 'before another'):
            for which, i in quantiles(-error / unmoved).items():
                shown = dict(zip('abcd', (x[i] for x in views_of[name]), strict=True))
                shown |= {'d decoded': itself[i], 'b − a + c': decoded[i]}
                left = error[i] / unmoved[i]
                rows.append((f'analogy, {name}\n{which}: {left:.2f} of the error', shown))
    return results


def tokens(codec: Codec, crops: dict[str, np.ndarray], count: int, rows: Rows) -> dict | None:
    """Return the usage and quality of tokens; None if the model has no codebook."""
    book = codebook.read(codec.artifact.path)
    if book is None:
        return None
    results = usage(book, {kind: encode_crops(codec, images) for kind, images in crops.items()})
    results['reconstruction'] = {}
    counts = [n for n in (1, 4, 8, 32) if n < book.depth] + [book.depth]
    for kind, images in crops.items():
        x = to_model(spread(images, count), codec.input_channels)
        results['reconstruction'][kind] = reconstruction(codec, book, x)
        z = codec.encode(x)
        coded = book.encode(z)
        decoded = {n: codec.decode(book.decode(coded[:, :n])) for n in counts}
        whole = codec.decode(z)
        judged = counts[-2:][0]
        loss = batch_psnr(whole, x) - batch_psnr(decoded[judged], x)
        for name, i in quantiles(-loss).items():
            shown = {'crop': x[i], 'float32': whole[i]}
            shown |= {f'{n} tokens': decoded[n][i] for n in counts[-4:]}
            label = f'tokens, {kind}\n{name}: {-loss[i]:+.1f} dB with {judged}'
            rows.append((label, shown))
    return results


def draw(rows: Rows, path: Path) -> None:
    """Write the examples as one image, two columns of rows."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    half = -(-len(rows) // 2)
    columns = 1 + max(len(shown) for _, shown in rows)
    figure, axes = plt.subplots(
        half,
        2 * columns,
        figsize=(2.3 * columns, 1.25 * half),
        width_ratios=2 * [1.6, *(columns - 1) * [1]],
        squeeze=False,
    )
    for place in axes.flat:
        place.axis('off')
    for index, (label, shown) in enumerate(rows):
        line = axes[index % half, columns * (index // half) :]
        line[0].text(1, 0.5, label, ha='right', va='center', fontsize=7)
        for place, (caption, pixels) in zip(line[1:], shown.items(), strict=False):
            pixels = np.moveaxis(pixels, 0, -1).squeeze()
            place.imshow(pixels, vmin=0, vmax=1, cmap='gray', interpolation='nearest')
            place.set_title(caption, fontsize=7, pad=2)
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.97, wspace=0.05, hspace=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def table(result: dict) -> str:
    lines = [result['model']]
    for video, found in result['videos'].items():
        for kind, gaps in found['interpolation'].items():
            lines += [
                f'\ninterpolation half-way, {video}, {kind}: share of triplets nearer to the '
                'truth than …; PSNR, dB',
                f'{"frames":>8}{"triplets":>9}{"ends":>7}{"raw ends":>9}{"pixels":>7}'
                f'{"slerp":>7}{"interp.":>9}{"end":>7}{"pixels":>7}{"itself":>7}',
                *(
                    f'{"±" + str(gap):>8}{v["triplets"]:9}'
                    f'{v["nearer_than_either_end_decoded"]:7.2f}'
                    f'{v["nearer_than_either_end_undecoded"]:9.2f}'
                    f'{v["nearer_than_pixel_average"]:7.2f}{v["latent_nearer_than_slerp"]:7.2f}'
                    f'{v["psnr"]:9.2f}{v["psnr_better_end"]:7.2f}{v["psnr_pixel_average"]:7.2f}'
                    f'{v["psnr_itself"]:7.2f}'
                    for gap, v in gaps.items()
                ),
                '  in latents: nearer than either end / than the encoded pixel average: '
                + ', '.join(
                    f'±{gap} {v["latent_nearer_than_either_end"]:.2f} / '
                    f'{v["latent_nearer_than_pixel_average"]:.2f}'
                    for gap, v in gaps.items()
                ),
            ]
        for kind, horizons in found['extrapolation'].items():
            lines += [
                f'\nextrapolation, {video}, {kind}: latent error over that of no change; share of '
                'sequences that win; PSNR, dB',
                f'{"ahead":>8}{"seq.":>6}{"process":>9}{"velocity":>9}{"wins":>7}{"wins":>7}'
                f'{"none":>8}{"process":>8}{"velocity":>9}{"itself":>7}',
            ]
            for ahead, v in horizons.items():
                mse, wins, db = v['latent_mse'], v['wins_over_persistence'], v['psnr']
                lines.append(
                    f'{ahead:8}{v["sequences"]:6}{mse["process"] / mse["persistence"]:9.2f}'
                    f'{mse["velocity"] / mse["persistence"]:9.2f}{wins["process"]:7.2f}'
                    f'{wins["velocity"]:7.2f}{db["persistence"]:8.2f}{db["process"]:8.2f}'
                    f'{db["velocity"]:9.2f}{db["itself"]:7.2f}'
                )
    lines += [
        '\nanalogy b − a + c: share nearer to d than c is; share with d the nearest of all; error '
        'left; PSNR, dB',
        f'{"":16}{"nearer":>7}{"nearest":>8}{"of":>5}{"left":>6}{"b−a+c":>8}{"c":>7}{"d":>7}',
        *(
            f'{name:16}{v["nearer_than_c"]:7.2f}{v["nearest"]:8.2f}{v["among"]:5}'
            f'{v["error_left"]:6.2f}{v["psnr"]:8.2f}{v["psnr_unchanged"]:7.2f}'
            f'{v["psnr_itself"]:7.2f}'
            for name, v in result['analogies'].items()
        ),
    ]
    found = result['tokens']
    if found is None:
        return '\n'.join([*lines, '\ntokens: the model has no codebook, sage codebook makes one'])
    lines.append(
        f'\ntokens: {found["in_common"]:.0%} of the used codes of the first level serve all; '
        'perplexity of the first level '
        + ', '.join(f'{k} {v[0]:.0f}' for k, v in found['perplexity'].items())
    )
    for kind, by_levels in found['reconstruction'].items():
        lines += [
            f'{kind}, {by_levels[0]["psnr"]:.2f} dB',
            f'{"levels":>8}{"bytes":>7}{"loss dB":>9}{"with beam":>10}{"MS-SSIM":>9}',
            *(
                f'{v["levels"]:8}{v["bytes"]:7}{v["loss_db"]:9.2f}{v["beam_loss_db"]:10.2f}'
                f'{v["ms_ssim"]:9.3f}'
                for v in by_levels[1:]
            ),
        ]
    return '\n'.join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--model', default='tinyvae', help='name or folder')
    parser.add_argument('--video', type=Path, nargs='+', default=[VIDEO])
    parser.add_argument('--config', type=Path, default=Path('config/train/tinyvae.yaml'))
    parser.add_argument('--frames', type=int, default=800, help='of each video (800)')
    parser.add_argument('--samples', type=int, default=300, help='of each kind (300)')
    parser.add_argument('--plot', type=Path, metavar='FILE.png', help='draw examples')
    add_out(parser, 'latents')
    args = parser.parse_args(argv)
    cv2.setNumThreads(1)
    codec = load(args.model)
    rows: Rows = []
    result = {'model': str(codec.id), 'videos': {}}
    moving = []
    for path in args.video:
        found = {'interpolation': {}, 'extrapolation': {}}
        for kind, crops in sequences(path, args.frames, codec.input_size).items():
            crops = spread(crops, args.samples)
            z = encode_crops(codec, crops.reshape(-1, *crops.shape[2:]))
            z = z.reshape(*crops.shape[:2], -1)
            first = rows if not moving else []  # examples of the first video are enough
            found['interpolation'][kind] = interpolation(codec, crops, z, first, kind)
            found['extrapolation'][kind] = extrapolation(codec, crops, z, first, kind)
        moving.append(crops[:, 0])
        result['videos'][path.name] = found
    mixed = mixture(read_config(args.config).data, codec.input_size, held_out=True)
    size = codec.input_size
    wide = CropConfig(size * 3 // 2, mixed.config.smallest * 3 // 2)
    stills = mixed.sources[0]
    crops = Mixture((stills,), (1,), wide).sample(4 * args.samples, seed=0)
    result['analogies'] = analogies(codec, crops, rows)
    kinds = {
        'stills': Mixture((stills,), (1,), mixed.config).sample(4 * args.samples, seed=0),
        'motion': np.concatenate(moving),
    }
    result['tokens'] = tokens(codec, kinds, args.samples, rows)
    if args.plot:
        draw(rows, args.plot)
    write_result(args.out, result)
    print(table(result))


if __name__ == '__main__':
    main()
