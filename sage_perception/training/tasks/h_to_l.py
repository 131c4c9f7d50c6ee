# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Training of compressors of H contexts: `sage train config/train/h_to_l_hybrid.yaml`.

The contexts are recorded before the first training that needs them and kept in
`out/data/contexts`; another encoder, other files or another layout make others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import lightning
import numpy as np
import scipy.linalg
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from sage_perception.context.context import BLOCKS, DIM, LAYOUT
from sage_perception.core.progress import Progress
from sage_perception.models import Codec
from sage_perception.models import artifact as artifact
from sage_perception.models.compressor import SPACE_MEAN, SPACE_STD
from sage_perception.models.networks.h_to_l import (
    Group,
    HToLCompressor,
    HToLConfig,
    Tokens,
    explained_variance,
    masked_error,
)
from sage_perception.models.registry import resolve
from sage_perception.training import train as training
from sage_perception.training.config import ConfigError, RunConfig, TrainingConfig
from sage_perception.training.contexts.recording import (
    RECIPE,
    Contexts,
    Run,
    encoder,
    files_of,
    joined,
    plan,
    record,
    recorded,
)
from sage_perception.training.data.crops import wanted_by
from sage_perception.training.export import ExportWrapper, finalize, round_weights, to_onnx
from sage_perception.training.runs import CHECKPOINT, load_run
from sage_perception.training.tasks.vae import Task
from sage_perception.trust.fitted import FittedTrust

CACHE = Path('out/data/contexts')
HELD_OUT_RUNS = 8
"""Runs of each clip that is kept apart, at least: they are few."""
FREE_NATS = 0.05
"""Divergence of a dimension that costs nothing (Kingma et al., 2016)."""
KL_FROM, KL_UNTIL = 0.1, 0.4
"""Shares of a run between which the weight of the divergence rises to `beta`."""
SHRINKAGE = 0.8
"""Share of the covariance in which tokens of a kind are alike and know nothing of each other."""
LEADING = 2
FACTS = {
    'physical.items': ('x', 'y', 'width', 'height', 'velocity_x', 'velocity_y'),
    'logical.items': ('salience', 'trust', 'telemetry_trust', 'error'),
}
MIN_VARIANCE = 0.01  # below which a fact is not blown up: elsewhere it may vary more
WORTH = 40.0
"""What the `FACTS` of the `LEADING` most salient things weigh in the loss, each over its variance:
whoever acts needs them, and a few numbers would not count beside the 64 of a latent."""
FEWER, STRANGERS = 0.3, 0.3
"""Shares of a batch that lose things or memories, and in which some come from other contexts."""


def _group(keep: int, rate: int, *names: str, first: int = 0, count: int | None = None) -> dict:
    blocks = [BLOCKS[name] for name in names]
    return {
        'count': blocks[0].count - first if count is None else count,
        'parts': [[b.start + first * len(b.fields), len(b.fields)] for b in blocks],
        'keep': keep,
        'rate': rate,
    }


THINGS = ('sensory.latents', 'physical.items', 'logical.items')
GROUPS = {
    'leading': _group(64, 56, *THINGS, count=LEADING),
    'others': _group(28, 112, *THINGS, first=LEADING),
    'recall': _group(40, 48, 'semantic.recall'),
    'cameras': _group(21, 28, 'physical.cameras', 'logical.cameras'),
    'scene': _group(12, 12, 'physical.time', 'logical.scene'),
}
"""The tokens of a context of layout 1; object slots, which nothing fills yet, are left out."""


def contexts_of(config: RunConfig, held_out: bool = False, progress: bool = True) -> Contexts:
    """Return the contexts of a configuration's files, or of those kept apart.

    Runs that were recorded before are taken from `CACHE`. Raises `ConfigError`, `ModelError`, or
    `ValueError` where nothing moves.
    """
    wanted = config.contexts
    codec = encoder(wanted.encoder)
    clips, images = files_of([Path(config.data.root)], wanted_by(config.data, held_out))
    runs = max(wanted.runs, HELD_OUT_RUNS) if held_out else wanted.runs
    montages = wanted.montages // (3 if held_out else 1)
    names = [path.name for path in images]

    chain = [RECIPE, LAYOUT, codec.id.fingerprint.hex(), _judging(codec), held_out]

    def cached(run: Run) -> Contexts | None:
        about = [*chain, run.name, run.repeat, names]
        path = CACHE / f'{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:24]}.npz'
        if not path.is_file():
            contexts = record(run, codec, int(held_out))
            if contexts is None:
                return None
            path.parent.mkdir(parents=True, exist_ok=True)
            contexts.write(path)
        return Contexts.read(path)

    shown = Progress(1.0 if progress else float('inf'))
    return joined(recorded(plan(clips, images, runs, montages), cached, shown))


def _judging(codec: Codec) -> dict | None:
    """Return what was fitted to a model, as far as contexts depend on it."""
    fitted = FittedTrust.of(codec)
    if fitted is None:
        return None
    told = asdict(fitted)
    del told['quality']['margin']
    return told


def emphasis(values: Tensor, mask: Tensor) -> Tensor:
    """Return the weight `[4096]` of each number in the loss, given contexts `[N, 4096]`."""
    weights = torch.ones(DIM)
    for name, facts in FACTS.items():
        block = BLOCKS[name]
        for column in map(block.fields.index, facts):
            known = block.rows(values)[..., column][block.rows(mask)[..., column] > 0]
            block.rows(weights)[:LEADING, column] = WORTH / known.var().clamp_min(MIN_VARIANCE)
    return weights


class ContextBatches(Dataset):
    """Batches `start … start + count` of an endless varied stream that `seed` determines."""

    def __init__(self, values: Tensor, mask: Tensor, config: TrainingConfig, start: int):
        self.values, self.mask, self.config, self.start = values, mask, config, start

    def __len__(self):
        return self.config.epoch

    def __getitem__(self, index):
        rng = np.random.default_rng((self.config.seed, self.start + index))
        chosen = torch.from_numpy(rng.integers(len(self.values), size=self.config.batch))
        return vary(self.values[chosen], self.mask[chosen], rng)


def vary(values: Tensor, mask: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return contexts `[B, 4096]` and masks in which some things are missing or are strangers'.

    A few clips hold few combinations of things: this makes more of them.
    """
    values, mask = values.clone(), mask.clone()
    other = torch.from_numpy(rng.permutation(len(values)))
    count = BLOCKS[THINGS[0]].count
    strange = torch.from_numpy(
        (rng.random((len(values), 1)) < STRANGERS) & (rng.random((len(values), count)) < 0.5)
    )
    most = np.where(rng.random(len(values)) < FEWER, rng.integers(1, count, len(values)), count)
    gone = torch.from_numpy(np.arange(count)[None, :] >= most[:, None])
    for name in THINGS:
        own, known = BLOCKS[name].rows(values), BLOCKS[name].rows(mask)
        theirs, theirs_known = own[other], known[other]
        own[strange], known[strange] = theirs[strange], theirs_known[strange]
        known[gone] = 0
    forgetful = torch.from_numpy(rng.random(len(values)) < FEWER / 2)
    BLOCKS['semantic.recall'].rows(mask)[forgetful] = 0
    return values * mask, mask


class ContextData(lightning.LightningDataModule):
    """Varied contexts in epochs of a fixed number of steps; held-out ones as they are."""

    def __init__(self, train: TensorDataset, validation: TensorDataset, config: TrainingConfig):
        super().__init__()
        self.train, self.validation, self.config = train, validation, config

    def train_dataloader(self) -> DataLoader:
        """Return this epoch's batches: the stream goes on where the last epoch ended."""
        start = self.trainer.current_epoch * self.config.epoch
        return DataLoader(ContextBatches(*self.train.tensors, self.config, start), None)

    def val_dataloader(self) -> DataLoader:
        """Return the held-out contexts, all at once: their variance is about their own mean."""
        return DataLoader(self.validation, len(self.validation))


def tensors(contexts: Contexts) -> TensorDataset:
    """Return values and masks `[N, 4096]` as float tensors."""
    return TensorDataset(
        torch.from_numpy(contexts.values), torch.from_numpy(contexts.mask.astype(np.float32))
    )


class HToLTask(Task):
    """A compressor and how it learns: masked squared error, and the divergence of the code."""

    JUDGED_BY = 'val_r2'

    def __init__(self, model: HToLCompressor, config: TrainingConfig, weights: Tensor):
        super().__init__(model, config)
        self.register_buffer('weights', weights, persistent=False)

    def training_step(self, batch: Sequence[Tensor], _) -> Tensor:
        """Return the loss of values and masks `[B, 4096]`; see `Trainee.training_step`."""
        torch.manual_seed(self.config.seed * 1_000_003 + self.global_step)
        values, mask = batch
        mean, log_var = self.model.encode(values, mask)
        code = mean + torch.randn_like(mean) * (0.5 * log_var).exp()
        terms = {
            'mse': masked_error(self.model.decode(code), values, mask * self.weights),
            'kl': self.beta * divergence(mean, log_var),
        }
        loss = sum(terms.values())
        self.log_dict({'loss': loss, **terms}, prog_bar=True)
        return loss

    @property
    def beta(self) -> float:
        """Return the weight of the divergence at this step."""
        share = self.global_step / self.config.steps
        rise = min(max((share - KL_FROM) / (KL_UNTIL - KL_FROM), 0.0), 1.0)
        return self.config.beta * rise

    def validation_step(self, batch: Sequence[Tensor], _) -> None:
        """Log how much of held-out contexts is retained."""
        values, mask = batch
        kept = self.model.decode(self.model.encode(values, mask)[0])
        self.log('val_r2', explained_variance(kept, values, mask), prog_bar=True)


def divergence(mean: Tensor, log_var: Tensor) -> Tensor:
    """Return the divergence from the unit Gaussian, nats a dimension, `FREE_NATS` at least.

    Of each dimension it is the mean over the batch `[B, D]`, over which the free nats are counted.
    """
    each = 0.5 * (mean.square() + log_var.exp() - 1 - log_var)
    return each.mean(0).clamp_min(FREE_NATS).mean()


def start_from_contexts(
    model: HToLCompressor,
    values: Tensor,
    mask: Tensor,
    weights: Tensor | None = None,
    shrinkage: float = SHRINKAGE,
) -> None:
    """Set a compressor to principal components of contexts `[N, 4096]`.

    `weights` `[4096]` say what an error in each number weighs, all the same unless given;
    `shrinkage` is for variants that know tokens by kind: see `shrunk_covariance`. Codes are scaled
    together, so that their variances are 1 on average and distances between codes are distances
    between contexts.
    """
    encoder, config = model.encoder, model.config
    with torch.no_grad():
        encoder.mean.copy_(known_mean(values, mask, config))
        units = (torch.ones(config.input_dim) if weights is None else weights).sqrt()
        x = encoder.known(values, mask) * units
        if config.variant in ('hierarchical', 'hybrid'):
            reduced = _start_tokens(model, x, mask, units)
            present = encoder.tokens.present(mask)
            covariance = shrunk_covariance(
                reduced, present, list(config.kinds.values()), shrinkage
            )
            told = torch.cat([rows.flatten(1) for rows in reduced], 1)
            start = _start_hierarchical if config.variant == 'hierarchical' else _start_hybrid
            start(model, told, covariance)
            return
        components = leading(x.T @ x, config.code_dim)
        scale = 1 / (x @ components).var(0).mean().sqrt()
        start = _start_bottleneck if config.variant == 'bottleneck' else _start_matrices
        start(model, components.T * units * scale, components / units[:, None] / scale)


def known_mean(values: Tensor, mask: Tensor, config: HToLConfig, prior: float = 50.0) -> Tensor:
    """Return the mean `[4096]` of what is known; what seldom is leans on others of its kind."""
    total, count = (values * mask).sum(0), mask.sum(0)
    mean = torch.zeros_like(total)
    for group in config.kinds.values():
        places = torch.from_numpy(group.places)
        shared = total[places].sum(0) / count[places].sum(0).clamp_min(1)
        mean[places] = (total[places] + prior * shared) / (count[places] + prior)
    return mean


def token_components(x: Tensor, mask: Tensor, tokens: Tokens) -> list[Tensor]:
    """Return the principal directions `[width, width]` of each kind of tokens, best first."""
    found = []
    for rows, known in zip(tokens.split(x), tokens.split(mask), strict=True):
        seen = rows[known.amax(2) > 0]
        found.append(leading(seen.T @ seen, rows.shape[2]))
    return found


def leading(covariance: Tensor, count: int) -> Tensor:
    """Return the `count` principal directions `[D, count]` of a covariance, best first."""
    varies = torch.nonzero(covariance.diagonal() > 0)[:, 0]  # the rest would only cost time
    size = len(varies)
    _, vectors = scipy.linalg.eigh(
        covariance[varies][:, varies].double().numpy(),
        subset_by_index=[max(size - count, 0), size - 1],
    )
    directions = torch.zeros(len(covariance), count)
    directions[varies, : vectors.shape[1]] = torch.from_numpy(vectors[:, ::-1].astype(np.float32))
    return directions


def _start_matrices(model: HToLCompressor, there: Tensor, back: Tensor) -> None:
    """Set the one matrix `[256, 4096]` of an encoder, and that `[4096, 256]` of its decoder."""
    if model.config.variant == 'linear':
        model.encoder.code.weight.copy_(there)
        model.decoder.tell.weight.copy_(back)
    else:
        model.encoder.direct.weight.copy_(there)
        model.decoder.direct.weight.copy_(back)


def _start_bottleneck(model: HToLCompressor, there: Tensor, back: Tensor) -> None:
    """Let plain layers do what two matrices do: SiLU(a) − SiLU(−a) = a passes numbers on."""
    size, hidden = model.config.code_dim, model.config.hidden
    if hidden < 2 * size:
        raise ValueError(f'hidden is {hidden}, it must be {2 * size} to pass {size} numbers on')
    one = torch.eye(size)
    split, unite = torch.cat((one, -one)), torch.cat((one, -one), 1)
    encoder, decoder = model.encoder, model.decoder
    for layer, weight in (
        (encoder.layers[0], split @ there),
        (encoder.layers[2], split @ unite),
        (encoder.code, unite),
        (decoder.layers[0], split),
        (decoder.layers[2], split @ unite),
        (decoder.layers[4], back @ unite),
    ):
        rows, columns = weight.shape
        layer.weight[:rows] = 0
        layer.weight[:rows, :columns] = weight
        layer.bias[:rows] = 0


def _start_tokens(model: HToLCompressor, x: Tensor, mask: Tensor, units: Tensor) -> list[Tensor]:
    """Set what reduces tokens and enlarges them again; return `x` so reduced, by kind."""
    tokens, reduced = model.encoder.tokens, []
    for there, back, found, rows, own in zip(
        model.encoder.reduce,
        model.decoder.enlarge,
        token_components(x, mask, tokens),
        tokens.split(x),
        tokens.split(units[None]),
        strict=True,
    ):
        kept, unit = found[:, : there.out_features], own[0, 0]
        there.weight.copy_(kept.T * unit)
        back.weight.copy_(kept / unit[:, None])
        reduced.append(rows @ kept)
    return reduced


def _start_hierarchical(model: HToLCompressor, told: Tensor, covariance: Tensor) -> None:
    sizes = [group.count * group.keep for group in model.config.kinds.values()]
    places = [slice(end - size, end) for end, size in zip(np.cumsum(sizes), sizes, strict=True)]
    found = [
        leading(covariance[place, place], group.rate)
        for place, group in zip(places, model.config.kinds.values(), strict=True)
    ]
    codes = [told[:, place] @ own for place, own in zip(places, found, strict=True)]
    scale = 1 / torch.cat(codes, 1).var(0).mean().sqrt()
    for there, back, own in zip(model.encoder.code, model.decoder.tell, found, strict=True):
        there.direct.weight.copy_(own.T * scale)
        back.direct.weight.copy_(own / scale)


def _start_hybrid(model: HToLCompressor, told: Tensor, covariance: Tensor) -> None:
    components = leading(covariance, model.config.code_dim)
    scale = 1 / (told @ components).var(0).mean().sqrt()
    model.encoder.components.copy_(components * scale)
    model.encoder.unit.fill_(scale**2)
    model.decoder.tell.direct.weight.copy_(components / scale)


def shrunk_covariance(
    reduced: Sequence[Tensor], present: Tensor, kinds: Sequence[Group], shrinkage: float
) -> Tensor:
    """Return the covariance of all tokens, shrunk towards one in which those of a kind are alike.

    `reduced` are tokens `[N, count, keep]` a kind, `present` `[N, T]` is what is there. In the
    target, of which `shrinkage` is the share, every token of a kind varies alike, and so does
    every pair of them with each other: a few clips tell little of 24 things each in its place, and
    much of two things of one scene.
    """
    told = torch.cat([rows.flatten(1) for rows in reduced], 1)
    covariance = told.T @ told / len(told)
    at = token = 0
    for rows, group in zip(reduced, kinds, strict=True):
        there = present[:, token : token + group.count]
        share = there.T @ there / len(rows)  # of contexts in which two places are taken
        flat, total = rows.flatten(0, 1), rows.sum(1)
        own = flat.T @ flat
        pairs = share.sum() - share.trace()
        within = own / (share.trace() * len(rows)).clamp_min(1)
        between = (total.T @ total - own) / (pairs * len(rows)).clamp_min(1)
        alone = torch.eye(group.count)
        target = torch.kron(share * (1 - alone), between) + torch.kron(share * alone, within)
        place = slice(at, at + group.count * group.keep)
        covariance[place, place] += shrinkage * (target - covariance[place, place])
        at, token = place.stop, token + group.count
    return covariance


def train(config: RunConfig, out: Path, progress: bool = True) -> Task:
    """Train a compressor as `sage_perception.training.train.train` does a codec."""
    seen = contexts_of(config, progress=progress)
    apart = contexts_of(config, held_out=True, progress=progress)
    return fit(completed(config, seen), seen, apart, out, progress)


def fit(
    config: RunConfig, seen: Contexts, apart: Contexts, out: Path, progress: bool = True
) -> Task:
    """Train on `seen` and log what is retained of `apart`, which nothing depends on."""
    lightning.seed_everything(config.training.seed, verbose=False)
    data = ContextData(tensors(seen), tensors(apart), config.training)
    weights = emphasis(*data.train.tensors)
    if (out / CHECKPOINT).exists():
        model = load_run(config, out)
    else:
        model = HToLCompressor(config.model)
        start_from_contexts(model, *data.train.tensors, weights)
    out.mkdir(parents=True, exist_ok=True)
    task = HToLTask(model, config.training, weights)
    return training.learn(config, task, data, out, progress)


def completed(config: RunConfig, contexts: Contexts) -> RunConfig:
    """Return a configuration that says which contexts its model is for."""
    model = replace(
        config.model,
        groups=config.model.groups or GROUPS,
        layout=LAYOUT,
        encoder=artifact.read(resolve(config.contexts.encoder)).id.name,
        latents=contexts.model,
    )
    return replace(config, model=model)


def write(folder: Path, config: RunConfig, model: nn.Module, contexts: Contexts) -> None:
    """Write a compressor's folder, all but its card; weights in half precision."""
    folder.mkdir(parents=True, exist_ok=True)
    values, mask = tensors(contexts).tensors
    model = model.float().eval()
    weights = round_weights(model)
    with torch.no_grad():  # which the exporter can trace on with, unlike inference mode
        codes = model.encode(values, mask)[0]
    weights |= {
        artifact.LATENT_MEAN: codes.mean(0).numpy(),
        artifact.LATENT_STD: codes.std(0).numpy(),
        **space_of(config),
    }
    save_file(weights, folder / artifact.WEIGHTS)
    to_onnx(
        ExportWrapper(model, 'encode'),
        (values[:2], mask[:2]),
        folder / artifact.ENCODER,
        ['context', 'mask', 'mean', 'log_var'],
    )
    to_onnx(
        ExportWrapper(model, 'decode'), (codes[:2],), folder / artifact.DECODER, ['z', 'context']
    )
    files = [artifact.WEIGHTS, artifact.ENCODER, artifact.DECODER]
    finalize(folder, config, asdict(model.config), weights, files)


def space_of(config: RunConfig) -> dict[str, np.ndarray]:
    """Return what brings latents into the unit of contexts: their model's statistics."""
    known = artifact.read(resolve(config.contexts.encoder))
    if known.id.fingerprint.hex() != config.model.latents:
        raise ConfigError(f'contexts are of another model than {known.id}: train again')
    return {
        SPACE_MEAN: known.tensors[artifact.LATENT_MEAN],
        SPACE_STD: known.tensors[artifact.LATENT_STD],
    }


def export(config: RunConfig, run: Path, folder: Path) -> None:
    """Turn a training run into a compressor's folder."""
    contexts = contexts_of(config)
    config = completed(config, contexts)
    write(folder, config, load_run(config, run), contexts)
