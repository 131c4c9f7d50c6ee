# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""ResNet, ViT and ConvNeXt as configurations of the networks of `transformers`.

`transformers` (Apache-2.0) is optional: `pip install transformers==5.24.0`. The networks start
with random weights; `state_dict.load_weights` loads others.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Annotated, Any

from torch import Tensor, nn

from sage_perception.core.settings import Interval, check
from sage_perception.models.backbones.skip_slip import MAX_BLOCKS

Size = Annotated[int, Interval(1, 65536)]


class BackboneError(ValueError):
    """A configuration of a backbone is invalid, or its library is missing."""


@dataclass(frozen=True)
class ResNetConfig:
    """A residual network with bottleneck or basic blocks, ResNet-18 by default."""

    stage_channels: tuple[Size, ...] = (64, 128, 256, 512)
    block_depths: tuple[Size, ...] = (2, 2, 2, 2)
    stem_channels: Size = 64
    bottleneck: bool = False

    def __post_init__(self) -> None:
        check(self)
        _check_stages(self.stage_channels, self.block_depths)


@dataclass(frozen=True)
class ViTConfig:
    """A vision transformer, ViT-Tiny by default.

    The grid of patches is `image_size / patch_size` on each side; the patch size must divide the
    image size, and the number of heads the hidden size.
    """

    image_size: Size = 224
    patch_size: Size = 16
    hidden_size: Size = 192
    layers: Annotated[int, Interval(1, 256)] = 12
    heads: Size = 3
    mlp_ratio: Annotated[float, Interval(0, 64, open_low=True)] = 4.0

    def __post_init__(self) -> None:
        check(self)
        if self.image_size % self.patch_size:
            raise BackboneError(
                f'patch_size {self.patch_size} does not divide image_size {self.image_size}'
            )
        if self.hidden_size % self.heads:
            raise BackboneError(f'heads {self.heads} does not divide {self.hidden_size}')

    @property
    def grid(self) -> tuple[int, int]:
        """Return the rows and columns of patches."""
        return (self.image_size // self.patch_size,) * 2


@dataclass(frozen=True)
class ConvNextConfig:
    """A ConvNeXt, ConvNeXt-T by default."""

    stage_channels: tuple[Size, ...] = (96, 192, 384, 768)
    block_depths: tuple[Size, ...] = (3, 3, 9, 3)
    patch_size: Size = 4

    def __post_init__(self) -> None:
        check(self)
        _check_stages(self.stage_channels, self.block_depths)


class StagedBackbone(nn.Module):
    """A convolutional backbone of `transformers` with named stages."""

    def __init__(self, config: ResNetConfig | ConvNextConfig) -> None:
        """Create the network. Raises `BackboneError` if `transformers` is not installed."""
        super().__init__()
        library = _transformers()
        self.config = config
        count = len(config.block_depths)
        # The library compares them with lists.
        shared: dict[str, Any] = {
            'hidden_sizes': list(config.stage_channels),
            'depths': list(config.block_depths),
            'out_features': [f'stage{i}' for i in range(1, count + 1)],
        }
        if isinstance(config, ResNetConfig):
            self.network = library.ResNetBackbone(
                library.ResNetConfig(
                    embedding_size=config.stem_channels,
                    layer_type='bottleneck' if config.bottleneck else 'basic',
                    **shared,
                )
            )
        else:
            self.network = library.ConvNextBackbone(
                library.ConvNextConfig(patch_size=config.patch_size, num_stages=count, **shared)
            )

    @property
    def output_features(self) -> int:
        """Return the number of features of an embedding."""
        return self.config.stage_channels[-1]

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """Return the feature maps `[B, C, H, W]` of `stage1`, `stage2`, … of `[B, 3, H, W]`."""
        maps = self.network(images).feature_maps
        return {f'stage{i}': each for i, each in enumerate(maps, 1)}

    def forward(self, images: Tensor) -> Tensor:
        """Return embeddings `[B, output_features]`: the means of the last feature maps."""
        return self.features(images)[f'stage{len(self.config.block_depths)}'].mean((2, 3))


class ViTBackbone(nn.Module):
    """A vision transformer of `transformers`; its embedding is the CLS token."""

    def __init__(self, config: ViTConfig) -> None:
        """Create the network. Raises `BackboneError` if `transformers` is not installed."""
        super().__init__()
        library = _transformers()
        self.config = config
        self.network = library.ViTModel(
            library.ViTConfig(
                image_size=config.image_size,
                patch_size=config.patch_size,
                hidden_size=config.hidden_size,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                intermediate_size=round(config.mlp_ratio * config.hidden_size),
            ),
            add_pooling_layer=False,
        )

    @property
    def output_features(self) -> int:
        """Return the number of features of an embedding."""
        return self.config.hidden_size

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """Return the patch tokens after each layer as maps, `layer1`, …: `[B, C, rows, columns]`.

        `images` are `[B, 3, image_size, image_size]`.
        """
        hidden = self.network(images, output_hidden_states=True).hidden_states
        rows, columns = self.config.grid
        return {
            f'layer{i}': each[:, 1:].transpose(1, 2).unflatten(2, (rows, columns))
            for i, each in enumerate(hidden[1:], 1)
        }

    def forward(self, images: Tensor) -> Tensor:
        """Return the CLS tokens `[B, output_features]`."""
        return self.network(images).last_hidden_state[:, 0]


def _transformers() -> Any:
    try:
        return importlib.import_module('transformers')
    except ModuleNotFoundError:
        raise BackboneError(
            'this backbone needs transformers: pip install transformers==5.24.0'
        ) from None


def _check_stages(channels: tuple[int, ...], depths: tuple[int, ...]) -> None:
    if not channels or len(channels) != len(depths):
        raise BackboneError(
            f'stage_channels {channels} and block_depths {depths} must have one item per stage'
        )
    if sum(depths) > MAX_BLOCKS:
        raise BackboneError(
            f'block_depths {depths} are {sum(depths)} blocks, more than {MAX_BLOCKS}'
        )
