"""Imports pyspf, whose source gives warnings when it is compiled for the first time."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import spf as pyspf

__all__ = ["pyspf"]
