# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The models of identity and semantic codes of crops, as the encoder uses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from sage_perception.core.latent import LatentKind, ModelId
from sage_perception.models import load_codes

KINDS = {'identity': LatentKind.IDENTITY, 'semantic': LatentKind.SEMANTIC}
"""Kinds of codes by the name that parameters use."""
COST_MS = 5.0
"""Nominal time of the codes of one crop, of a model that does not state its own, milliseconds."""


class CodeModel(Protocol):
    """A model of codes of images and of texts, such as `semantic_text`."""

    @property
    def id(self) -> ModelId:
        """Return the identity of the model."""

    def codes(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the semantic and the identity codes of images, float32 `[B, D]` of length 1.

        `images` are float32 `[B, 3, S, S]` in [0, 1].
        """

    def text(self, texts: Sequence[str]) -> np.ndarray:
        """Return the semantic codes of texts, float32 `[B, D]` of length 1; raise `ModelError`."""


def kinds_of(names: str) -> tuple[LatentKind, ...]:
    """Return the kinds of a list such as 'identity,semantic'; none for ''.

    Raises `ValueError` for an unknown or repeated name.
    """
    found = [name.strip() for name in names.split(',') if name.strip()]
    for name in found:
        if name not in KINDS:
            raise ValueError(f'{name!r} is not a kind of codes: use {" or ".join(KINDS)}')
    if len(set(found)) != len(found):
        raise ValueError(f'{names!r} names a kind of codes twice')
    return tuple(KINDS[name] for name in found)


def load_code_model(name: str) -> CodeModel:
    """Return a model of codes by name or folder, run once to warm it up; raise `ModelError`."""
    model = load_codes(name)
    model.codes(np.zeros((1, 3, 64, 64), np.float32))
    return model


def space_of(model: CodeModel, kind: LatentKind) -> ModelId:
    """Return the identity of the space of the codes of a kind.

    The semantic codes of a distilled model are in the space of its teacher, so that they compare.
    """
    name = 'semantic_space' if kind is LatentKind.SEMANTIC else 'identity_space'
    return replace(model.id, fingerprint=getattr(model, name, model.id.fingerprint))


def cost_ms(model: CodeModel) -> float:
    """Return the nominal time of the codes of one crop, milliseconds."""
    return float(getattr(model, 'cost_ms', COST_MS))


def by_kind(
    model: CodeModel, kinds: Sequence[LatentKind], images: np.ndarray
) -> Mapping[LatentKind, np.ndarray]:
    """Return the codes of images by kind, from one pass of the network; see `CodeModel.codes`."""
    semantic, identity = model.codes(images)
    both = {LatentKind.SEMANTIC: semantic, LatentKind.IDENTITY: identity}
    return {kind: both[kind] for kind in kinds}
