# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The models of identity and semantic codes of crops, as the encoder uses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from sage_perception.core.latent import LatentKind, ModelId
from sage_perception.core.text import split_names
from sage_perception.models import load_codes
from sage_perception.models.registry import installed
from sage_perception.models.semantic.image_codes import ImageCodes

KINDS = {'identity': LatentKind.IDENTITY, 'semantic': LatentKind.SEMANTIC}
"""Kinds of codes by the name that parameters use."""
AUTO = 'auto'
"""Identity codes where ONNX Runtime, which their small model needs, is installed."""


def kinds_of(names: str) -> tuple[LatentKind, ...]:
    """Return the kinds of a list such as 'identity,semantic', or of 'auto'; none for ''.

    Raises `ValueError` for an unknown or repeated name.
    """
    if names.strip() == AUTO:
        return (LatentKind.IDENTITY,) if installed('onnxruntime') else ()
    found = split_names(names)
    for name in found:
        if name not in KINDS:
            raise ValueError(f'{name!r} is not a kind of codes: use {", ".join(KINDS)} or {AUTO}')
    if len(set(found)) != len(found):
        raise ValueError(f'{names!r} names a kind of codes twice')
    return tuple(KINDS[name] for name in found)


def code_model_of(name: str, kinds: Sequence[LatentKind]) -> str:
    """Return the model for kinds of codes: `name`, or the default of the kinds for ''."""
    return name or ('semantic_text' if LatentKind.SEMANTIC in kinds else 'semantic_small')


def load_code_model(name: str) -> ImageCodes:
    """Return a model of codes by name or folder, run once to warm it up; raise `ModelError`."""
    model = load_codes(name)
    model.codes(np.zeros((1, 3, 64, 64), np.float32))
    return model


def space_of(model: ImageCodes, kind: LatentKind) -> ModelId:
    """Return the identity of the space of the codes of a kind.

    The semantic codes of a distilled model are in the space of its teacher, so that they compare.
    """
    own = model.semantic_space if kind is LatentKind.SEMANTIC else model.identity_space
    return replace(model.id, fingerprint=own)


def by_kind(
    model: ImageCodes, kinds: Sequence[LatentKind], images: np.ndarray
) -> Mapping[LatentKind, np.ndarray]:
    """Return the codes of images by kind, from one pass of the network; see `ImageCodes.codes`."""
    semantic, identity = model.codes(images)
    both = {LatentKind.SEMANTIC: semantic, LatentKind.IDENTITY: identity}
    return {kind: both[kind] for kind in kinds}
