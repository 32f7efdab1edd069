"""Drives Chromium as a reader does: one tab that opens pages, reads, types and clicks.

It uses the DevTools protocol over a pipe, so that only Chromium is needed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from typing import IO, Any

import browser

#: Time-out of every wait, in seconds.
PATIENCE_SECONDS = 60
# Chromium listens on descriptor 3 and answers on 4; a fork by hand would not be safe with threads.
_LAUNCH = """
import os, sys
from fcntl import F_DUPFD, fcntl
commands, answers = (fcntl(int(number), F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(commands, 3)
os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
# Visible text is searched, including shadow roots, and with all kinds of white space normalised.
_EYES = """
const clean = text => (text || '').replace(/\\s+/g, ' ').trim();
const all = root => [...root.querySelectorAll('*')].flatMap(e =>
  e.shadowRoot ? [e, ...all(e.shadowRoot)] : [e]);
const seen = e => e.getClientRects().length > 0 && getComputedStyle(e).visibility == 'visible';
const read = () => clean([document.body, ...all(document).filter(e => e.shadowRoot && seen(e))
  .flatMap(e => [...e.shadowRoot.children])].map(e => e.innerText).join(' '));
const find = (kinds, name) => all(document).filter(e =>
  e.matches(kinds) && seen(e) && clean(e.textContent) == name);
const labelled = name => all(document).filter(e => e.matches('label') && seen(e)
  && [e.textContent, unhinted(e)].some(text => clean(text) == name)).map(e => e.control);
const unhinted = label => [...label.childNodes].filter(e => !e.matches?.('.hint'))
  .map(e => e.textContent).join('');
const spot = e => {
  e.scrollIntoView({ block: 'center', behavior: 'instant' });
  const { x, y, width, height } = e.getClientRects()[0];
  const at = { x: x + width / 2, y: y + height / 2 };
  return e.contains(e.getRootNode().elementFromPoint(at.x, at.y)) ? at : null;
};
"""


@dataclass
class Tab:
    """One tab, and the errors that it has logged."""

    _commands: IO[bytes]
    _answers: Queue[dict[str, Any]]
    _session: str = ""
    _number: int = 0
    _events: list[dict[str, Any]] = field(default_factory=list)

    def open(self, url: str) -> None:
        """Go to an address, as typed or as a link followed from elsewhere."""
        self.call("Page.navigate", url=url)

    def see(self, *words: str) -> str:
        """Wait until all of these texts are visible, and return the whole visible text."""
        end, text = time.monotonic() + PATIENCE_SECONDS, ""
        while time.monotonic() < end:
            text = self._look("document.readyState == 'complete' ? read() : ''") or ""
            if all(word in text for word in words):
                return text
            time.sleep(0.05)
        raise AssertionError(f"{words} cannot be read in: {text}")

    def press(self, name: str, *, row: str = "") -> None:
        """Click on the only link, button or option with a name, if the mouse can reach it.

        With `row`, the only one in a row of a table with that text.
        """
        among = f".filter(e => clean(e.closest('tr')?.innerText).includes({json.dumps(row)}))"
        found = f"find('a[href],button,label,summary', {json.dumps(name)})"
        self._click(f"{found}{among if row else ''}", name)

    def tick(self, name: str) -> None:
        """Click on the only box with a label, or that is named by another element."""
        named = "e => document.querySelector(`[aria-labelledby='${e.id}']`)"
        found = f"[...labelled(name), ...find('[id]', name).map({named})]"
        boxes = f"{found}.filter(e => e?.matches('input[type=checkbox]'))"
        self._click(f"(name => {boxes})({json.dumps(name)})", name)

    def choose(self, label: str, file: Path) -> None:
        """Give a file to the field with a label."""
        self.see(label)
        source = f"(() => {{{_EYES} return labelled({json.dumps(label)})[0]; }})()"
        field = self.call("Runtime.evaluate", expression=source)["result"]
        assert "objectId" in field, f"no field is labelled {label!r}"
        self.call("DOM.setFileInputFiles", files=[str(file)], objectId=field["objectId"])

    def type(self, label: str, words: str) -> None:
        """Click into the field whose label, or label without its hint, is this; and type text."""
        self._click(f"labelled({json.dumps(label)})", label)
        self.call("Input.insertText", text=words)

    def title(self) -> str:
        """Return the title of the tab."""
        return str(self._look("clean(document.title)"))

    def complaints(self) -> list[str]:
        """Return errors of scripts and policies since the last call; HTTP errors do not count."""
        self.call("Runtime.evaluate", expression="0")
        events, self._events = self._events, []
        found = [event["params"].get("entry", event["params"]) for event in events]
        return [str(one) for one in found if one.get("source") != "network"]

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one DevTools command, and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        while (answer := self._answers.get(timeout=PATIENCE_SECONDS)).get("id") != self._number:
            if answer.get("method") == "Runtime.exceptionThrown" or _is_error(answer):
                self._events.append(answer)
        found: dict[str, Any] = answer.get("result", {})
        return found

    def _look(self, expression: str) -> Any:
        """Evaluate an expression; None if the page changes meanwhile."""
        source = f"(() => {{{_EYES} return {expression}; }})()"
        answer = self.call("Runtime.evaluate", expression=source, returnByValue=True)
        return answer.get("result", {}).get("value")

    def _click(self, expression: str, name: str) -> None:
        at = self._wait_for_one(expression, name)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **at)

    def _wait_for_one(self, expression: str, name: str) -> dict[str, float]:
        end, spots = time.monotonic() + PATIENCE_SECONDS, None
        while time.monotonic() < end:
            spots = self._look(f"{expression}.map(spot)")
            if spots and len(spots) == 1 and spots[0]:
                found: dict[str, float] = spots[0]
                return found
            time.sleep(0.05)
        raise AssertionError(
            f"{name!r} cannot be pressed, found {spots} in: {self._look('read()')}"
        )


@contextmanager
def tab(profile: Path) -> Iterator[Tab]:
    """Run Chromium with one tab until the block ends."""
    assert browser.CHROMIUM is not None
    listens, says = os.pipe()
    hears, answers = os.pipe()
    launch = [sys.executable, "-c", _LAUNCH, str(listens), str(answers), browser.CHROMIUM]
    flags = [*browser.FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe"]
    running = subprocess.Popen(
        [*launch, *flags, "--window-size=1200,900", "about:blank"],
        pass_fds=(listens, answers),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(listens)
    os.close(answers)
    queue: Queue[dict[str, Any]] = Queue()
    reader = threading.Thread(target=_read, args=(hears, queue))
    reader.start()
    with running, os.fdopen(says, "wb", buffering=0) as commands:
        try:
            yield _first_tab(commands, queue)
        finally:
            running.terminate()
            reader.join()


def _first_tab(commands: IO[bytes], answers: Queue[dict[str, Any]]) -> Tab:
    found = Tab(commands, answers)
    target = found.call("Target.createTarget", url="about:blank")["targetId"]
    attached = found.call("Target.attachToTarget", targetId=target, flatten=True)
    found._session = attached["sessionId"]
    for domain in ("Page", "Runtime", "Log"):
        found.call(f"{domain}.enable")
    return found


def _read(descriptor: int, queue: Queue[dict[str, Any]]) -> None:
    """Put every message of the browser into the queue, until it ends."""
    with os.fdopen(descriptor, "rb") as stream:
        rest = b""
        while chunk := stream.read1(65_536):
            *messages, rest = (rest + chunk).split(b"\0")
            for message in messages:
                queue.put(json.loads(message))


def _is_error(event: dict[str, Any]) -> bool:
    is_entry = event.get("method") == "Log.entryAdded"
    return bool(is_entry and event["params"]["entry"]["level"] == "error")
