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
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from sage_perception.context.layout import BLOCKS, DIM, LAYOUT
from sage_perception.core.progress import Progress
from sage_perception.models import Codec, artifact
from sage_perception.models.compressor import SPACE_MEAN, SPACE_STD
from sage_perception.models.networks.h_to_l import (
    HToLCompressor,
    explained_variance,
    masked_error,
)
from sage_perception.models.networks.h_to_l.initialization import init_from_contexts
from sage_perception.models.registry import resolve
from sage_perception.training import train as training
from sage_perception.training.config import ConfigError, RunConfig, TrainingConfig
from sage_perception.training.contexts.dataset import Contexts, joined
from sage_perception.training.contexts.plan import (
    RECIPE,
    Run,
    files_of,
    load_encoder,
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
    codec = load_encoder(wanted.encoder)
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
    fitted = FittedTrust.read(codec)
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
        init_from_contexts(model, *data.train.tensors, weights)
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
