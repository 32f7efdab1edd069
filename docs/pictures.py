"""Writes docs/images: the demo's weekly digest, its pages and its desk as a browser shows them."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMAGES = Path(__file__).parent / "images"
COMMAND = (sys.executable, "-m", "newsletter")
#: Name, what is opened, width and height in pixels.
PICTURES = (
    ("weekly-600-light", "mail", 600, 1080),
    ("weekly-320-dark", "mail", 320, 1080),
    ("subscribe-320-light", "/subscribe", 320, 900),
    ("preferences-600-dark", "/preferences/", 600, 900),
    ("unsubscribe-320-light", "/unsubscribe/", 320, 900),
)
#: The desk of `demo --desk`: name, path, width and height in pixels.
DESK = (
    ("desk-today-1000-light", "/", 1000, 860),
    ("desk-next-320-dark", "/next/weekly", 320, 900),
    ("desk-growth-1000-light", "/growth", 1000, 900),
)
#: Chromium's numbers of the colour schemes.
SCHEMES = {"dark": 0, "light": 1}


def main() -> None:
    """Run the demo in a folder of its own, serve it, and take the pictures."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        sys.exit("Chromium is not installed.")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        demo = Path(folder) / "demo"
        mail = weekly(demo)
        links = mail.read_text("utf-8")
        with serving(demo) as site:
            for name, opened, width, height in PICTURES:
                path = re.search(rf"{opened}[\w.-]*", links)
                page = mail.as_uri() if opened == "mail" else site + (path[0] if path else opened)
                take(browser, page, name, size=(width, height), profile=f"{folder}/profile")
        take_desk(Path(folder))


def take(browser: str, page: str, name: str, *, size: tuple[int, int], profile: str) -> None:
    """Write one picture, in the scheme that its name ends in."""
    scheme = SCHEMES[name.rpartition("-")[2]]
    subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
            f"--user-data-dir={profile}",
            f"--blink-settings=preferredColorScheme={scheme}",
            f"--window-size={size[0]},{size[1]}",
            f"--screenshot={IMAGES / name}.png",
            page,
        ],
        check=True,
        capture_output=True,
    )


def take_desk(folder: Path) -> None:
    """Write the pictures of the desk, after signing in by its link."""
    import driver  # noqa: PLC0415 - of tests/support

    command = [*COMMAND, "demo", "--desk", "--port", "0", "--folder", folder / "desk"]
    with (
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running,
        driver.tab(folder / "desk-profile") as tab,
    ):
        assert running.stdout is not None
        said = next(line for line in iter(running.stdout.readline, "") if "/login/" in line)
        link = said.split()[1]
        tab.open(link)
        tab.press("Sign in")
        tab.see("Due next")
        for name, path, width, height in DESK:
            scheme = name.rpartition("-")[2]
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            tab.call("Emulation.setEmulatedMedia", features=features)
            size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            tab.call("Emulation.setDeviceMetricsOverride", **size)
            tab.open(link.partition("/login/")[0] + path)
            tab.see("Times are in")
            shot = tab.call("Page.captureScreenshot", format="png")
            (IMAGES / f"{name}.png").write_bytes(b64decode(shot["data"]))
        running.terminate()


def weekly(folder: Path) -> Path:
    """Return the weekly mail of a fresh demo."""
    done = subprocess.run(
        [*COMMAND, "demo", "--folder", folder, "--json"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    mails = json.loads(done.stdout)["mails"]
    return next(folder / "mails" / one["file"] for one in mails if "marie" in one["to"])


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve the demo's pages until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = subprocess.Popen(
        [*COMMAND, "--config", folder / "newsletter.toml", "serve", "--port", str(port)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait(timeout=30)


if __name__ == "__main__":
    sys.path.append(str(ROOT / "tests" / "support"))
    main()
