# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Train the codebook that turns a model's latents into tokens: `sage codebook MODEL CONFIG`.

One codebook serves all modalities: what is projected to the model's latent space (same number of
dimensions, scaled alike) is trained on with `--latents NAME=FILE.npy` and then shares the tokens.
Whether a token then means the same in two modalities is up to the projections.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import trange
from vector_quantize_pytorch import ResidualVQ

from sage_perception.cli.terminal import Parser, in_one_line
from sage_perception.codecs.codebook import Codebook, write
from sage_perception.models import Codec, load_crop_codec
from sage_perception.training.config import DataConfig, read_config
from sage_perception.training.data.crops import CropStream, Mixture, mixture, to_model
from sage_perception.training.losses import images as losses

CODES = 512
BATCH = 4096  # latents a step: eight a code
STEPS = 120
DECAY = 0.9  # of the codes' moving averages, a step
DEAD = 2.0  # latents a batch, averaged likewise, below which a code starts anew
STARTED_FROM = 2 * BATCH  # latents that k-means starts from
KEPT = 0.1  # share of other modalities' latents that is measured on, not trained on
LADDER = (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64)  # levels reported
LOSSES_DB = (1.0, 0.5, 0.1)
BEAM = 8


def train(
    sources: Mapping[str, np.ndarray],
    fingerprint: bytes,
    levels: int = 8,
    codes: int = CODES,
    steps: int = STEPS,
    seed: int = 0,
    progress: bool = False,
) -> Codebook:
    """Train one codebook on latents of one or more sources, each float32 `[N, D]`.

    Every source is drawn from equally often, however many latents it has. Levels start at
    k-means of what the levels before leave over and follow moving averages (van den Oord et al.,
    2017, appendix A); codes that fall out of use start anew at a latent (SoundStream, Zeghidour
    et al., 2021). ValueError names what is wrong with a source.
    """
    if levels < 1 or codes < 2:
        raise ValueError(f'levels is {levels}, codes {codes}: at least 1 and 2')
    latents = check_sources(sources)
    total = sum(map(len, latents))
    if total < codes:
        raise ValueError(f'{total} latents are too few for {codes} codes a level')
    dim = latents[0].shape[1]
    generator = torch.Generator().manual_seed(seed)

    def draw(count):
        share = -(-count // len(latents))
        return torch.cat(
            [z[torch.randint(len(z), (share,), generator=generator)] for z in latents]
        )

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        quantizer = ResidualVQ(
            dim=dim,
            num_quantizers=levels,
            codebook_size=codes,
            kmeans_init=True,
            decay=DECAY,
            threshold_ema_dead_code=DEAD,
            rotation_trick=False,  # there is no encoder to send gradients to
        )
        quantizer.train()
        quantizer(draw(STARTED_FROM))
        for _ in trange(steps, desc='codebook', disable=None if progress else True):
            quantizer(draw(BATCH))
        return Codebook(quantizer.codebooks.float().contiguous().numpy(), fingerprint)


def check_sources(sources: Mapping[str, np.ndarray]) -> list[torch.Tensor]:
    """Return the sources as tensors; ValueError for one that is no latents like the others."""
    if not sources:
        raise ValueError('there is no source of latents to train a codebook on')
    dim = next(iter(sources.values())).shape[-1]
    for name, z in sources.items():
        if z.ndim != 2 or z.shape[1] != dim or not len(z) or z.dtype.kind != 'f':
            raise ValueError(
                f'source {name!r}: latents are float32 [N, {dim}], not {z.dtype} {list(z.shape)}'
            )
        if not np.isfinite(z).all():
            raise ValueError(f'source {name!r} holds numbers that are not finite')
    return [torch.from_numpy(np.ascontiguousarray(z, np.float32)) for z in sources.values()]


def counts(tokens: np.ndarray, codes: int) -> np.ndarray:
    """Return how often each level's codes occur in tokens `[N, L]`: int `[L, codes]`."""
    return np.stack([np.bincount(column, minlength=codes) for column in tokens.T])


def perplexity(counts: np.ndarray) -> np.ndarray:
    """Return 2 to the entropy of each row of counts `[L, K]`: K when all are used alike."""
    p = counts / counts.sum(1, keepdims=True)
    with np.errstate(divide='ignore'):
        logarithm = np.where(p > 0, np.log2(p), 0)
    return 2 ** -(p * logarithm).sum(1)


def usage(codebook: Codebook, sources: Mapping[str, np.ndarray]) -> dict:
    """Return how sources of latents `[N, D]` use the codes.

    By source the perplexity of each level; over all of them the dead codes of each level; and of
    the codes of the first level that any source uses, the share that all of them use.
    """
    by_source = {name: counts(codebook.encode(z), codebook.codes) for name, z in sources.items()}
    used = np.stack(list(by_source.values())) > 0  # [sources, L, K]
    anywhere, everywhere = used.any(0), used.all(0)
    return {
        'perplexity': {
            name: [round(float(v), 1) for v in perplexity(c)] for name, c in by_source.items()
        },
        'dead_codes': [int(v) for v in (~anywhere).sum(1)],
        'in_common': round(float(everywhere[0].sum() / anywhere[0].sum()), 3),
    }


def quality(y: np.ndarray, x: np.ndarray) -> dict[str, float]:
    """Return the means over crops of PSNR (dB) and MS-SSIM of `y` against `x`."""
    a, b = torch.from_numpy(y), torch.from_numpy(x)
    return {
        'psnr': float(losses.psnr(a, b).mean()),
        'ms_ssim': float(losses.ms_ssim(a, b).mean()),
    }


def reconstruction(codec: Codec, codebook: Codebook, x: np.ndarray) -> list[dict]:
    """Return the quality of crops, float32 `[N, C, S, S]`, by the number of levels.

    The first row has 0 levels: the latents as they are. `beam_…` is with `BEAM` beginnings.
    """
    z = codec.encode(x)
    whole = quality(codec.decode(z), x)
    rows = [
        {
            'levels': 0,
            'bytes': 4 * z.shape[1],
            'latent_mse': 0.0,
            **whole,
            'loss_db': 0.0,
        }
    ]
    greedy = codebook.encode(z)
    for n in sorted({*(n for n in LADDER if n < codebook.depth), codebook.depth}):
        row = {'levels': n, 'bytes': -(-n * codebook.token_bits // 8)}
        for prefix, tokens in (
            ('', greedy[:, :n]),
            ('beam_', codebook.encode(z, levels=n, beam=BEAM)),
        ):
            decoded = codebook.decode(tokens)
            found = quality(codec.decode(decoded), x)
            row |= {
                f'{prefix}latent_mse': float(np.square(decoded - z).mean()),
                f'{prefix}psnr': found['psnr'],
                f'{prefix}ms_ssim': found['ms_ssim'],
                f'{prefix}loss_db': whole['psnr'] - found['psnr'],
            }
        rows.append(row)
    return rows


def needed(sets: Mapping[str, Sequence[dict]], key: str) -> dict[str, dict | None]:
    """Return the fewest levels that lose at most so many dB on every kind of crops."""
    found = {}
    for limit in LOSSES_DB:
        enough = [
            rows[0]
            for rows in zip(*(rows[1:] for rows in sets.values()), strict=True)
            if all(row[key] <= limit for row in rows)
        ]
        first = enough[0] if enough else None
        found[f'{limit:g}'] = first and {k: first[k] for k in ('levels', 'bytes')}
    return found


def report(
    codec: Codec,
    codebook: Codebook,
    trained: Mapping[str, np.ndarray],
    crops: Mapping[str, np.ndarray],
    others: Mapping[str, np.ndarray],
    pictures: int = 512,
) -> dict:
    """Return the figures of a codebook.

    `trained` are the latents it was trained on, by source, `[N, D]`. Held out are `crops` by
    kind, uint8 RGB `[N, S, S, 3]`, of which the first `images` are decoded, and `others`, the
    latents of other modalities.
    """
    held_out = {kind: encode(codec, images) for kind, images in crops.items()} | dict(others)
    sets = {
        kind: reconstruction(codec, codebook, to_model(images[:pictures], codec.input_channels))
        for kind, images in crops.items()
    }
    return {
        'model': str(codec.id),
        'codebook': codebook.digest.hex(),
        'levels': codebook.depth,
        'codes': codebook.codes,
        'dims': codebook.dim,
        'bits_per_token': codebook.token_bits,
        'usage': {
            'training': usage(codebook, {k: z[: 8 * BATCH] for k, z in trained.items()}),
            'held_out': usage(codebook, held_out),
        },
        'sets': sets,
        'levels_for_loss_db': {
            'nearest': needed(sets, 'loss_db'),
            f'beam_{BEAM}': needed(sets, 'beam_loss_db'),
        },
    }


def table(report: dict) -> str:
    """Return the report for people."""
    lines = [
        f'{report["model"]}: {report["levels"]} levels of {report["codes"]} codes, '
        f'{report["dims"]}-D, {report["bits_per_token"]} bits a token',
    ]
    for where, found in report['usage'].items():
        dead = found['dead_codes']
        lines.append(
            f'{where.replace("_", "-")} latents: {dead[0]} dead codes in the first level, '
            f'{max(dead)} at most; {found["in_common"]:.0%} of the used ones serve all sources'
        )
        lines += [
            f'  {name:8}perplexity {values[0]:.0f} of the first level, {values[-1]:.0f} of the '
            'last'
            for name, values in found['perplexity'].items()
        ]
    lines += [
        f'{"held-out crops":16}{"":24}nearest code{"":14}{BEAM} beginnings',
        f'{"":8}{"levels":>8}{"bytes":>7}'
        + 2 * f'{"latent MSE":>12}{"PSNR dB":>9}{"loss":>7}{"MS-SSIM":>9}',
    ]
    for kind, rows in report['sets'].items():
        lines.append(
            f'{kind:8}{"float32":>8}{rows[0]["bytes"]:7}{0:12.4f}{rows[0]["psnr"]:9.2f}'
            f'{0:7.2f}{rows[0]["ms_ssim"]:9.3f}'
        )
        lines += [
            f'{"":8}{row["levels"]:8}{row["bytes"]:7}'
            + ''.join(
                f'{row[p + "latent_mse"]:12.4f}{row[p + "psnr"]:9.2f}'
                f'{row[p + "loss_db"]:7.2f}{row[p + "ms_ssim"]:9.3f}'
                for p in ('', 'beam_')
            )
            for row in rows[1:]
        ]
    for how, limits in report['levels_for_loss_db'].items():
        lines.append(
            f'{how}: '
            + '; '.join(
                f'≤ {limit} dB '
                + (f'{v["levels"]} levels, {v["bytes"]} bytes' if v else 'needs more levels')
                for limit, v in limits.items()
            )
        )
    return '\n'.join(lines)


def training_latents(codec: Codec, data: DataConfig, count: int, seed: int) -> np.ndarray:
    """Return the latents of `count` varied training crops, float32 `[count, D]`."""
    stream = CropStream(mixture(data, codec.input_size), codec.input_channels, seed, 0, count)
    parts = [
        codec.encode(np.stack([stream[i] for i in range(start, min(start + 64, count))]))
        for start in trange(0, count, 64, desc='crops', disable=None)
    ]
    return np.concatenate(parts)


def held_out_crops(codec: Codec, data: DataConfig, count: int) -> dict[str, np.ndarray]:
    """Return `count` crops of each kind, uint8 RGB `[count, S, S, 3]`, of the files kept apart."""
    mixed = mixture(data, codec.input_size, held_out=True)
    return {
        type(source).__name__.lower(): Mixture((source,), (1,), mixed.config).sample(count, 0)
        for source in mixed.sources
    }


def encode(codec: Codec, crops: np.ndarray) -> np.ndarray:
    """Return the latents `[N, D]` of uint8 RGB crops `[N, S, S, 3]`, with little memory."""
    parts = np.array_split(crops, -(-len(crops) // 64))
    return np.concatenate([codec.encode(to_model(p, codec.input_channels)) for p in parts])


def named_latents(text: str) -> tuple[str, np.ndarray]:
    """Read an option `NAME=FILE.npy`: latents of another modality, float `[N, D]`."""
    name, _, file = text.partition('=')
    if not name or not file:
        raise argparse.ArgumentTypeError(f'{text!r} is not NAME=FILE.npy')
    try:
        z = np.load(file, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f'{file}: {error}') from None
    if z.ndim != 2 or z.dtype.kind != 'f' or len(z) < 2:
        raise argparse.ArgumentTypeError(
            f'{file} holds {z.dtype} {list(z.shape)}, latents are float32 [N, D]'
        )
    return name, z.astype(np.float32)


@in_one_line('sage codebook')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage codebook`; return the exit code."""
    parser = Parser(prog='sage codebook', description=__doc__.split('\n')[0])
    parser.add_argument('model', help='name or folder of the model that gets the codebook')
    parser.add_argument('config', type=Path, help='the configuration that it was trained with')
    parser.add_argument('--levels', type=int, default=8, help='tokens a latent at most (8)')
    parser.add_argument('--crops', type=int, default=96_000, help='to train on (96000)')
    parser.add_argument(
        '--latents',
        type=named_latents,
        action='append',
        default=[],
        metavar='NAME=FILE.npy',
        help='latents of another modality, projected to the same space, to train on as well',
    )
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    args = parser.parse_args(argv)
    if args.levels < 1:
        parser.error(f'--levels is {args.levels}, it is 1 at least')
    if args.crops < CODES and not args.latents:
        parser.error(f'--crops is {args.crops}, a level has {CODES} codes and needs as many')
    cv2.setNumThreads(1)
    data = read_config(args.config).data
    codec = load_crop_codec(args.model)
    held_out = held_out_crops(codec, data, BATCH)
    others = {}
    for name, z in args.latents:
        codec.require_latents(z)
        z = np.random.default_rng(0).permutation(z)
        kept = max(round(KEPT * len(z)), 1)
        others[name] = z[kept:], z[:kept]
    sources = {'vision': training_latents(codec, data, args.crops, seed=1)}
    sources |= {name: trained for name, (trained, _) in others.items()}
    codebook = train(sources, codec.id.fingerprint, args.levels, steps=STEPS, progress=True)
    path = write(codec.artifact.path, codebook)
    kept = {name: kept for name, (_, kept) in others.items()}
    figures = report(codec, codebook, sources, held_out, kept)
    print(json.dumps(figures) if args.json else f'{table(figures)}\n{path}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
