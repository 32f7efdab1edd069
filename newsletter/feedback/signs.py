"""Tells bounces, delays and automatic replies apart where no part for machines does. Pure."""

from __future__ import annotations

import re

from newsletter.feedback import unsubscription
from newsletter.feedback.mime import Headers
from newsletter.feedback.status import ADDRESS

#: Characters of a text that are searched.
_READ_LIMIT = 8_000


_DAEMON = re.compile(
    r"mailer.?daemon|postmaster|mail.?(?:er|delivery).?(?:system|subsystem|service|agent)"
    r"|delivery.?subsystem|maildaemon|mdaemon@|<>|^$|microsoftexchange[0-9a-f]+@|^ndr@",
    re.I,
)
_FAILED = re.compile(
    r"undeliver|non.?deliver|not (?:be )?delivered|deliver\w* (?:status|fail|problem|error|has)"
    r"|fail\w* (?:notice|mail|delivery|to deliver)|(?:delivery|mail|message) (?:\w+ )?fail"
    r"|return\w* (?:mail|message|to sender)|mail (?:system )?(?:error|rejected)|rejected mail"
    r"|mail delivery|user unknown|unknown user|could ?n[o']t be delivered|bounce|delayed mail"
    r"|message delayed|delivery delayed|warning: (?:could not|message)|nameserver error"
    r"|unzustellbar|nicht zugestellt|zustell|non remis|non délivr|échec|retour de (?:mail|message)"
    r"|no (?:se ha )?entregado|no entregable|devuelto|error de entrega|mancata consegna"
    r"|non recapit|não entregue|falha na entrega|devolvid|niet (?:af)?geleverd|onbestelbaar"
    r"|niedoręczon|недоставл|не доставлен|невозможно доставить|退信|投递失败|配信(?:不能|エラー)",
    re.I,
)
_AWAY = re.compile(
    r"out of (?:the )?office|out-of-office|automatic (?:reply|response|answer)"
    r"|auto(?:mated)?[ -]?(?:reply|response|responder|answer)|autoreply|autoresponse"
    r"|vacation|on (?:holiday|leave)|away (?:from|until|message)|i am away|not (?:read|gelesen):"
    r"|^(?:read|gelesen|lu|leído|letto): |abwesen|automatische antwort|nicht im (?:büro|haus)"
    r"|réponse automatique|absen(?:ce|t|te)\b|respuesta autom|fuera de (?:la )?oficina|ausencia"
    r"|risposta automatica|fuori (?:sede|ufficio)|assenza|resposta autom|ausência"
    r"|automatisch antwoord|afwezig|autosvar|frånvaro|fravær|poissa|autoodpowiedź"
    r"|odpowiedź automatyczna|автоответ|自动回复|自動応答|自動返信|不在",
    re.I,
)
_DELAY = re.compile(
    r"(?:has|have) (?:not yet|been delayed|not been delivered yet)|has not yet been delivered"
    r"|not yet (?:been )?delivered|will (?:be retried|continue to (?:try|attempt|retry)|keep"
    r" (?:on )?trying|try again|retry)|deliver\w* (?:\w+ )?(?:attempts?|retries) will (?:continue"
    r"|be (?:continued|made))|warning message only|this is (?:just |only )?a warning"
    r"|still (?:being )?(?:try|attempt)|been postponed|is (?:being )?delayed|do not need to resend"
    r"|continue to be made|verzögert|noch nicht zugestellt|retardé|différé|retras|in ritardo"
    r"|atrasad|vertraag|отложен",
    re.I,
)
_DELAY_IN_SUBJECT = re.compile(
    r"delay|warning: could not send|not yet been delivered|delivery warning|verzöger|retard"
    r"|différ|retras|ritard|atras",
    re.I,
)
_GIVEN_UP = re.compile(
    r"permanent(?:ly)?\b|given up|giving up|has failed|(?:delivery|message) failed"
    r"|returned to sender|endgültig|définitiv|definitiv",
    re.I,
)


def is_automatic(headers: Headers) -> bool:
    """Return whether a person's mailbox answers by itself: out of office, read, and the like.

    Exim and Google Groups mark their bounces as automatic replies, too.
    """
    if headers.all("X-Failed-Recipients"):
        return False
    subject = headers.get("Subject")
    if _AWAY.search(subject):
        return True
    if _FAILED.search(subject):
        return False
    if _is_of_daemon(headers):
        return headers.type == "multipart/report" and "disposition" in _report_type(headers)
    return unsubscription.is_automatic(headers)


def is_bounce(headers: Headers, text: str) -> bool:
    """Return whether a mail looks like one that returns another."""
    if headers.all("X-Failed-Recipients") or _FAILED.search(headers.get("Subject")):
        return True
    return _is_of_daemon(headers) and (
        _FAILED.search(text[:_READ_LIMIT]) is not None or ADDRESS.search(text) is not None
    )


def is_delay(headers: Headers, text: str) -> bool:
    """Return whether a mail only warns that another is late."""
    start = text[:_READ_LIMIT]
    if _DELAY_IN_SUBJECT.search(headers.get("Subject")):
        return True
    is_warning = _DELAY.search(re.sub(r"\s+", " ", start)) is not None
    return is_warning and _GIVEN_UP.search(start) is None


def _is_of_daemon(headers: Headers) -> bool:
    return _DAEMON.search(headers.get("From")) is not None


def _report_type(headers: Headers) -> str:
    return " ".join(headers.all("Content-Type")).lower()
