# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Training of compressors of H contexts, family `h_to_l` (`docs/context.md`)."""
