# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversions between `sage_msgs/IrpTelemetry` and `Telemetry`."""

from __future__ import annotations

from array import array

from sage_msgs.msg import IrpTelemetry

from sage_perception.core.latent import HaltReason, Telemetry
from sage_perception.ros.conversions.building import build


def telemetry_to_msg(telemetry: Telemetry) -> IrpTelemetry:
    """Return telemetry as a message."""
    return build(
        IrpTelemetry,
        iterations=telemetry.iterations,
        energy_trajectory=array('f', telemetry.energy_trajectory),
        converged=telemetry.converged,
        halt_reason=int(telemetry.halt_reason),
        trust=telemetry.trust,
        reconstruction_error=telemetry.reconstruction_error,
        kl_per_dim=telemetry.kl_per_dim,
        latent_norm=telemetry.latent_norm,
        time_s=telemetry.time_s,
        budget_spent=telemetry.budget_spent,
    )


def telemetry_from_msg(message: IrpTelemetry) -> Telemetry:
    """Return the telemetry of a message.

    Raises:
        ValueError: `halt_reason` is not a value of `HaltReason`, or `iterations` is 0.
    """
    if not message.iterations:
        raise ValueError('iterations of the telemetry is 0; it must be at least 1')
    return Telemetry(
        trust=message.trust,
        reconstruction_error=message.reconstruction_error,
        kl_per_dim=message.kl_per_dim,
        latent_norm=message.latent_norm,
        time_s=message.time_s,
        iterations=message.iterations,
        energy_trajectory=tuple(message.energy_trajectory),
        converged=message.converged,
        halt_reason=HaltReason(message.halt_reason),
        budget_spent=message.budget_spent,
    )
