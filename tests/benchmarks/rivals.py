"""What else one would send with: NAME PORT CONNECTIONS, and a JSON file with message and addresses.

`aiosmtplib` and `aiosmtplib-uvloop` send prebuilt bytes; `usual` renders with Jinja2, inlines with
premailer and builds an EmailMessage for each reader, as most programs do. All have as many
connections, and send one message after the other on each.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiosmtplib
import jinja2
import premailer
import uvloop

SENDER = "digest@miasfeed.example"


def _usual(template: jinja2.Template, address: str) -> bytes:
    html = template.render(unsubscribe=f"token-of-{address}", address=address)
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = SENDER, address, "This week"
    message.set_content("Read it in a program that shows HTML.")
    inlined = premailer.Premailer(html, allow_network=False, cssutils_logging_level=50).transform()
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
    # The very digest that is compared with, a slot where ours has one.
    template = jinja2.Environment(autoescape=True).from_string(
        re.sub(r"q[0-9a-f]{32}(\w+?)q", r"{{ \1 }}", job["template"])
    )

    def compose(address: str) -> bytes:
        return _usual(template, address) if name == "usual" else message

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
