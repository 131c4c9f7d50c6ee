# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Find a model by name or folder, check it, and load it on a backend.

>>> from sage_perception.models import load
>>> model = load('tinyvae')
>>> z = model.encode(x)  # x: float32 [B, 3, 64, 64] in [0, 1]; z: float32 [B, 64]
"""

from __future__ import annotations

import importlib.util
import pkgutil
from pathlib import Path

from sage_perception.models import artifact as artifact
from sage_perception.models.artifact import ModelError
from sage_perception.models.codec import Codec
from sage_perception.models.compressor import Compressor

ZOO = Path(__file__).with_name('zoo')
BACKENDS = ('auto', 'torch', 'onnxruntime')
DEVICES = ('auto', 'cpu', 'cuda')
PRECISIONS = ('fp32', 'fp16')
_CODECS = {
    'onnxruntime': 'sage_perception.models.backends.onnx_backend:OnnxCodec',
    'torch': 'sage_perception.models.backends.torch_backend:TorchCodec',
}
_COMPRESSORS = {
    'onnxruntime': 'sage_perception.models.backends.onnx_backend:OnnxCompressor',
    'torch': 'sage_perception.models.backends.torch_backend:TorchCompressor',
}
LOADED = {'tinyvae': _CODECS, 'lightweight': _CODECS, 'h_to_l': _COMPRESSORS}
"""What computes a model, by its family and by backend; imported when asked for."""


def available() -> dict[str, Path]:
    """Return the models that come with the package: name → folder."""
    return {path.parent.name: path.parent for path in sorted(ZOO.glob('*/config.yaml'))}


def load(
    name_or_path: str | Path,
    backend: str = 'auto',
    device: str = 'auto',
    precision: str = 'fp32',
) -> Codec | Compressor:
    """Load a model by its name in the package or from a folder.

    A model of images is a `Codec`, one of the family `h_to_l` a `Compressor` of contexts;
    `load_codec`, `load_crop_codec` and `load_compressor` are for who wants one of them.

    `backend` is `'auto'`, `'torch'` or `'onnxruntime'`; `device` `'auto'`, `'cpu'` or `'cuda'`;
    `precision` `'fp32'` or `'fp16'`. Automatically, ONNX Runtime computes on the CPU where it is
    installed, torch does GPUs and fp16. Torch is imported only if it computes.
    Raises `ModelError`.
    """
    for key, value, choices in (
        ('backend', backend, BACKENDS),
        ('device', device, DEVICES),
        ('precision', precision, PRECISIONS),
    ):
        if value not in choices:
            raise ModelError(f'{key} is {value!r}, it must be one of {", ".join(choices)}')
    path = resolve(name_or_path)
    if backend == 'auto':
        cpu = device != 'cuda' and precision == 'fp32'
        backend = 'onnxruntime' if cpu and installed('onnxruntime') else 'torch'
    if not installed(backend):
        raise ModelError(f'backend {backend} is not installed: pip install {backend}')
    model = artifact.read(path)
    if model.family not in LOADED:
        raise ModelError(f'{path} is of family {model.family!r}, known are {", ".join(LOADED)}')
    chosen = pkgutil.resolve_name(LOADED[model.family][backend])
    return chosen(model, device, precision)


def load_codec(name_or_path: str | Path, **how: str) -> Codec:
    """Load a model of images, as `load` does; `ModelError` if it is one of contexts."""
    model = load(name_or_path, **how)
    if not isinstance(model, Codec):
        raise ModelError(
            f'{model.id} compresses contexts: name a model of images, such as tinyvae'
        )
    return model


def load_crop_codec(name_or_path: str | Path, **how: str) -> Codec:
    """Load a model of crops, as `load` does: its latents are one row of numbers, as LCTs carry.

    Raises `ModelError` for one whose latents keep places apart, and as `load_codec` does.
    """
    codec = load_codec(name_or_path, **how)
    if len(codec.latent_shape) != 1:
        shape = '×'.join(map(str, codec.latent_shape))
        raise ModelError(
            f'{codec.id} makes {shape} numbers of an image, which no LCT carries: name a model '
            'of crops, such as tinyvae'
        )
    return codec


def load_compressor(name_or_path: str | Path, **how: str) -> Compressor:
    """Load a compressor of contexts, as `load` does; `ModelError` if it is one of images."""
    model = load(name_or_path, **how)
    if not isinstance(model, Compressor):
        raise ModelError(f'{model.id} codes images: name one of contexts, such as h_to_l_hybrid')
    return model


def resolve(name_or_path: str | Path) -> Path:
    """Return the folder of a model given by name or folder; `ModelError` if there is none.

    A string is a name first and a `Path` a folder first, where both exist.
    """
    models, folder = available(), Path(name_or_path)
    shipped = models.get(str(name_or_path))
    if shipped and not (isinstance(name_or_path, Path) and folder.is_dir()):
        return shipped
    if folder.is_dir():
        return folder
    known = ', '.join(models) or 'none'
    raise ModelError(
        f'{str(name_or_path)!r} is neither a model of this package ({known}) nor a folder'
    )


def installed(package: str) -> bool:
    """Tell whether a package can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None
