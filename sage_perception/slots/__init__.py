# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Object slots: segmentations, their scores and their tracks (`docs/slots.md`); needs no torch."""
