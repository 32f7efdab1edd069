"""The doctor calls the real pages behind nginx, as a mail client would."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import dns_server
import fronts
import journey
from journey import Newsletter


def found(newsletter: Newsletter) -> dict[str, dict[str, Any]]:
    """Return the findings by id, with a DNS that has nothing."""
    with dns_server.serving({}) as dns:
        host, port = dns.nameserver
        said = newsletter.json("doctor", "--dns", "--nameserver", f"{host}:{port}", exit_code=3)
    return {one["id"]: one for one in said["findings"]}


def dump(path: Path) -> list[str]:
    """Return all rows but those of the doctor itself."""
    with closing(sqlite3.connect(path)) as connection:
        return [line for line in connection.iterdump() if '"finding"' not in line]


def test_one_click_is_tried_through_nginx_and_changes_nothing(
    sqlite_newsletter: Newsletter, tmp_path: Path
) -> None:
    fronts.command("nginx")
    newsletter = sqlite_newsletter
    newsletter.add(ann="weekly")
    newsletter.env["NEWSLETTER_TRUSTED_PROXIES"] = "127.0.0.1"
    with journey.serving(newsletter) as (direct, _):
        upstream = int(direct.rpartition(":")[2])
        with fronts.running("nginx", tmp_path / "front", upstream=upstream) as front:
            store = tmp_path / "authority.pem"
            front.authority.cert_pem.write_to_path(str(store))
            newsletter.env["SSL_CERT_FILE"] = str(store)
            newsletter.env["NEWSLETTER_BASE_URL"] = f"https://127.0.0.1:{front.port}"
            database = newsletter.folder / "newsletter.db"
            before = dump(database)

            right = found(newsletter)
            assert not {"tls.web", "oneclick"} & set(right), right
            assert dump(database) == before

            newsletter.env["NEWSLETTER_SECRET_KEYS"] = "another-key-0123456789-abcdefghij-klmnop"
            assert "other secret_keys" in found(newsletter)["oneclick"]["sentence"]

    # Nobody is behind nginx any more, and nginx is gone, too.
    assert found(newsletter)["oneclick"]["level"] == "not checked"
