# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Data, losses and the loop that train the models."""
