"""Words for a subscriber's state in the exports of known tools and in several languages.

The table is closed: a word that is not in it is no state, and never makes a subscriber active.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import IntEnum

from newsletter.subscribers.csv_rows import cells


class Standing(IntEnum):
    """The state in a cell. If a row has several, the strictest counts, which is the largest."""

    SILENT = 0
    ACTIVE = 1
    PAUSED = 2
    PENDING = 3
    UNSUBSCRIBED = 4
    BLOCKED = 5
    BOUNCED = 6
    COMPLAINED = 7


def _table(words: Mapping[Standing, str]) -> dict[str, Standing]:
    return {
        word: standing for standing, listed in words.items() for word in listed.split(", ") if word
    }


#: Words that are states by themselves, in the form of `cells.key`.
WORDS: Mapping[str, Standing] = _table(
    {
        Standing.ACTIVE: (
            "active, enabled, subscribed, confirmed, opted in, opt in, optin, "
            "aktiv, angemeldet, abonniert, bestätigt, actif, abonné, inscrit, confirmé, "
            "activo, suscrito, confirmado, attivo, iscritto, confermato, actief, ingeschreven, "
            "geabonneerd, ativo, inscrito"
        ),
        Standing.PAUSED: "paused, on hold, snoozed, pausiert, en pause, pausado, in pausa",
        Standing.PENDING: (
            "pending, unconfirmed, not confirmed, unverified, unactivated, not activated, "
            "awaiting confirmation, pending confirmation, needs confirmation, needs approval, "
            "validating, unbestätigt, nicht bestätigt, ausstehend, en attente, non confirmé, "
            "pendiente, no confirmado, in attesa, non confermato, onbevestigd, pendente"
        ),
        Standing.UNSUBSCRIBED: (
            "unsubscribed, unsubscribe, unsub, not subscribed, non subscribed, nonsubscribed, "
            "never subscribed, opted out, opt out, optout, disabled, inactive, cancelled, "
            "canceled, archived, deleted, removed, signed off, do not contact, do not mail, "
            "do not email, dnc, "
            "suspended, churned, deactivated, revoked, withdrawn, "
            "inaktiv, abgemeldet, abbestellt, gekündigt, gelöscht, widerrufen, "
            "inactif, désabonné, desabonne, désinscrit, desinscrit, supprimé, résilié, "
            "inactivo, baja, dado de baja, cancelado, eliminado, "
            "inattivo, disiscritto, cancellato, inactief, uitgeschreven, afgemeld, inativo, "
            "descadastrado"
        ),
        Standing.BLOCKED: (
            "blocked, blocklisted, blacklisted, suppressed, banned, spammy, quarantined, "
            "gesperrt, blockiert, bloqué, bloqueado, bloccato, geblokkeerd"
        ),
        Standing.BOUNCED: (
            "bounced, bounce, hard bounce, hard bounced, hardbounce, hard, soft bounce, "
            "soft bounced, softbounce, cleaned, undeliverable, unreachable, invalid, "
            "unzustellbar, ungültig, invalide, non délivrable, rebotado, rimbalzato"
        ),
        Standing.COMPLAINED: (
            "complained, complaint, complainer, spam, spam complaint, spam report, spam reported, "
            "marked as spam, reported spam, reported as spam, abuse, junk, beschwerde, "
            "plainte, queja, reclamo, klacht"
        ),
    }
)
#: Yes and no are states only together with the name of their column.
YES = frozenset(
    {
        *("true", "yes", "1", "1.0", "y", "t", "on", "x", "ja", "j", "wahr", "oui", "o", "vrai"),
        *("si", "sí", "sì", "sim", "verdadero", "vero", "✓", "✔"),
    }
)
NO = frozenset(
    {
        *("false", "no", "0", "0.0", "n", "f", "off", "nein", "falsch", "non", "faux", "não"),
        *("nee", "falso", "✗"),
    }
)
#: Words that show that an unknown column is a state.
TELLING = frozenset(
    word for word, standing in WORDS.items() if standing > Standing.ACTIVE and word != "hard"
)
#: Maximum characters of a word or date.
_LONGEST = 100
#: The common form of a date; 0000-00-00, an empty date, does not match.
_PLAIN_DATE = re.compile(r"(?:19|20)[0-9]{2}-[0-9]{2}-[0-9]{2}(?:[ T][0-9]{2}(?::[0-9]{2}){2})?")
_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{9,13}$")


@dataclass(frozen=True)
class Meaning:
    """The meaning of the cells of a state column."""

    words: Mapping[str, Standing]
    #: The standing of an empty cell.
    empty: Standing = Standing.SILENT
    #: The standing of a date.
    dated: Standing | None = None
    #: The standing of any other cell; None means unknown, which stops the import.
    other: Standing | None = None

    def standing(self, cell: str) -> Standing | None:
        """Return the standing of a cell, or None if it is not known."""
        bare = cells.bare(cell)
        if not bare:
            return self.empty
        if len(bare) > _LONGEST:
            return self.other
        found = self.words.get(bare)
        if found is None and self.dated is not None:
            if bare in cells.NOTHING:
                return self.empty
            if _DATE.match(bare) or cells.instant(cell.strip()):
                return self.dated
        if found is None and bare[0].isalpha():
            # Matches `Opted-out` and `MarkedAsSpam`, but never -1 as 1 or !active as active.
            found = self.words.get(cells.key(cell), self.words.get(cells.key(bare)))
        return self.other if found is None else found

    def of_dates(self, column: Collection[str]) -> dict[str, Standing]:
        """Return the standings of cells that are dates of the most common form, in less time."""
        if self.dated is None:
            return {}
        return dict.fromkeys(filter(_PLAIN_DATE.fullmatch, column), self.dated)


def word(**others: Standing) -> Meaning:
    """Return the meaning of a column of words; `others` are additional words of one tool."""
    own = {name.replace("_", " "): standing for name, standing in others.items()}
    return Meaning({**WORDS, **own})


def status() -> Meaning:
    """Return the meaning of a column called status: words, or 1 for active, 0 for unsubscribed."""
    gone = dict.fromkeys(NO, Standing.UNSUBSCRIBED)
    return Meaning({**WORDS, **dict.fromkeys(YES, Standing.ACTIVE), **gone})


def flag(yes: Standing, no: Standing = Standing.SILENT) -> Meaning:
    """Return the meaning of a column of yes and no, words, or dates, which mean yes.

    In a column of consents, many tools write only yes and leave other cells empty.
    """
    # `confirmed` means the opposite in a column of spam reports.
    words = {w: s for w, s in WORDS.items() if s is not Standing.ACTIVE or no > Standing.SILENT}
    return Meaning(
        {**words, **dict.fromkeys(YES, yes), **dict.fromkeys(NO, no)},
        empty=Standing.PENDING if yes <= Standing.ACTIVE < no else Standing.SILENT,
        # The date of a sign-up does not show that the subscription is still active.
        dated=Standing.SILENT if yes is Standing.ACTIVE else yes,
    )


def happened(standing: Standing) -> Meaning:
    """Return the meaning of a column that is filled if an event happened, with a date or reason.

    A stricter word has precedence: an unsubscribe whose reason is a complaint is a complaint.
    """
    stricter = {word: said for word, said in WORDS.items() if said > standing}
    return Meaning(
        {**stricter, **dict.fromkeys(NO, Standing.SILENT)}, dated=standing, other=standing
    )


def confirmation() -> Meaning:
    """Return the meaning of a column of confirmation dates: an empty cell means unconfirmed."""
    return Meaning(
        {**dict.fromkeys(YES, Standing.SILENT), **dict.fromkeys(NO, Standing.PENDING)},
        empty=Standing.PENDING,
        dated=Standing.SILENT,
    )
