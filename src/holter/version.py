"""The version of holter, in the one place from which the package, its metadata and its outputs take it."""

from __future__ import annotations

from typing import Final

__version__: Final = "0.1.0"
