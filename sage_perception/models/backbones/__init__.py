# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Backbones: networks that turn images into feature maps."""

from sage_perception.models.backbones.skip_slip import SkipSlipSchedule

__all__ = ['SkipSlipSchedule']
