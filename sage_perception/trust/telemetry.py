# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""How far a latent may be trusted by what its own encoder measured of it."""

import math


def telemetry_trust(reconstruction_error: float, kl_per_dim: float) -> float:
    """Return the specification's trust in one latent, in [0, 1].

    Half of it is how well the latent decodes, `max(0, 1 - 10 MSE)` with pixels in [0, 1]; half how
    little it strays from the prior, `1 / (1 + KL)` with KL in nats per dimension
    (`VAE translation layer`, section 6.1). What was not measured, or is not finite, earns nothing.
    """
    decodes = 1 - 10 * reconstruction_error if reconstruction_error >= 0 else 0.0
    plain = 1 / (1 + kl_per_dim) if kl_per_dim >= 0 else 0.0
    parts = [part for part in (decodes, plain) if math.isfinite(part)]
    return sum(min(max(part, 0.0), 1.0) for part in parts) / 2
