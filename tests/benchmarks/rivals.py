"""Other ways to send the same mails: NAME PORT CONNECTIONS, and JSON of message and addresses.

`aiosmtplib` and `aiosmtplib-uvloop` send prebuilt bytes; `usual` renders HTML and text with Jinja2,
inlines with premailer and builds an EmailMessage for each reader, as most programs do. All have as
many connections, and send one message after the other on each.
"""

from __future__ import annotations

import asyncio
import base64
import email.policy
import hmac
import json
import logging
import pickle
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Any

import aiosmtplib
import premailer
import uvloop

from newsletter.rendering.environment import build
from newsletter.rendering.plaintext import Notes

SENDER = "digest@miasfeed.example"


class Usual:
    """Renders this digest's own templates, HTML and text, for one reader after the other."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values
        environment = build(None, values["brand"].language)
        self._text = environment.get_template("email/digest/body.txt")
        self._html = environment.overlay(autoescape=True).get_template("email/digest/body.html")

    def compose(self, address: str) -> bytes:
        """Return the message to one reader."""
        token = hmac.digest(b"secret", address.encode(), "sha256").hex()
        unsubscribe = f"https://news.miasfeed.example/unsubscribe/{token}"
        manage = f"https://news.miasfeed.example/preferences/{token}"
        values = self._values | {
            "links": replace(self._values["links"], unsubscribe=unsubscribe, manage=manage),
            "notes": Notes(),
        }
        message = EmailMessage(email.policy.SMTP)
        message["From"], message["To"], message["Subject"] = SENDER, address, "This week"
        message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain="miasfeed.example")
        message["List-Unsubscribe"] = f"<{unsubscribe}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        message.set_content(self._text.render(values))
        inlined = premailer.transform(
            self._html.render(values), allow_network=False, cssutils_logging_level=logging.CRITICAL
        )
        message.add_alternative(inlined, subtype="html")
        return message.as_bytes()


async def _connection(port: int, addresses: Iterator[str], compose: Callable[[str], bytes]) -> None:
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, use_tls=False, start_tls=False)
    await client.connect()
    for address in addresses:
        await client.sendmail(SENDER, [address], compose(address))
    await client.quit()


async def _main(name: str, port: int, connections: int, job: dict[str, Any]) -> None:
    message = job["message"].encode("latin-1")
    usual = Usual(pickle.loads(base64.b64decode(job["values"])))

    def compose(address: str) -> bytes:
        return usual.compose(address) if name == "usual" else message

    addresses = iter(job["addresses"])
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(_connection(port, addresses, compose))


if __name__ == "__main__":
    found = json.loads(Path(sys.argv[4]).read_text())
    work = _main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), found)
    if sys.argv[1] == "aiosmtplib-uvloop":
        uvloop.run(work)
    else:
        asyncio.run(work)
