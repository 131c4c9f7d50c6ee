# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Images to words and words to images, with provenance; words are codes of colors here."""

import itertools
import math

import numpy as np
import pytest

from sage_perception.core.latent import Latent, LatentKind, ModelId
from sage_perception.core.lct import LCT, Operation
from sage_perception.puzzle.language import UNKNOWN, LanguageVisionBridge

RED, GREEN, BLUE = np.eye(3)
NOUNS = {'apple': RED, 'leaf': GREEN, 'sky': BLUE}


def decode(z):
    """Return images in one color, the latent; a real codec decodes to any image."""
    colors = (np.clip(z, 0, 1) * 255).astype(np.uint8)
    return np.broadcast_to(colors[:, None, None], (len(z), 8, 8, 3)).copy()


class ColorWords:
    """Codes are the direction of the mean color; a noun for each of the three axes."""

    id = ModelId('colors', '1', bytes(range(32)))

    def encode(self, images):
        mean = images.mean((1, 2)) + 1e-3
        return (mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype(np.float32)

    def text(self, texts):
        return np.array([NOUNS[text.split()[-1]] for text in texts], np.float32)

    def describe(self, images, count=1):
        cosines = self.encode(images) @ np.array(list(NOUNS.values())).T
        scores = np.clip((cosines - 0.6) / 0.4, 0, 1)
        names = list(NOUNS)
        return [[(names[i], float(row[i])) for i in np.argsort(-row)[:count]] for row in scores]


@pytest.fixture
def bridge():
    counter = itertools.count(1)
    return LanguageVisionBridge(ColorWords(), decode, 'me', lambda: next(counter))


def crop(color, sequence=1, trust=0.8):
    latent = Latent(np.asarray(color, np.float32), track_id=sequence)
    return LCT.encoded(latent, entity_id='cam0', sequence=sequence, stamp_ns=7, trust=trust)


def test_an_image_becomes_a_color_and_a_noun_with_provenance(bridge):
    found = bridge.describe(crop([0.9, 0.05, 0.05]))
    assert found.text == 'red apple'
    assert found.confidence > 0.9
    assert found.lct.latent.kind is LatentKind.SEMANTIC
    assert [step.operation for step in found.lct.provenance] == [
        Operation.ENCODE,
        Operation.TRANSLATE,
    ]
    assert found.lct.trust == pytest.approx(0.8 * found.confidence)
    assert found.lct.provenance[1].parent_id == crop([0.9, 0.05, 0.05]).id


def test_an_image_without_a_fitting_word_is_unknown_and_has_no_trust(bridge):
    found = bridge.describe(crop([0.5, 0.5, 0.5]))
    assert found.text == UNKNOWN
    assert found.lct.trust == 0


def test_words_become_real_memories_first_and_then_a_labeled_decoded_image(bridge):
    memories = [crop(c, i) for i, c in enumerate((GREEN, RED * 0.9, BLUE, RED * 0.7), 1)]
    found = bridge.imagine_from_text('an apple', memories, count=2)
    assert [each.origin for each in found] == ['memory', 'memory', 'decoded']
    assert {each.lct.latent.track_id for each in found[:2]} == {2, 4}
    assert found[0].lct in memories
    assert found[0].similarity >= found[1].similarity > 0.99
    decoded = found[2]
    assert decoded.image[0, 0, 0] > 180
    assert decoded.lct.latent.kind is LatentKind.VISION
    assert math.prod(s.trust for s in decoded.lct.provenance) == pytest.approx(decoded.lct.trust)
    assert decoded.lct.entity_id == 'me'


def test_nothing_is_imagined_without_memories_and_no_words_are_an_error(bridge):
    assert bridge.imagine_from_text('an apple', []) == []
    for text, count in (('…', 1), ('apple', 0)):
        with pytest.raises(ValueError, match='no words'):
            bridge.imagine_from_text(text, [crop(RED)], count)
