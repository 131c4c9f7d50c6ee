# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Training of temporal transformers, family `slot_sequences` (`docs/slots.md`)."""
