"""Known names of columns, and patterns of names that may be those of a subscriber's state."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from newsletter.subscribers.csv_rows import states
from newsletter.subscribers.csv_rows.states import Meaning, Standing
from newsletter.subscribers.csv_rows.tools import Role

#: In order of preference: Mailchimp has a postal "Address" beside its "Email Address".
ADDRESS = (
    "email", "email address", "e mail", "e mail address", "emailaddress", "mail", "mail address",
    "subscriber email", "contact email", "user email", "primary email", "e mail adresse",
    "emailadresse", "e mailadresse", "mailadresse", "email adresse", "adresse email",
    "adresse e mail", "courriel",
    "correo electrónico", "correo", "indirizzo email", "subscriber", "address",
)  # fmt: skip
#: The columns that a rejects file adds to those of the imported file.
REJECTED = ("rejected line", "rejected because")


def _roles(roles: Mapping[Role, str]) -> dict[str, Role]:
    return {name: role for role, listed in roles.items() for name in listed.split(", ")}


ROLES: Mapping[str, Role] = _roles(
    {
        Role.CADENCE: "cadence, frequency",
        Role.PAUSED_UNTIL: "paused until",
        Role.OPTED_IN_AT: (
            "optin time, opt in time, optin date, opt in date, opt in at, opted in at, "
            "signup date, sign up date, signup time, signed up at, signed up, subscribed at, "
            "subscribed on, subscription date, subscription time, subscribe date, date subscribed, "
            "joined, joined at, date joined, registered at, date added, added at, added time, "
            "created at, created on, creation date, date created, created"
        ),
        Role.OPTED_IN_IP: "optin ip, opt in ip, signup ip, sign up ip, ip, ip address, opted in ip",
        Role.CONFIRMED_AT: (
            "confirm time, confirm date, confirmation time, confirmation date, confirmed at, "
            "confirmed on, date confirmed, double opt in at, verified at, email verified at"
        ),
        Role.CONFIRMED_IP: "confirm ip, confirmation ip, confirmed ip, double opt in ip",
        Role.SOURCE: "source, signup source, sign up source, subscription source, signup form",
        Role.WORDING: "consent text, consent wording, gdpr text",
        Role.LANGUAGE: "language, lang, locale, preferred language, preferred locale, sprache",
        Role.TIMEZONE: "timezone, time zone, zeitzone",
    }
)


def _meanings(*named: tuple[Meaning, str]) -> dict[str, Meaning]:
    return {name: meaning for meaning, listed in named for name in listed.split(", ")}


STATES: Mapping[str, Meaning] = _meanings(
    (states.status(), "status, subscribed to emails"),
    (
        states.word(),
        (
            "email status, subscriber status, subscription status, subscription state, "
            "subscriber state, mailing status, newsletter status, email subscription status, "
            "email marketing status, email marketing consent"
        ),
    ),
    (
        states.flag(Standing.UNSUBSCRIBED),
        (
            "unsubscribed, unsubscribe, is unsubscribed, unsubscribed from all, opt out, optout, "
            "opted out, has opted out of email, email opt out, email optout, email opted out, "
            "unsubscribed from all email, hs email optout, opted out of email, "
            "do not contact, do not mail, do not email, donotcontact, dnc, deleted, is deleted, "
            "removed, disabled, is disabled, email disabled, archived, inactive, "
            "abgemeldet, gekündigt, gelöscht, désabonné, désinscrit, désinscrite, baja"
        ),
    ),
    (
        states.flag(Standing.BLOCKED),
        (
            "blocked, is blocked, blocklisted, blacklisted, is blacklisted, is blocklisted, "
            "email blocklisted, email blacklisted, is this subscriber blacklisted, "
            "suppressed, is suppressed, banned, gesperrt, blockiert, bloqué, bloqueado"
        ),
    ),
    (
        states.flag(Standing.BOUNCED),
        "bounced, is bounced, hard bounced, hard bounce, undeliverable, cleaned",
    ),
    (
        states.flag(Standing.COMPLAINED),
        "complained, complaint, spam, spam complaint, marked as spam, spam report",
    ),
    (
        states.flag(Standing.ACTIVE, Standing.UNSUBSCRIBED),
        (
            "subscribed, is subscribed, opt in, optin, opted in, accepts marketing, "
            "accepts email marketing, abonniert, angemeldet, abonné, inscrit, suscrito, iscritto"
        ),
    ),
    (
        states.flag(Standing.ACTIVE, Standing.PENDING),
        (
            "confirmed, is confirmed, email confirmed, is this subscriber confirmed, "
            "bestätigt, confirmé, confirmado, confermato"
        ),
    ),
    (
        states.flag(Standing.SILENT, Standing.PENDING),
        "verified, is verified, email verified, activated, is activated, double opt in",
    ),
    (
        states.flag(Standing.SILENT, Standing.UNSUBSCRIBED),
        "active, is active, enabled, is enabled, aktiv, actif, activo, attivo",
    ),
    (
        states.confirmation(),
        (
            "confirm time, confirm date, confirmation time, confirmation date, confirmed at, "
            "confirmed on, date confirmed, double opt in at, verified at, email verified at, "
            "activated at"
        ),
    ),
)

# Parts of names, with `\b` if a part has to be at the beginning or end of a word.
_GONE = re.compile(
    r"\bunsub|\bopt(ed)? ?out|\bdesabon|\bdésabon|\bdésinscr|\babgemeld|\babmeld|\bafgemeld"
    r"|\bafmeld|\buitgeschr|\bavregistr|\bavmeld|\bdesinscri|\bdesuscri|\bdisiscri|\bdescadastr"
    r"|\bdelet|\bremov|\bdeactiv|\bleft\b|\bgelöscht|\bgekündigt|\bsupprim|\baustritt"
    r"|\bausgetreten|\blapsed\b|отпис|退订|取消|購読停止|配信停止"
)
#: Words for the end of something, possibly not of the subscription: the operator has to decide.
_ENDED = re.compile(
    r"\bstop(ped)?\b|\bquit\b|\bresign|\bcancel|\bexclu|\bdropped\b|\btrash|\bended\b"
    r"|\bend date\b|\bretired\b|\bterminat|\bdeceased\b|\bverstorben|\baustrag|\bausgetragen"
    r"|\bgeloescht|\bgekuendigt|\bkuendig|\bbaja\b"
)
_BOUNCED = re.compile(r"\bbounc|\bundeliver|\bclean(ed)?\b|\bunzustell")
_BLOCKED = re.compile(r"\bblock|\bblack ?list|\bsuppress|sperr|\bbanned\b|\bquarantin")
_COMPLAINED = re.compile(r"\bcomplain|\bspam|\babuse|\bbeschwerde|\bplainte")
_NEGATIVE = (
    (_COMPLAINED, Standing.COMPLAINED),
    (_BOUNCED, Standing.BOUNCED),
    (_BLOCKED, Standing.BLOCKED),
    (_GONE, Standing.UNSUBSCRIBED),
)
_OTHERS = re.compile(
    r"status|\bstate\b|\bstat(ut|o)\b|\bestado\b|\bzustand|\bsubscribed?\b|\bsubscribing|\boptin"
    r"|\bopt(ed)? in|\bin ?activ|\bactiv(e|ated)\b|\bin?aktiv|\bin?actif|\benabl|\bdisabl"
    r"|\b(un)?confirm|\b(un)?verif|\bbestätig|\bunbestätig|\beinwillig|\bwiderruf"
    r"|\bconsen[ts]|\bopt\b|\bpermission|\bmarketing|\bgdpr|\bdsgvo|\brgpd|\bnewsletter|\babonn|\babo\b|\breason\b|\bangemeld|\binscri"
    r"|\bsuscri|\biscri|\bdo ?not\b|\bdnc\b|\barchiv|\bvalid|\binvalid|\bunreach"
    r"|\bpending|\bpaused?\b|\bmailable|\bemailable|\breceives?\b|\bdeliverab|\bkündig|\bsperr"
    r"|\b(can|may|wants?|no|kein|keine) (e ?)?(mails?|newsletter|enviar|werbung)\b|\bzustimm"
    r"|\btoestemm|\bprenumer|\btilmeld|\bingeschr|\bban\b|\bgone\b|\bdead\b|\bexpired\b"
    r"|\bnicht (an)?schreib|\bwerbung|\bchurn|подпис|рассыл|订阅|購読|配信|구독|수신"
    r"|\bbloqu|\brevok|\bwithdr|\bobjected|\ballow|\baccept|\berlaub|\bsuspend|\berrors?\b"
)
_DATED = re.compile(r"\b(at|on|time|date|datetime|timestamp|datum|am|reason)\b")
#: Names of links and ids, such as an unsubscribe link, which are no states.
_POINTER = re.compile(r"\b(url|link|token|hash|uuid)\b")
#: Words in a name that mentions a state, if the column has its time, place or wording instead.
_DETAIL = re.compile(
    r"\b(at|on|time|date|datetime|timestamp|datum|ip|text|wording|source|url|link|uuid|last|name"
    r"|title|version|form|page|language|locale|method|tier|plan)\b"
)
_MEASURE = re.compile(r"\b(rating|count|number|days|interval)\b")
#: Names of a state only if all cells are yes or no.
_VAGUE = re.compile(
    r"\b(subscriptions?|robinson|nl|mailings?|send (e ?)?mails?|(e ?)?mails? ok|live|hidden)\b"
)
_FREE_TEXT = re.compile(
    r"\b(notes?|notiz(en)?|comments?|remarks?|bemerkung(en)?|kommentar(e)?|description|message"
    r"|names?|firstname|lastname|fname|lname|surname|name|vorname|nachname|nom|prénom|nombre"
    r"|apellidos?|cognome|company|firma|organi[sz]ation|title|subject|city|town|ort|stadt|ville"
    r"|ciudad|street|strasse|address)\b"
)
#: Words of names that databases write without spaces: `hasoptedoutofemail`, `ISDELETED`.
_PARTS = frozenset(
    """
    is ist has was do not can email emails mail mails user contact subscriber member customer
    newsletter marketing hard soft global double of from all to by at on am date time datum since
    seit reason grund flag count yn ts status state opt opted in out unsub unsubscribe unsubscribed
    subscribe subscribed subscription bounce bounced bounces block blocked blocklist blocklisted
    blacklist blacklisted complaint complained spam delete deleted remove removed disable disabled
    enable enabled confirm confirmed unconfirmed verified unverified active inactive archived
    banned suppressed suppression send call invalid valid pause paused pending cancelled canceled
    stop stopped withdrawn revoked consent permission accept accepts receive receives wants dnc
    aktiv inaktiv abgemeldet angemeldet gesperrt gelöscht geloescht gekündigt gekuendigt bestätigt
    """.split()  # noqa: SIM905 - a list of them would be two pages long
)
_LONGEST_PART = max(map(len, _PARTS))
_LONGEST_NAME = 60
_POSTAL = re.compile(
    r"\b(province|region|country|county|billing|shipping|mailing|home|work|code)\b"
)
#: Codes of federal states in postal addresses.
REGIONS = frozenset(
    """
    al ak az ar ca co ct de fl ga hi id il in ia ks ky la me md ma mi mn ms mo mt ne nv nh nj nm
    ny nc nd oh ok or pa ri sc sd tn tx ut vt va wa wv wi wy dc pr gu vi as mp
    ab bc mb nb nl ns nt nu on pe qc sk yt act nsw qld tas vic
    alabama alaska arizona arkansas california colorado connecticut delaware florida georgia hawaii
    idaho illinois indiana iowa kansas kentucky louisiana maine maryland massachusetts michigan
    minnesota mississippi missouri montana nebraska nevada new-hampshire new-jersey new-mexico
    new-york north-carolina north-dakota ohio oklahoma oregon pennsylvania rhode-island
    south-carolina south-dakota tennessee texas utah vermont virginia washington west-virginia
    wisconsin wyoming district-of-columbia alberta british-columbia manitoba new-brunswick
    nova-scotia ontario prince-edward-island quebec saskatchewan new-south-wales queensland
    south-australia tasmania victoria western-australia
    """.split()  # noqa: SIM905 - a list of them would be two pages long
)


def may_be_state(name: str) -> bool:
    """Return whether a name may be that of a state, if all cells are yes or no."""
    return mentions_state(name) or bool(_VAGUE.search(_apart(name)))


def is_free_text(name: str) -> bool:
    """Return whether a name is that of a column of free text, in which any word may occur."""
    return bool(_FREE_TEXT.search(name))


def meaning_of(name: str) -> Meaning | None:
    """Return the meaning of a column of this name as a state; None if the name is unknown."""
    name = name if name in STATES else _apart(name)
    if name in STATES:
        return STATES[name]
    if name.startswith("opted out of "):
        return STATES["opt out"]
    negative = _negative(name)
    # `unsubscribed_at`, `bounce_reason`: not empty once the event has happened.
    return states.happened(negative) if negative and _DATED.search(name) else None


def sounds_bad(name: str) -> bool:
    """Return whether a name is one of a state in which a subscriber must not be mailed."""
    name = _apart(name)
    return _negative(name) is not None or bool(_ENDED.search(name))


def mentions_state(name: str) -> bool:
    """Return whether a name contains a word for a state."""
    name = _apart(name)
    if _MEASURE.search(name) and not sounds_bad(name):
        return False
    if _POSTAL.search(name):
        name = re.sub(r"\bstate\b", "", name)
    return sounds_bad(name) or bool(_OTHERS.search(name))


def sounds_like_state(name: str) -> bool:
    """Return whether a name without a known meaning may be that of a state."""
    return mentions_state(name) and (sounds_bad(name) or not _DETAIL.search(_apart(name)))


def _negative(name: str) -> Standing | None:
    if _POINTER.search(name):
        return None
    return next((standing for parts, standing in _NEGATIVE if parts.search(name)), None)


@lru_cache(maxsize=1_024)
def _apart(name: str) -> str:
    """Return a name with spaces between words of states that are written as one."""
    return " ".join(map(_parts, name.split())) if len(name) <= _LONGEST_NAME else name


def _parts(word: str) -> str:
    """Split a word into the fewest known parts; unchanged if it has unknown ones."""
    made: list[list[str] | None] = [[]]
    for end in range(1, len(word) + 1):
        ways = [
            [*before, word[start:end]]
            for start in range(max(0, end - _LONGEST_PART), end)
            if (before := made[start]) is not None and word[start:end] in _PARTS
        ]
        made.append(min(ways, key=len, default=None))
    return " ".join(made[-1] or [word])
