# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Configuration of the slot models, family `slots`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from sage_perception.core.settings import Interval, PositiveInt, check

Initialization = Literal['random', 'learned', 'image']
Norm = Literal['group', 'batch']
Encoder = Literal['convolutions', 'efficientnet']
Masks = Literal['decoder', 'attention']
Positions = Literal['absolute', 'relative']
Decoder = Literal['convolutions', 'patches']
Colors = Literal['pixels', 'slot', 'affine']
ColorSpace = Literal['rgb', 'log']


@dataclass(frozen=True)
class SlotsConfig:
    """How a slot model is built (specification 003; Locatello et al., 2020).

    Attributes
    ----------
    img_size : int
        Side S of an image, pixels.
    input_channels : int
        Channels of an image.
    slots : int
        K, the number of slots: the most objects in an image, plus one for the background.
    slot_dim : int
        D, the dimensions of a slot.
    iterations : int
        Rounds of attention on a single image, or on the first frame of a video.
    eval_iterations : int
        The same after training; 0: `iterations`. An implicit gradient takes the slots for a fixed
        point, which more rounds approach.
    starts : int
        Random starts of a single image after training. The slots that compose the image with the
        smallest squared error are kept.
    video_iterations : int
        Rounds on each later frame, whose slots start from those of the previous one.
    init : str
        `'random'`: slots are drawn from one learned Gaussian, as in the specification;
        `'learned'`: each slot has a learned start (Jia et al., 2023); `'image'`: from tokens of
        the image that differ most in color, found by farthest-point sampling (Gonzalez, 1985),
        plus the random start.
    implicit : bool
        Compute gradients through the last round only (Chang et al., 2022).
    positions : str
        `'absolute'`: only tokens and the grid of the decoder have positions. `'relative'`: a slot
        has one, too, its first two numbers, and tokens and grid are also described relative to it
        (Biza et al., 2023).
    encoder : str
        `'convolutions'`, or `'efficientnet'`: the frozen first 11 blocks of EfficientNet-Lite0,
        16 pixels per token, and an MLP.
    encoder_channels : tuple of int
        Channels of the four convolutions of the encoder; the specification has 384 in the last.
        The last one is that of the tokens with either encoder.
    kernel : int
        Side of the convolutions of the encoder, pixels: 3 or 5.
    stride : int
        Pixels per token in each direction: 1, 2, 4, 5, 8 or 16; the specification has 16. With 5,
        the first convolution has a stride and a kernel of 5.
    norm : str
        `'group'` or, as in the specification, `'batch'`.
    decoder : str
        Of pixels: `'convolutions'` on a grid that is doubled until it covers the image, or
        `'patches'`: an MLP computes the pixels of each cell of the grid, at a third of the cost.
    decoder_channels : int
        Channels of the pixel decoder.
    decoder_grid : int
        Side of the grid that slots are broadcast to, in cells of a power of two pixels.
    colors : str
        Of the pixel decoder: `'pixels'`, or `'slot'`: a slot has one color, so that it cannot
        hold two objects, or an object and a piece of the background, of different colors; or
        `'affine'`: its color changes linearly over the image.
    color_space : str
        Of the tokens, the colors of slots and the error: `'rgb'`, or `'log'`: logarithms of the
        channels, in which the brightness counts `luminance` times as much as hue and saturation,
        so that shading and shadows matter less.
    luminance : float
        Weight of the brightness in the color space `'log'`.
    decoder_features : int
        0: the decoder composes pixels. Otherwise each slot has one color and this number of
        features, which its attention composes (`FeatureDecoder`).
    masks : str
        `'decoder'`: the pixel decoder predicts the masks; `'attention'`: the masks of the
        attention compose the image, as in the specification.
    mask_rounds : int
        Rounds that refine the masks on the pixels after training (`MaskRefinement`); 0: none.
    mask_noise : float
        Standard deviation of a pixel from the color of its slot, in the color space.
    slot_penalty : float
        Nats that a slot must save in the description of the image; one that saves less is joined
        with another slot. 0: none is joined.
    slot_tolerance : float
        Distance of the colors of two slots up to which they are joined; 0: none.

    """

    img_size: Annotated[int, Interval(16, 512)] = 64
    input_channels: Annotated[int, Interval(1, 3)] = 3
    slots: Annotated[int, Interval(2, 32)] = 7
    slot_dim: Annotated[int, Interval(8, 512)] = 64
    iterations: Annotated[int, Interval(1, 16)] = 3
    eval_iterations: Annotated[int, Interval(0, 32)] = 0
    starts: Annotated[int, Interval(1, 16)] = 1
    video_iterations: Annotated[int, Interval(1, 16)] = 1
    init: Initialization = 'random'
    implicit: bool = False
    positions: Positions = 'absolute'
    encoder: Encoder = 'convolutions'
    encoder_channels: tuple[PositiveInt, ...] = (32, 32, 32, 64)
    kernel: Literal[3, 5] = 5
    stride: Literal[1, 2, 4, 5, 8, 16] = 4
    norm: Norm = 'group'
    decoder: Decoder = 'convolutions'
    decoder_channels: PositiveInt = 32
    decoder_grid: Annotated[int, Interval(4, 128)] = 8
    colors: Colors = 'pixels'
    decoder_features: Annotated[int, Interval(0, 512)] = 0
    color_space: ColorSpace = 'rgb'
    luminance: Annotated[float, Interval(0.05, 1)] = 0.4
    masks: Masks = 'decoder'
    mask_rounds: Annotated[int, Interval(0, 32)] = 0
    mask_noise: Annotated[float, Interval(0.01, 1)] = 0.1
    slot_penalty: Annotated[float, Interval(0, 1e6)] = 0.0
    slot_tolerance: Annotated[float, Interval(0, 10)] = 0.0

    def __post_init__(self) -> None:
        check(self)
        if self.stride == 5 and self.img_size % 5:
            raise ValueError(
                f'img_size is {self.img_size}; a stride of 5 requires a multiple of 5'
            )
        if self.starts > 1 and self.init == 'learned':
            raise ValueError(
                f'starts is {self.starts} and init is {self.init}; starts must be 1, because '
                'learned starts are all the same'
            )
        if len(self.encoder_channels) != 4:
            raise ValueError(
                f'encoder_channels has {len(self.encoder_channels)} numbers; it must have 4'
            )
        if self.decoder_grid > self.img_size:
            raise ValueError(
                f'decoder_grid is {self.decoder_grid}; it must be at most img_size {self.img_size}'
            )

        if self.init == 'image' and self.encoder != 'convolutions':
            raise ValueError(f'encoder is {self.encoder}; init image requires convolutions')
        if self.encoder == 'efficientnet' and (self.stride, self.input_channels) != (16, 3):
            raise ValueError('encoder efficientnet requires stride 16 and 3 input_channels')
        if self.decoder_features and (self.positions, self.decoder) != (
            'absolute',
            'convolutions',
        ):
            raise ValueError(
                f'positions is {self.positions} and decoder is {self.decoder}; decoder_features '
                'supports neither relative positions nor patches'
            )
        if self.decoder_features and self.masks != 'attention':
            raise ValueError(f'masks is {self.masks}; decoder_features requires attention')

    @property
    def token_grid(self) -> int:
        """Return the side of the grid of tokens."""
        return -(-self.img_size // self.stride)
