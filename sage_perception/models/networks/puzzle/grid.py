# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""SensorVAE and PuzzleVAE: from modalities to the puzzle, and from the puzzle to h and l.

Specification 002, §3.3: SensorVAE writes the puzzle `[10, 30, 30]`, PuzzleVAE reads an abstract
latent h (256) and a concrete one l (1024) from it.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sage_perception.models.networks.layers import two_layers

SIDE, CHANNELS = 30, 10
H_DIM, L_DIM = 256, 1024
_EDGE = 0.02
"""Distance from 0 and 1 within which the logit of a value is limited."""


class SensorVAE(nn.Module):
    """Learned fusion: changes the puzzle of all modalities by what their fused latent means.

    Each cell is changed by a small network of its values, its place and the fused latent. The
    result is in [0, 1]. Before training it is the puzzle itself, up to `_EDGE`.
    """

    places: Tensor

    def __init__(self, fused_dim: int = 256, width: int = 48):
        super().__init__()
        line = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
        v, u = torch.meshgrid(line, line, indexing='ij')
        places = torch.stack((u, v, u * u, v * v, u * v))
        self.register_buffer('places', places, persistent=False)
        self.meaning = nn.Linear(fused_dim, 2 * width)
        self.cell = nn.Conv2d(CHANNELS + len(places), width, 1)
        self.layers = nn.Sequential(
            nn.GELU(), nn.Conv2d(width, width, 1), nn.GELU(), nn.Conv2d(width, CHANNELS, 1)
        )
        last = self.layers[-1]
        assert isinstance(last, nn.Conv2d)
        nn.init.zeros_(last.weight)
        assert last.bias is not None
        nn.init.zeros_(last.bias)

    def forward(self, puzzle: Tensor, fused: Tensor) -> Tensor:
        """Return the puzzle `[B, 10, 30, 30]` of a puzzle and a fused latent `[B, 256]`."""
        places = self.places.expand(len(puzzle), -1, -1, -1)
        hidden = self.cell(torch.cat((puzzle, places), 1))
        # Products of places and meaning: a mark at a position is a quadratic form of both.
        scale, shift = self.meaning(fused)[..., None, None].chunk(2, 1)
        hidden = hidden * (1 + scale) + shift
        start = torch.logit(puzzle.clamp(_EDGE, 1 - _EDGE))
        return torch.sigmoid(start + self.layers(hidden))


class Dual(NamedTuple):
    """The two latents of a puzzle; `log_var` is that of `h`."""

    h: Tensor
    log_var: Tensor
    l: Tensor


class PuzzleVAE(nn.Module):
    """Puzzles as an abstract and a concrete latent, and back.

    With `skip`, the fused latent is added to h by a linear map: a path beside the puzzle, as §10.6
    of the specification proposes.
    """

    def __init__(self, skip: bool = True, fused_dim: int = 256, width: int = 24):
        super().__init__()
        channels = (CHANNELS, width, 2 * width, 3 * width)
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(channels):
            layers += [
                nn.Conv2d(inputs, outputs, 3, 2, 1), nn.GroupNorm(4, outputs), nn.GELU()
            ]  # fmt: skip
        self.encoder = nn.Sequential(*layers, nn.Flatten())
        flat = channels[-1] * 16
        self.to_h = nn.Linear(flat, 2 * H_DIM)
        self.to_l = nn.Linear(flat, L_DIM)
        self.skip = nn.Linear(fused_dim, H_DIM) if skip else None
        self.from_latents = nn.Linear(H_DIM + L_DIM, flat)
        self.decoder = nn.Sequential(
            nn.Unflatten(1, (channels[-1], 4, 4)), nn.GELU(),
            nn.Upsample(size=8), nn.Conv2d(channels[3], channels[2], 3, 1, 1), nn.GELU(),
            nn.Upsample(size=15), nn.Conv2d(channels[2], channels[1], 3, 1, 1), nn.GELU(),
            nn.Upsample(size=SIDE), nn.Conv2d(channels[1], CHANNELS, 3, 1, 1), nn.Sigmoid(),
        )  # fmt: skip

    def encode(self, puzzle: Tensor, fused: Tensor | None = None) -> Dual:
        """Return h and l of puzzles; `fused` is for the path beside the puzzle, None: without."""
        flat = self.encoder(puzzle)
        h, log_var = self.to_h(flat).chunk(2, 1)
        if self.skip is not None and fused is not None:
            h = h + self.skip(fused)
        return Dual(h, log_var.clamp(-12, 4), self.to_l(flat))

    def decode(self, h: Tensor, l: Tensor) -> Tensor:
        """Return the puzzles of latents."""
        puzzle: Tensor = self.decoder(self.from_latents(torch.cat((h, l), 1)))
        return puzzle


class LatentBridge(nn.Module):
    """The bridge between h and l (`HRMLatentBridge`, §4.4), trained as a cycle."""

    def __init__(self, width: int = 384):
        super().__init__()
        self.down = two_layers(H_DIM, width, L_DIM)
        self.up = two_layers(L_DIM, width, H_DIM)

    def h_to_l(self, h: Tensor) -> Tensor:
        """Return the concrete latents `[B, 1024]` of abstract ones."""
        found: Tensor = self.down(h)
        return found

    def l_to_h(self, l: Tensor) -> Tensor:
        """Return the abstract latents `[B, 256]` of concrete ones."""
        found: Tensor = self.up(l)
        return found
