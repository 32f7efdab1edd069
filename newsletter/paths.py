"""Paths of templates, migrations and this user's state, in a checkout and in an installed wheel."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_PACKAGE = Path(__file__).parent
_BUNDLED = _PACKAGE / "_bundled"
_ROOT = _BUNDLED if _BUNDLED.is_dir() else _PACKAGE.parent

TEMPLATES = _ROOT / "templates"
MIGRATIONS = _ROOT / "migrations"


def state_folder() -> Path:
    """Return this user's folder for files that outlive a process, created on first use.

    Raises OSError if it cannot be created, or if another user owns it or may write to it.
    """
    folder = _state_home() / "newsletter"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A symbolic link is accepted if both the link and its target belong to this user.
    link, found = folder.lstat(), folder.stat()
    if {link.st_uid, found.st_uid} != {os.geteuid()}:
        raise PermissionError(errno.EPERM, "belongs to another user", str(folder))
    if stat.S_IMODE(found.st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(errno.EPERM, "can be written to by other users", str(folder))
    return folder


def _state_home() -> Path:
    if named := os.environ.get("XDG_STATE_HOME"):
        return Path(named)
    try:
        return Path.home() / ".local" / "state"
    except RuntimeError as exc:
        raise FileNotFoundError(errno.ENOENT, "this user has no home folder", "~") from exc
