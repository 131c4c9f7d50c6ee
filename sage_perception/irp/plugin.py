# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The base class of refinement plugins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sage_perception.core.latent import Telemetry
from sage_perception.irp.refinable import Inputs, Refinable, State
from sage_perception.irp.refinement import Refinement


class IRPPlugin(Refinable[Inputs, State]):
    """A refinement that `load` finds by name; a subclass implements the steps of `Refinable`."""

    def refine(
        self, x: Inputs, budget_ms: float | Sequence[float] = math.inf
    ) -> tuple[list[Any], list[Telemetry]]:
        """Return the best results of B items and their telemetry.

        `budget_ms` is the budget of each item, or one value for all. The refinement runs in the
        calling thread, so a step that does not return blocks the caller; `Orchestrator` limits the
        time.
        """
        refinement = Refinement(self, x)
        budget_s = np.asarray(budget_ms, float) / 1e3
        refinement.run(np.broadcast_to(budget_s, len(refinement)))
        return refinement.outputs, refinement.telemetry
