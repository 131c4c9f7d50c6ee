# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Paths of translators, trust that is multiplied by hop, provenance, and refusals."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from sage_perception.core.latent import Latent, LatentKind, ModelId, Telemetry
from sage_perception.core.lct import LCT, Operation
from sage_perception.puzzle.translators import (
    KindTranslator,
    TranslationRefused,
    TranslatorRegistry,
)

KINDS = (LatentKind.VISION, LatentKind.SEMANTIC, LatentKind.TEXT, LatentKind.ACTION)
SPACES = {kind: ModelId(kind.name, '1', bytes([kind]) * 32) for kind in KINDS}


def translator(source, target, trust, name='', change=None):
    def function(latent):
        made = replace(latent, kind=target, model=SPACES[target], telemetry=Telemetry())
        return replace(change(made) if change else made, mean=latent.mean + 1)

    spaces = SPACES[source], SPACES[target]
    name = name or f'{source.name} to {target.name}'
    return KindTranslator(name, source, target, *spaces, trust, function)


def registry(*translators):
    found = TranslatorRegistry()
    for each in translators:
        found.register(each)
    return found


def crop(trust=0.9):
    latent = Latent(np.zeros(4, np.float32), model=SPACES[LatentKind.VISION])
    return LCT.encoded(latent, entity_id='cam0', sequence=1, stamp_ns=5, trust=trust)


def translate(found, lct, target, min_trust=0.0):
    counter = itertools.count(1)
    return found.translate(
        lct, target, entity_id='me', next_sequence=lambda: next(counter), min_trust=min_trust
    )


VISION, SEMANTIC, TEXT, ACTION = KINDS


def test_the_path_with_the_largest_product_of_trusts_is_used():
    found = registry(
        translator(VISION, TEXT, 0.5),
        translator(VISION, SEMANTIC, 0.9),
        translator(SEMANTIC, TEXT, 0.8),
    )
    result = translate(found, crop(), TEXT)
    assert result.latent.kind is TEXT
    assert result.latent.mean.tolist() == [2, 2, 2, 2]
    assert result.trust == pytest.approx(0.9 * 0.9 * 0.8)
    assert [s.operation for s in result.provenance] == [
        Operation.ENCODE, Operation.TRANSLATE, Operation.TRANSLATE,
    ]  # fmt: skip
    assert math.prod(s.trust for s in result.provenance) == pytest.approx(result.trust)
    assert result.provenance[1].parent_id == crop().id
    assert result.entity_id == 'me'
    assert result.stamp_ns == 5


def test_an_lct_of_the_wanted_kind_is_not_changed():
    lct = crop()
    assert translate(registry(), lct, VISION) is lct


def test_without_a_path_and_below_the_threshold_nothing_is_translated():
    found = registry(translator(VISION, SEMANTIC, 0.9))
    with pytest.raises(TranslationRefused, match='no translator leads from'):
        translate(found, crop(), ACTION)
    with pytest.raises(TranslationRefused, match=r'is 0\.81, below 0\.85'):
        translate(found, crop(), SEMANTIC, 0.85)
    with pytest.raises(TranslationRefused):
        translate(found, crop(float('nan')), SEMANTIC, 0.1)


def test_a_trust_of_the_item_counts_instead_of_the_mean():
    def doubt(latent):
        return replace(latent, telemetry=Telemetry(trust=0.3))

    found = registry(replace(translator(VISION, SEMANTIC, 0.9, change=doubt), by_item=True))
    assert translate(found, crop(), SEMANTIC).trust == pytest.approx(0.27)
    with pytest.raises(TranslationRefused, match='below'):
        translate(found, crop(), SEMANTIC, 0.5)


def test_results_that_are_not_valid_are_refused():
    class Broken:
        def __call__(self, latent):
            mean = np.full(4, np.nan, np.float32)
            return replace(latent, mean=mean, kind=SEMANTIC, telemetry=Telemetry())

    broken = replace(translator(VISION, SEMANTIC, 0.9), function=Broken())
    with pytest.raises(TranslationRefused, match='no valid latent'):
        translate(registry(broken), crop(), SEMANTIC)


def test_circles_end():
    found = registry(translator(VISION, SEMANTIC, 1.0), translator(SEMANTIC, VISION, 1.0))
    assert found.path(SPACES[VISION], ACTION) == ()


def test_names_are_unique_and_trust_is_a_probability():
    found = registry(translator(VISION, SEMANTIC, 0.9))
    with pytest.raises(ValueError, match='registered already'):
        found.register(translator(VISION, SEMANTIC, 0.9))
    with pytest.raises(ValueError, match='not in'):
        translator(VISION, SEMANTIC, 1.2)
