"""DKIM keys: what verifiers take, beside dkimpy."""

from __future__ import annotations

import base64
import contextlib

import dkim as dkimpy
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from newsletter.doctor.records import dkim
from newsletter.doctor.records.dkim import RevokedKey, UnusableKey

#: Public keys of RSA, by their bits, and one of an elliptic curve.
RSA = {
    512: "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAL1zjJMdEoOpLZFU8IlF9rV/23F+c/LV6R1O5vKfpxDiuOS4lJw+1K84"
    "I2WUxcbUDf6osNHchXdtVpHPIUvDX8sCAwEAAQ==",
    1024: "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC7hjLOJ4Z0ndIHwPfHb5eF5/DYXpR5n/vs/9BsVd/FWVBpdtz9"
    "okgbiR0uhQsmRuSoBYpDJBYC1KGrNXBF2L8Cs1vex/N5khL1PvF9yJ5aLK1YTGc5PjLyYA7mC5MWm0L4vlWqKP8ciNlW"
    "eU2kKIbxnwsxTaehaKqPcr6oFMqRHwIDAQAB",
    2048: "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAx8UbUjI+EShNl25SkvtZK0s5+g/MwV4UhDvdZtSdd7CV"
    "4xNJYg4j/V4aSp8t/WmZipIcQ62CkQVJWRHwNnxUSyyJNLTUmvmRXXGjrMjv2hjfX2quscuSWravWQaZ2vnm5hWBpGma"
    "qU5vmAs0j+Xlx/mc6S95y/phH507rWc5cMuhTJhK5RmVY8DI5jp2C+AtRcziz3qCJtg4D1rkCX0974x3pbwpMAKD/Lf4"
    "3D0PV2EvFoiYtllkHVAvI6wnpaD+oh9jt6O+nezNuHJf0gqaIkXsENCN59TXlSh7QUbNnFgpU7QgzLwU35HQ0yv3DUvQ"
    "2b1DW9WbhourEdL1VQ9oYQIDAQAB",
}
CURVE = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAECVbRpgHYnUd9O8HJn2WOFotHb6CERttiJ2xkrlGV2y8bBOU2P9jbmPmc"
    "7aYsRBeb9TsAv6nazrmfpcVRC7pFXw=="
)


@pytest.mark.parametrize("bits", RSA)
def test_a_key_of_rsa_has_its_bits(bits: int) -> None:
    key = dkim.read(f"v=DKIM1; k=rsa; p={RSA[bits]}")

    assert (key.algorithm, key.bits, key.is_testing, key.is_strict) == ("rsa", bits, False, False)


def test_a_key_of_ed25519_is_32_octets() -> None:
    octets = Ed25519PrivateKey.generate().public_key().public_bytes_raw()

    key = dkim.read(f"v=DKIM1; k=ed25519; p={base64.b64encode(octets).decode()}")

    assert (key.algorithm, key.bits) == ("ed25519", 256)


def test_a_key_may_have_white_space_in_it_and_no_tag_but_p() -> None:
    assert dkim.read(f" p = {RSA[1024][:40]} \t{RSA[1024][40:]} ;").bits == 1024


def test_flags_are_told() -> None:
    key = dkim.read(f"v=DKIM1; h=sha1:sha256; s=email; t=y:s; n=a note; p={RSA[1024]}")

    assert key.is_testing
    assert key.is_strict


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ("", "no p="),
        ("v=DKIM1; k=rsa", "no p="),
        (f"k=rsa; v=DKIM1; p={RSA[1024]}", "does not begin with v=DKIM1"),
        (f"v=dkim1; p={RSA[1024]}", "does not begin with v=DKIM1"),
        (f"v=DKIM1; p={RSA[1024]}; p={RSA[2048]}", "twice"),
        (f"v=DKIM1; h=sha1; p={RSA[1024]}", "leaves out sha256"),
        (f"v=DKIM1; s=tlsrpt; p={RSA[1024]}", "not for mail"),
        (f"v=DKIM1; k=dsa; p={RSA[1024]}", "no algorithm of DKIM"),
        (f"v=DKIM1; p={RSA[1024][:-3]}", "not in base64"),
        (f"v=DKIM1; p={RSA[1024][:-4]}", "no key"),
        (f"v=DKIM1; p={RSA[1024]} oops!", "not in base64"),
        (f"v=DKIM1; p={CURVE}", "no key of RSA"),
        (f"v=DKIM1; k=ed25519; p={CURVE}", "has 91 octets"),
        ("v=DKIM1; p=\x1b[31m", "not in base64"),
        ("v=DKIM1; k=\x1b[31m; p=AAAA", "no algorithm"),
        ("hello", "no list of tags"),
        ("p=" + "A" * 9_000, "more than any key needs"),
    ],
)
def test_a_record_without_a_key_says_why(record: str, why: str) -> None:
    with pytest.raises(UnusableKey, match=why) as caught:
        dkim.read(record)

    assert str(caught.value).isprintable()


def test_an_empty_key_is_revoked() -> None:
    with pytest.raises(RevokedKey, match="revoked"):
        dkim.read("v=DKIM1; p=")


def records() -> st.SearchStrategy[str]:
    """Make key records in the forms that dkimpy and we know; a version only in front."""
    space = st.sampled_from(["", " ", "\t"])
    value = st.sampled_from(
        [*RSA.values(), RSA[2048][:90] + " " + RSA[2048][90:], CURVE, "", "AAAA", RSA[1024][:-4]]
    )
    tag = st.one_of(
        st.builds("{}p={}".format, space, value),
        st.sampled_from(
            ["k=rsa", "k=dsa", "t=y", "t=s", "s=email", "s=*", "s=other", "h=sha256", "n=x", "x=y"]
        ),
    )
    version = st.sampled_from(["v=DKIM1", "v=DKIM2", ""])
    return st.builds(
        lambda first, tags, space: f";{space}".join([*filter(None, [first]), *tags]),
        version,
        st.lists(tag, min_size=1, max_size=4),
        space,
    )


@given(records())
def test_dkimpy_takes_the_same_records(record: str) -> None:
    try:
        ours = dkim.read(record).bits
    except UnusableKey:
        ours = None
    try:
        # It tells of services that are not for mail, and takes the key.
        is_for_mail = "s=other" not in record
        theirs = dkimpy.evaluate_pk("name", record.encode())[1] if is_for_mail else None
    except (dkimpy.KeyFormatError, TypeError):
        theirs = None

    assert ours == theirs


@given(
    st.one_of(
        st.text(st.characters(max_codepoint=255), max_size=100),
        st.lists(
            st.sampled_from(["v=DKIM1", ";", "p=", "k=", "rsa", "ed25519", "t=", "h=", ":", "A=="])
        ).map("".join),
        st.binary(max_size=200).map(lambda octets: f"p={base64.b64encode(octets).decode()}"),
    )
)
def test_no_record_breaks_the_reader(record: str) -> None:
    with contextlib.suppress(UnusableKey):
        assert dkim.read(record).bits > 0
