# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Training of slot models, family `slots` (`docs/slots.md`)."""
