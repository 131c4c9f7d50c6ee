# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Turn a training run into a model folder: `sage export CONFIG --run DIR --to DIR`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import torch
import yaml
from onnx import helper, numpy_helper
from safetensors.numpy import save_file
from torch import nn

from sage_perception.cli.terminal import Parser, in_one_line
from sage_perception.codecs.codebook import CODEBOOK
from sage_perception.models import artifact, pca
from sage_perception.models.registry import resolve
from sage_perception.training.config import ConfigError, RunConfig, read_config
from sage_perception.training.data.crops import mixture, to_model
from sage_perception.training.runs import load_run
from sage_perception.training.train import varied_crops
from sage_perception.trust import fitted

OPSET = 17
WORTH_HALVING = 256  # numbers of a tensor
DERIVED = {CODEBOOK: 'sage codebook', fitted.FILE: 'sage calibrate-trust'}
"""What others make of a model and put beside it, and who makes it."""


class ExportWrapper(nn.Module):
    """One method of a network, `encode` or `decode`, as a network of its own for the exporter."""

    def __init__(self, model: nn.Module, method: str):
        super().__init__()
        self.model, self.method = model, method

    def forward(self, *given):
        """Return what the method returns."""
        return getattr(self.model, self.method)(*given)


def to_onnx(
    module: nn.Module, example: Sequence[torch.Tensor], path: Path, names: Sequence[str]
) -> None:
    """Write a network as ONNX with any batch size; `names` are its inputs' and outputs'."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', DeprecationWarning)  # the exporter by tracing is kept
        warnings.simplefilter('ignore', torch.jit.TracerWarning)  # of group_norm's own checks
        warnings.filterwarnings('ignore', 'Constant folding', UserWarning)
        torch.onnx.export(
            module.eval(),
            tuple(example),
            str(path),
            opset_version=OPSET,
            dynamo=False,
            input_names=names[: len(example)],
            output_names=names[len(example) :],
            dynamic_axes={name: {0: 'batch'} for name in names},
        )


def store_in_half(path: Path) -> None:
    """Store the weights of an ONNX graph that half precision holds exactly in it.

    The graph still computes in single precision: each is cast, which a runtime does on loading.
    """
    model = onnx.load(path)
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        half = values.astype(np.float16)
        if values.dtype == np.float32 and values.size >= WORTH_HALVING and (half == values).all():
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(half, f'{name}.half'))
            casts.append(
                helper.make_node('Cast', [tensor.name], [name], to=onnx.TensorProto.FLOAT)
            )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)


def latent_statistics(config: RunConfig, model: nn.Module, crops: np.ndarray) -> dict:
    """Return mean and deviation of the latents over crops, float32 `[N, C, S, S]`.

    With another model's encoder they are that model's: the two share one latent space. Of a
    latent `[K, H, W]` they are those of its K maps, the same at every place.
    """
    if config.encoder:
        known = artifact.read(resolve(config.encoder)).tensors
        return {name: known[name] for name in (artifact.LATENT_MEAN, artifact.LATENT_STD)}
    with torch.inference_mode():
        latents = torch.cat(
            [model.get_latents(part) for part in torch.from_numpy(crops).split(64)]
        )
    over = (0, *range(2, latents.ndim))
    shape = latents.shape[1:]
    return {
        artifact.LATENT_MEAN: latents.mean(over, keepdim=True)[0].expand(shape).numpy().copy(),
        artifact.LATENT_STD: latents.std(over, keepdim=True)[0].expand(shape).numpy().copy(),
    }


def fit_baseline(model: nn.Module, crops: np.ndarray) -> pca.Pca:
    """Return the principal components of crops, float32 `[N, C, S, S]`, as many as the latent's.

    Where a latent keeps places apart they are those of the blocks that it describes.
    """
    if hasattr(model, 'blocks'):
        return pca.fit(model.blocks(torch.from_numpy(crops)).numpy(), model.config.latent_channels)
    return pca.fit(crops, model.config.latent_dim)


def write(
    folder: Path, config: RunConfig, model: nn.Module, crops: np.ndarray, baseline: pca.Pca
) -> None:
    """Write a model folder, all but its card.

    `crops`, float32 `[N, C, S, S]`, are training crops; `baseline` are their principal components.
    The weights are rounded to half precision, in which they take half the room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = model.float().eval().to(memory_format=torch.contiguous_format)
    tensors = round_weights(model) | latent_statistics(config, model, crops)
    save_file(tensors, folder / artifact.WEIGHTS)
    files = [artifact.WEIGHTS, artifact.ENCODER, artifact.DECODER, artifact.PCA]
    halves = {'mean': baseline.mean, 'components': baseline.components}
    save_file({k: v.astype(np.float16) for k, v in halves.items()}, folder / artifact.PCA)
    size = model.config.img_size
    image = torch.zeros(2, model.config.input_channels, size, size)
    latent = torch.zeros(2, *tensors[artifact.LATENT_MEAN].shape)
    to_onnx(
        ExportWrapper(model, 'encode'),
        [image],
        folder / artifact.ENCODER,
        ['x', 'mean', 'log_var'],
    )
    to_onnx(ExportWrapper(model, 'decode'), [latent], folder / artifact.DECODER, ['z', 'y'])
    finalize(folder, config, asdict(model.config), tensors, files)


def round_weights(model: nn.Module) -> dict[str, np.ndarray]:
    """Round what a network stores to half precision, in place; return it as float16, by name.

    What it does not store, such as a fixed basis, stays as it is: who loads it makes that anew.
    """
    stored = model.state_dict()
    for value in stored.values():
        value.copy_(value.half())
    return {name: value.half().numpy() for name, value in stored.items()}


def finalize(
    folder: Path,
    config: RunConfig,
    settings: dict,
    tensors: dict[str, np.ndarray],
    files: Sequence[str],
) -> None:
    """Halve the graphs in a model folder and write what identifies it and its `files`.

    `settings` are those of its network, `tensors` what its weights' file holds.
    """
    for file in (artifact.ENCODER, artifact.DECODER):
        store_in_half(folder / file)
    for file in files:
        (folder / file).chmod(0o644)  # safetensors writes files that only their owner reads
    tree = {
        'name': config.name,
        'version': config.version,
        'family': config.family,
        'config': settings,
        'fingerprint': artifact.fingerprint(config.family, settings, tensors).hex(),
        'files': {file: artifact.file_sha256(folder / file) for file in files},
    }
    (folder / artifact.CONFIG).write_text(yaml.safe_dump(tree, sort_keys=False))


def find_trtexec() -> str:
    """Return where TensorRT's own `trtexec` is; `ConfigError` where it is not installed."""
    found = shutil.which('trtexec') or shutil.which('trtexec', path='/usr/src/tensorrt/bin')
    if not found:
        raise ConfigError(
            '--tensorrt: there is no trtexec on PATH or in /usr/src/tensorrt/bin: run this on the '
            'Jetson, JetPack has it in the package libnvinfer-bin'
        )
    return found


def build_engines(folder: Path, batch: int = 24) -> list[Path]:
    """Build TensorRT engines beside the ONNX graphs, in half precision, for 1 to `batch` images.

    They are for the device that they are built on.
    """
    trtexec = find_trtexec()
    shapes = {artifact.ENCODER: 'x', artifact.DECODER: 'z'}
    engines = []
    for file, name in shapes.items():
        engine = (folder / file).with_suffix('.engine')
        rest = 'x'.join(map(str, input_shape(folder / file)))
        command = [trtexec, f'--onnx={folder / file}', f'--saveEngine={engine}', '--fp16']
        for which, count in (('min', 1), ('opt', batch // 3), ('max', batch)):
            command.append(f'--{which}Shapes={name}:{count}x{rest}')
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ConfigError(f'{trtexec} failed on {folder / file}:\n{done.stdout[-2000:]}')
        engines.append(engine)
    return engines


def input_shape(path: Path) -> tuple[int, ...]:
    """Return the shape of an ONNX graph's input without the batch."""
    (shape,) = (i.type.tensor_type.shape for i in onnx.load(path).graph.input)
    return tuple(dim.dim_value for dim in shape.dim[1:])


def export(config: RunConfig, run: Path, folder: Path) -> None:
    """Turn the run of a configuration into a model folder, all but its card."""
    if config.contexts is not None:
        from sage_perception.training.tasks import h_to_l as compression

        compression.export(config, run, folder)
        return
    model = load_run(config, run)
    crops = mixture(config.data, config.model.img_size)
    sample = crops.sample(config.training.fitted_crops, seed=1)
    x = to_model(sample, config.model.input_channels)
    write(folder, config, model, x, fit_baseline(model, varied_crops(crops, config)))


def identity(folder: Path) -> str:
    """Return what tells a model in a folder, decoder and all, from any other; '' for none."""
    path = folder / artifact.CONFIG
    return path.read_text() if path.is_file() else ''


@in_one_line('sage export')
def main(argv: Sequence[str] | None = None) -> int:
    """Run `sage export`; return the exit code."""
    parser = Parser(prog='sage export', description=__doc__)
    parser.add_argument('config', type=Path, help='the configuration that was trained with')
    parser.add_argument('--run', type=Path, required=True, help='run folder with last.ckpt')
    parser.add_argument('--to', type=Path, required=True, help='model folder to write')
    parser.add_argument(
        '--tensorrt',
        action='store_true',
        help='also build TensorRT engines for this device, with trtexec',
    )
    args = parser.parse_args(argv)
    config = read_config(args.config)
    if args.tensorrt:  # before the minutes that an export takes
        find_trtexec()
        if config.contexts is not None:
            raise ConfigError('--tensorrt: engines are for models of images, this is of contexts')
    before = identity(args.to)
    export(config, args.run, args.to)
    print(f'{artifact.read(args.to).id} in {args.to}')
    if before not in ('', identity(args.to)):
        for file, again in DERIVED.items():
            if (args.to / file).is_file():
                (args.to / file).unlink()
                print(f'removed {file}, of the model that was there before; anew: {again}')
    if args.tensorrt:
        print(*build_engines(args.to), sep='\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
