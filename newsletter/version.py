"""The version of this program, as it was when the process began."""

from __future__ import annotations

from importlib import metadata

try:
    #: Read once: an upgrade replaces what is installed under processes that still run.
    VERSION = metadata.version("newsletter-delivery")
except metadata.PackageNotFoundError:
    VERSION = "(not installed)"
