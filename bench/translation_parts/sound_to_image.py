# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Sound of a digit to the image of a handwritten one.

`latents`: ridge regression from the 128-D latent of the sound to the 64 pixels of a handwritten
digit, fitted to recordings of other persons, each paired with a random image of its digit.
`words`: the recognized word chooses a real image of the digit, a lookup. The images are half of
scikit-learn's digits; a classifier that was trained on the other half reads the results. Persons
are held out as in the part `digits`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge
from sklearn.svm import SVC

from sage_perception.training.tasks.audio.task import analyzed
from translation_parts.digits import digits_of, trained
from translation_parts.fsdd import load

RIDGE = 10.0
MAX_GRAY = 16.0


def measure(seeds: Sequence[int]) -> dict[str, object]:
    """Return the accuracy of both ways, and that of the recognized digits."""
    sounds, images = load(), load_digits()
    pixels, labels = images.data / MAX_GRAY, images.target
    rows = []
    reads = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        half = rng.permutation(len(labels)) < len(labels) // 2
        reader = SVC(C=5).fit(pixels[half], labels[half])
        reads.append(float(reader.score(pixels[~half], labels[~half])))
        shown, of = pixels[~half], labels[~half]

        def any_image(digit: int, shown=shown, of=of, rng=rng) -> np.ndarray:
            return shown[rng.choice(np.flatnonzero(of == digit))]

        persons = []
        for voice in sorted(set(sounds.voice)):
            test = sounds.voice == voice
            z, logits = (each.numpy() for each in analyzed(trained(voice, seed), sounds.mel[:, 0]))
            truth, found = sounds.digit[test], digits_of(logits[test])
            pairs = np.stack([any_image(digit) for digit in sounds.digit[~test]])
            made = Ridge(RIDGE).fit(z[~test], pairs).predict(z[test])
            looked_up = np.stack([any_image(digit) for digit in found])
            persons.append(
                [
                    np.mean(reader.predict(made.clip(0, 1)) == truth),
                    np.mean(reader.predict(looked_up) == truth),
                    np.mean(found == truth),
                ]
            )
        rows.append(np.mean(persons, 0))
    latents, words, recognized = np.mean(rows, 0)
    return {
        'value': float(words),
        'way': 'words',
        'seeds': [float(row[1]) for row in rows],
        'of_digit_accuracy': float(words / recognized),
        'latents': {
            'value': float(latents),
            'seeds': [float(row[0]) for row in rows],
            'of_digit_accuracy': float(latents / recognized),
        },
        'digit_accuracy': float(recognized),
        'baselines': {'chance': 0.1, 'reader_on_real_images': float(np.mean(reads))},
    }
