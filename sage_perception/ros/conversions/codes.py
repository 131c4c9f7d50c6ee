# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversions of what is sent beside a latent: `sage_msgs/Code` and `sage_msgs/Snarc`."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from sage_msgs.msg import Code as CodeMessage
from sage_msgs.msg import ModelId as ModelIdMessage
from sage_msgs.msg import Snarc

from sage_perception.core.latent import Code, LatentKind, ModelId
from sage_perception.ros.conversions.building import build
from sage_perception.ros.conversions.model_ids import model_id_from_msg, model_id_to_msg

_SCORES = ('surprise', 'novelty', 'arousal', 'reward', 'conflict')


class ModelTable:
    """The models that codes refer to by index: 0 is `first`, the others are listed."""

    def __init__(self, first: ModelId | None = None) -> None:
        self.others: list[ModelId] = []
        self._first = first

    def index(self, model: ModelId) -> int:
        """Return the index of a model, which is listed if it is new."""
        if model == self._first:
            return 0
        if model not in self.others:
            self.others.append(model)
        return 1 + self.others.index(model)

    def to_msg(self) -> list[ModelIdMessage]:
        """Return the listed models as messages."""
        return [model_id_to_msg(model) for model in self.others]


def code_to_msg(code: Code, models: ModelTable) -> CodeMessage:
    """Return a code as a message that refers to its model in `models`."""
    return build(
        CodeMessage,
        kind=int(code.kind),
        model=models.index(code.model),
        encoding=int(code.encoding),
        trust=code.trust,
        payload=array('B', code.payload),
    )


def code_from_msg(message: CodeMessage, models: Sequence[ModelId]) -> Code:
    """Return the code of a message; `models` are all models of the message it is in.

    Raises:
        ValueError: `kind` is not a value of `LatentKind`, or there is no such model.
    """
    if message.model >= len(models):
        raise ValueError(
            f'a code refers to model {message.model} of a message with {len(models)} models'
        )
    return Code(
        LatentKind(message.kind),
        models[message.model],
        message.encoding,
        bytes(message.payload),
        message.trust,
    )


def codes_to_msg(codes: Sequence[Code]) -> tuple[list[CodeMessage], list[ModelIdMessage]]:
    """Return the further codes of a latent as messages, and the models that they refer to."""
    models = ModelTable()
    return [code_to_msg(code, models) for code in codes], models.to_msg()


def codes_from_msg(
    messages: Sequence[CodeMessage], models: Sequence[ModelIdMessage]
) -> tuple[Code, ...]:
    """Return the further codes of a latent; raises as `code_from_msg` does."""
    if not messages:
        return ()
    found = [ModelId(), *map(model_id_from_msg, models)]
    return tuple(code_from_msg(message, found) for message in messages)


def scores_to_msg(scores: Sequence[float]) -> Snarc:
    """Return surprise, novelty, arousal, reward and conflict as a message."""
    return build(Snarc, **dict(zip(_SCORES, map(float, scores), strict=True)))


def scores_from_msg(message: Snarc) -> tuple[float, ...]:
    """Return surprise, novelty, arousal, reward and conflict."""
    return tuple(getattr(message, name) for name in _SCORES)
