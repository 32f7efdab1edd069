"""Where templates, migrations and run files are: the one place that knows checkout from wheel."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_PACKAGE = Path(__file__).parent
_BUNDLED = _PACKAGE / "_bundled"
_ROOT = _BUNDLED if _BUNDLED.is_dir() else _PACKAGE.parent

TEMPLATES = _ROOT / "templates"
MIGRATIONS = _ROOT / "migrations"


def state_folder() -> Path:
    """Return this user's folder for what has to outlive a reboot, made on first use."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    folder = Path(base) / "newsletter"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def run_folder() -> Path:
    """Return this user's folder for lock files, made on first use, closed to everyone else.

    Raises PermissionError if somebody else owns it.
    """
    folder = Path(tempfile.gettempdir()) / f"newsletter-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or folder.is_symlink():
        raise PermissionError(f"{folder} belongs to somebody else")
    return folder
