"""DNS for tests in memory, without a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from newsletter.doctor.findings import Finding
from newsletter.doctor.records.answers import Answer, Kind

#: Used instead of records for a query that fails.
FAILS = "no name server answered in time"


class Zone:
    """Answers from a table of names, and counts the queries."""

    def __init__(self, names: Mapping[str, Mapping[Kind, Sequence[str] | str]]) -> None:
        self._names = {name.lower(): records for name, records in names.items()}
        self.asked: list[tuple[str, Kind]] = []

    def __call__(self, name: str, kind: Kind) -> Answer:
        """Return the entry of the table; a text instead of records is a failure."""
        self.asked.append((name, kind))
        records = self._names.get(name.lower().removesuffix("."))
        if records is None:
            return Answer(exists=False)
        found = records.get(kind, ())
        return Answer(failure=found) if isinstance(found, str) else Answer(records=tuple(found))


def right() -> dict[str, dict[Kind, Sequence[str] | str]]:
    """Return correct DNS records of miasfeed.example, with its own relay."""
    key = (
        "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC7hjLOJ4Z0ndIHwPfHb5eF5/DYXpR5n/vs/9BsVd/FWVBpdtz9ok"
        "gbiR0uhQsmRuSoBYpDJBYC1KGrNXBF2L8Cs1vex/N5khL1PvF9yJ5aLK1YTGc5PjLyYA7mC5MWm0L4vlWqKP8ciNlW"
        "eU2kKIbxnwsxTaehaKqPcr6oFMqRHwIDAQAB"
    )
    long_key = (
        "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAx8UbUjI+EShNl25SkvtZK0s5+g/MwV4UhDvdZtSdd7CV4x"
        "NJYg4j/V4aSp8t/WmZipIcQ62CkQVJWRHwNnxUSyyJNLTUmvmRXXGjrMjv2hjfX2quscuSWravWQaZ2vnm5hWBpGma"
        "qU5vmAs0j+Xlx/mc6S95y/phH507rWc5cMuhTJhK5RmVY8DI5jp2C+AtRcziz3qCJtg4D1rkCX0974x3pbwpMAKD/L"
        "f43D0PV2EvFoiYtllkHVAvI6wnpaD+oh9jt6O+nezNuHJf0gqaIkXsENCN59TXlSh7QUbNnFgpU7QgzLwU35HQ0yv3"
        "DUvQ2b1DW9WbhourEdL1VQ9oYQIDAQAB"
    )
    return {
        "miasfeed.example": {
            "MX": ["mail.miasfeed.example"],
            "TXT": ["v=spf1 a:mail.miasfeed.example -all", "some-site-verification=1"],
        },
        "mail.miasfeed.example": {"A": ["192.0.2.25"], "AAAA": ["2001:db8::25"]},
        "25.2.0.192.in-addr.arpa": {"PTR": ["mail.miasfeed.example"]},
        f"5.2.{'0.' * 22}8.b.d.0.1.0.0.2.ip6.arpa": {"PTR": ["mail.miasfeed.example"]},
        "mail2026._domainkey.miasfeed.example": {"TXT": [f"v=DKIM1; k=rsa; p={long_key}"]},
        "short._domainkey.miasfeed.example": {"TXT": [f"v=DKIM1; k=rsa; p={key}"]},
        "_dmarc.miasfeed.example": {
            "TXT": ["v=DMARC1; p=quarantine; rua=mailto:dmarc@miasfeed.example"]
        },
        "2.0.0.127.zen.spamhaus.org": {"A": ["127.0.0.2", "127.0.0.4", "127.0.0.10"]},
        "dbltest.com.dbl.spamhaus.org": {"A": ["127.0.1.2"]},
    }


#: Settings of a relay and a key that match these DNS records.
RELAY = {"smtp_url": "smtps://mia:secret@mail.miasfeed.example", "dkim_selectors": ["mail2026"]}


def only(found: list[Finding], name: str) -> Finding:
    """Return the one finding with an id."""
    (one,) = [one for one in found if one.id == name]
    return one


def texts(*records: str) -> dict[Kind, Sequence[str] | str]:
    """Return TXT records for a name, with the correct MX."""
    return {"TXT": records, "MX": ["mail.miasfeed.example"]}
