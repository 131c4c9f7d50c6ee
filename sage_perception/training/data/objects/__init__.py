# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Generated scenes of objects with their masks, for the training of slot models.

The sets follow the recipes of public ones but are not those: figures on them compare models with
each other and with the baselines of `bench/slots.py`, not with published tables.
"""
