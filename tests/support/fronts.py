"""Real web servers in front of `newsletter serve`, configured by the blocks of docs/install.md.

Only values that a test cannot use are replaced: ports, certificates, system folders, and for Caddy
its administration port and the redirection on port 80.
"""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import fences
import httpx2
import pytest
import trustme
from journey import free_port, wait_for

HOST = "news.miasfeed.example"
PAGE = Path(__file__).parents[2] / "docs" / "install.md"
_SYSTEM = "/usr/sbin:/usr/local/bin"


@dataclass
class WebContext:
    """A running web server: its address and its log."""

    name: str
    port: int
    authority: trustme.CA
    logs: list[Path]

    def browser(self, *, source: str = "127.0.0.1") -> httpx2.Client:
        """Return a client with a source address that trusts the certificate."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        transport = httpx2.HTTPTransport(verify=context, local_address=source)
        return httpx2.Client(
            transport=_Named(transport), base_url=f"https://127.0.0.1:{self.port}", timeout=30
        )

    def logged(self) -> str:
        """Return the whole log."""
        return "".join(path.read_text() for path in self.logs if path.exists())


class _Named(httpx2.BaseTransport):
    """Connects to the local server for any host name."""

    def __init__(self, transport: httpx2.BaseTransport) -> None:
        self._transport = transport

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.headers["Host"] = HOST
        request.extensions["sni_hostname"] = HOST
        return self._transport.handle_request(request)

    def close(self) -> None:
        self._transport.close()


def command(name: str) -> str:
    """Return the path of a web server's program, or skip the test."""
    found = shutil.which(name) or shutil.which(name, path=_SYSTEM)
    if found is None:
        pytest.skip(f"{name} is not here (Debian: {'nginx-light' if name == 'nginx' else name})")
    return found


@contextmanager
def running(name: str, folder: Path, *, upstream: int) -> Iterator[WebContext]:
    """Run nginx or Caddy on a free port, in front of the server on the port `upstream`."""
    folder.mkdir()
    authority = trustme.CA()
    certificate = authority.issue_cert(HOST, "127.0.0.1")
    chain, key = folder / "fullchain.pem", folder / "privkey.pem"
    certificate.private_key_pem.write_to_path(str(key))
    for part in certificate.cert_chain_pems:
        part.write_to_path(str(chain), append=True)
    port, plain = free_port(), free_port()
    places = {
        "127.0.0.1:8000": f"127.0.0.1:{upstream}",
        f"/etc/letsencrypt/live/{HOST}": str(folder),
        "/var/log/nginx": str(folder),
        "listen 80;": f"listen 127.0.0.1:{plain};",
        "    listen [::]:80;\n": "",
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "    listen [::]:443 ssl;\n": "",
        f"\n{HOST} {{\n": f"\nhttps://{HOST}:{port} {{\n\tbind 127.0.0.1\n\ttls {chain} {key}\n",
        "{\n\t# The": "{\n\tadmin off\n\tauto_https disable_redirects\n\t# The",
    }
    heading, language = {"nginx": ("nginx", "nginx"), "caddy": ("Caddy", "caddy")}[name]
    block = fences.only(PAGE.read_text("utf-8"), heading, language)
    replaced = [place for place in places if place in block]
    assert len(replaced) == {"nginx": 7, "caddy": 3}[name], "the block is not what this knows"
    for place in replaced:
        block = block.replace(place, places[place])
    words = _nginx(folder, block) if name == "nginx" else _caddy(folder, block)
    log = folder / "output.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [command(name), *words],
            stdout=output,
            stderr=output,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "XDG_DATA_HOME": str(folder)},
        )
    try:
        wait_for(port)
        yield WebContext(
            name, port, authority, [log, folder / "newsletter.log", folder / "error.log"]
        )
    finally:
        server.terminate()
        server.wait(timeout=30)


def _nginx(folder: Path, block: str) -> list[str]:
    """Write an nginx.conf like Debian's around the block of a site, with folders of the test."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    as_user = "user root;\n" if os.getuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(
        f"{as_user}daemon off;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{\naccess_log {folder}/access.log;\n{temporary}{block}}}\n"
    )
    return ["-e", f"{folder}/error.log", "-c", str(config)]


def _caddy(folder: Path, block: str) -> list[str]:
    config = folder / "Caddyfile"
    config.write_text(block)
    return ["run", "--adapter", "caddyfile", "--config", str(config)]
