# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Find a model by name or folder, verify it, and load it on a backend.

>>> from sage_perception.models import load_codec
>>> model = load_codec('tinyvae')
>>> z = model.encode(x)  # x: float32 [B, 3, 64, 64] in [0, 1]; z: float32 [B, 64]
"""

from __future__ import annotations

import importlib.util
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sage_perception.core.text import did_you_mean
from sage_perception.models import artifact
from sage_perception.models.artifact import ModelError
from sage_perception.models.audio_model import AudioModel
from sage_perception.models.codec import Codec
from sage_perception.models.compressor import Compressor
from sage_perception.models.slot_codec import SlotCodec
from sage_perception.models.slot_encoder import SlotEncoder

if TYPE_CHECKING:
    from sage_perception.models.fusion import FusionModel
    from sage_perception.models.semantic.image_codes import ImageCodes
    from sage_perception.models.semantic.semantic_text import SemanticText

CODES = ('semantic_text', 'semantic_small')
"""Models of this package with semantic and identity codes."""
ZOO = Path(__file__).with_name('zoo')
BACKENDS = ('auto', 'torch', 'onnxruntime', 'tensorrt')
DEVICES = ('auto', 'cpu', 'cuda')
PRECISIONS = ('fp32', 'fp16')
_CODECS = {
    'onnxruntime': 'sage_perception.models.backends.onnx_backend:OnnxCodec',
    'tensorrt': 'sage_perception.models.backends.tensorrt_backend:TensorRtCodec',
    'torch': 'sage_perception.models.backends.torch_backend:TorchCodec',
}
_COMPRESSORS = {
    'onnxruntime': 'sage_perception.models.backends.onnx_backend:OnnxCompressor',
    'torch': 'sage_perception.models.backends.torch_backend:TorchCompressor',
}
_SLOT_ENCODERS = {
    'onnxruntime': 'sage_perception.models.backends.onnx_backend:OnnxSlotEncoder',
}
_AUDIO = {
    'onnxruntime': 'sage_perception.models.backends.onnx_audio:OnnxAudioModel',
}
_SEMANTIC = {
    'onnxruntime': 'sage_perception.models.semantic.semantic_text:load_semantic_text',
}
_CODES = {
    'onnxruntime': 'sage_perception.models.semantic.small_codes:SmallCodes',
}
LOADED = {
    'tinyvae': _CODECS,
    'lightweight': _CODECS,
    'h_to_l': _COMPRESSORS,
    'slots': _SLOT_ENCODERS,
    'audio': _AUDIO,
    'semantic_text': _SEMANTIC,
    'codes': _CODES,
    'fusion': {'onnxruntime': 'sage_perception.models.fusion:FusionModel'},
}
"""The class of loaded models by family and backend, imported on demand."""


def available() -> dict[str, Path]:
    """Return the models of this package: folder by name."""
    return {path.parent.name: path.parent for path in sorted(ZOO.glob('*/config.yaml'))}


def installed_name(fingerprint: bytes, preferred: str = '') -> str | None:
    """Return the name of a model of this package with a latent space, None if there is none.

    If several models have it, `preferred` is returned if it is one of them.
    """
    for name, folder in sorted(available().items(), key=lambda item: item[0] != preferred):
        try:
            if artifact.declared_fingerprint(folder) == fingerprint:
                return name
        except ModelError:
            continue
    return None


def load(
    name_or_path: str | Path,
    backend: str = 'auto',
    device: str = 'auto',
    precision: str = 'fp32',
) -> Codec | Compressor | SlotEncoder | AudioModel | ImageCodes | FusionModel:
    """Load a model by its name in the package or from a folder.

    Returns a `Codec` for a model of images, a `Compressor` for the family `h_to_l`, a
    `SlotEncoder` for the family `slots`, an `AudioModel` for `audio`, an `ImageCodes` for `codes`,
    and a `SemanticText`, which is one, too, for `semantic_text`; use `load_codec`,
    `load_crop_codec`, `load_compressor`, `load_slot_encoder`, `load_audio`, `load_codes` or
    `load_semantic` to require one of them.

    Parameters
    ----------
    name_or_path : str or Path
        Name of a model of this package, or a model folder.
    backend : str
        `'auto'`, `'torch'`, `'onnxruntime'` or `'tensorrt'` (the TensorRT provider of ONNX
        Runtime, for models of images). `'auto'` selects ONNX Runtime on the CPU if it is
        installed, and torch for GPUs and fp16. torch is imported only by its own backend.
    device : str
        `'auto'`, `'cpu'` or `'cuda'`.
    precision : str
        `'fp32'` or `'fp16'`.

    Raises
    ------
    ModelError
        If the model is missing, damaged or of an unknown family, or if backend, device or
        precision is not available.

    """
    for key, value, choices in (
        ('backend', backend, BACKENDS),
        ('device', device, DEVICES),
        ('precision', precision, PRECISIONS),
    ):
        if value not in choices:
            raise ModelError(f'{key} is {value!r}; it must be one of {", ".join(choices)}')
    path = resolve(name_or_path)
    if backend == 'auto':
        cpu = device != 'cuda' and precision == 'fp32'
        backend = 'onnxruntime' if cpu and installed('onnxruntime') else 'torch'
    package = 'onnxruntime' if backend == 'tensorrt' else backend
    if not installed(package):
        raise ModelError(f'backend {backend} is not installed: pip install {package}')
    model = artifact.read(path)
    if model.family not in LOADED:
        raise ModelError(
            f'{path} is of family {model.family!r}; it must be one of {", ".join(LOADED)}'
        )
    if backend not in LOADED[model.family]:
        raise ModelError(
            f'backend {backend} does not run {model.id.name}, a model of family {model.family}; '
            f'use one of {", ".join(LOADED[model.family])}'
        )
    loaded: Callable[..., Codec | Compressor | SlotEncoder | AudioModel | ImageCodes | FusionModel]
    loaded = pkgutil.resolve_name(LOADED[model.family][backend])
    return loaded(model, device, precision)


def load_codec(
    name_or_path: str | Path,
    backend: str = 'auto',
    device: str = 'auto',
    precision: str = 'fp32',
) -> Codec:
    """Load a model of images as `load` does; raise `ModelError` for one of another kind."""
    model = load(name_or_path, backend, device, precision)
    if not isinstance(model, Codec):
        kinds = {
            'h_to_l': 'compresses contexts',
            'slots': 'divides images',
            'audio': 'encodes sound',
        }
        kind = kinds.get(model.artifact.family, 'has no latents of images')
        raise ModelError(f'{model.id} {kind}: use a model of images, such as tinyvae')
    return model


def load_crop_codec(
    name_or_path: str | Path,
    backend: str = 'auto',
    device: str = 'auto',
    precision: str = 'fp32',
) -> Codec:
    """Load a model of images whose latents are vectors `[D]`, which LCTs can carry.

    Raises `ModelError` for a model with a spatial latent, and as `load_codec` does.
    """
    codec = load_codec(name_or_path, backend, device, precision)
    if len(codec.latent_shape) != 1:
        shape = '×'.join(map(str, codec.latent_shape))
        raise ModelError(
            f'{codec.id} has latents of shape {shape}, which an LCT cannot carry: use a model of '
            'crops, such as tinyvae'
        )
    return codec


def load_observation_model(name_or_path: str | Path) -> Codec:
    """Load a model whose latents LCTs carry: one of crops, or a slot model as a `SlotCodec`.

    Raises `ModelError` as `load_crop_codec` and `load` do.
    """
    path = resolve(name_or_path)
    if artifact.read(path).family != 'slots':
        return load_crop_codec(path)
    return SlotCodec(load_slot_encoder(path))


def load_compressor(
    name_or_path: str | Path,
    backend: str = 'auto',
    device: str = 'auto',
    precision: str = 'fp32',
) -> Compressor:
    """Load a compressor of contexts as `load` does; raise `ModelError` for a model of images."""
    model = load(name_or_path, backend, device, precision)
    if not isinstance(model, Compressor):
        raise ModelError(
            f'{model.id} is not one: use a compressor of contexts, such as h_to_l_hybrid'
        )
    return model


def load_slot_encoder(name_or_path: str | Path, device: str = 'auto') -> SlotEncoder:
    """Load a slot model as `load` does, on ONNX Runtime; raise `ModelError` for another family."""
    model = load(name_or_path, 'onnxruntime', device)
    if not isinstance(model, SlotEncoder):
        raise ModelError(f'{model.id} is not a slot model: use one of the family slots')
    return model


def load_audio(name_or_path: str | Path = 'audiovae', device: str = 'auto') -> AudioModel:
    """Load a model of sound as `load` does, on ONNX Runtime; raise `ModelError` for others."""
    model = load(name_or_path, 'onnxruntime', device)
    if not isinstance(model, AudioModel):
        raise ModelError(f'{model.id} is not a model of sound: use one such as audiovae')
    return model


def load_fusion(name_or_path: str | Path = 'fusion') -> FusionModel:
    """Load a fusion network as `load` does; raise `ModelError` for any other model."""
    model = load(name_or_path)
    if model.artifact.family != 'fusion':
        raise ModelError(f'{model.id} does not relate words and objects: use fusion')
    return cast('FusionModel', model)


def load_codes(name_or_path: str | Path = 'semantic_text') -> ImageCodes:
    """Load a model of semantic and identity codes as `load` does.

    Raises `ModelError` for any other model.
    """
    model = load(name_or_path)
    if model.artifact.family not in ('semantic_text', 'codes'):
        raise ModelError(f'{model.id} has no semantic codes: use {" or ".join(CODES)}')
    return cast('ImageCodes', model)


def load_semantic(name_or_path: str | Path = 'semantic_text') -> SemanticText:
    """Load a model with nouns for images as `load` does; raise `ModelError` for any other."""
    model = load_codes(name_or_path)
    if model.artifact.family != 'semantic_text':
        raise ModelError(f'{model.id} has no nouns: use semantic_text')
    return cast('SemanticText', model)


def resolve(name_or_path: str | Path) -> Path:
    """Return the folder of a model given by name or folder; raise `ModelError` if it is neither.

    If both exist, a string is the name and a `Path` the folder.
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
        f'{did_you_mean(str(name_or_path), models)}'
    )


def installed(package: str) -> bool:
    """Return whether a package can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None
