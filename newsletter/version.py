"""The version of this program at the start of the process."""

from __future__ import annotations

from importlib import metadata

try:
    #: Read once, because an upgrade may replace the installed files while the process runs.
    VERSION = metadata.version("newsletter-delivery")
except metadata.PackageNotFoundError:
    VERSION = "(not installed)"
