# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Iterative refinement plugins (IRP): results that improve within a compute budget."""

from sage_perception.irp.discovery import available, load
from sage_perception.irp.orchestrator import Orchestrator, Work
from sage_perception.irp.plugin import IRPPlugin
from sage_perception.irp.refinement import Refinement

__all__ = ['IRPPlugin', 'Orchestrator', 'Refinement', 'Work', 'available', 'load']
