# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Frames, attention and crops; numpy and OpenCV only.

>>> from sage_perception.vision import Attention
>>> attention = Attention()
>>> crops = attention.attend(image, stamp_s)  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sage_perception.vision.attention import Attention as Attention
    from sage_perception.vision.attention_config import AttentionConfig as AttentionConfig


def __getattr__(name: str) -> Any:
    # Imported on first use: most users of this package need neither SciPy nor attention.
    if name == 'Attention':
        from sage_perception.vision.attention import Attention

        return Attention
    if name == 'AttentionConfig':
        from sage_perception.vision.attention_config import AttentionConfig

        return AttentionConfig
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
