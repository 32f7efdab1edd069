"""Writes docs/images: the demo's weekly digest as a browser shows it, by day and by night."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

IMAGES = Path(__file__).parent / "images"
HEIGHT = 1080
#: Name, width in pixels, and Chromium's number of the colour scheme.
PICTURES = (("weekly-600-light", 600, 1), ("weekly-320-dark", 320, 0))


def main() -> None:
    """Run the demo in a folder of its own and take the pictures."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        sys.exit("Chromium is not installed.")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        page = weekly(Path(folder) / "demo")
        for name, width, scheme in PICTURES:
            subprocess.run(
                [
                    browser,
                    "--headless",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--hide-scrollbars",
                    "--host-resolver-rules=MAP * ~NOTFOUND",
                    f"--user-data-dir={folder}/profile",
                    f"--blink-settings=preferredColorScheme={scheme}",
                    f"--window-size={width},{HEIGHT}",
                    f"--screenshot={IMAGES / name}.png",
                    page.as_uri(),
                ],
                check=True,
                capture_output=True,
            )


def weekly(folder: Path) -> Path:
    """Return the weekly mail of a fresh demo."""
    done = subprocess.run(
        [sys.executable, "-m", "newsletter", "demo", "--folder", folder, "--json"],
        cwd=Path(__file__).parents[1],
        check=True,
        capture_output=True,
        text=True,
    )
    mails = json.loads(done.stdout)["mails"]
    return next(folder / "mails" / one["file"] for one in mails if "marie" in one["to"])


if __name__ == "__main__":
    main()
