"""Distinguishes bounces, delays and automatic replies without a machine-readable part. Pure."""

from __future__ import annotations

import re

from newsletter.feedback import unsubscription
from newsletter.feedback.mime import Headers
from newsletter.feedback.status import ADDRESS

#: Maximum characters of a text that are searched.
_READ_LIMIT = 8_000

# All patterns are for text in lower case: a pattern that ignores case takes twice as long.
_DAEMON = re.compile(
    r"mailer.?daemon|post_?master|mail.?(?:er|delivery|deliver).?(?:system|subsystem|service|agent)"
    r"|delivery.?subsystem|maildaemon|mdaemon@|<>|^$|microsoftexchange[0-9a-f]+@|^ndr@",
)
_FAILED = re.compile(
    r"undeliver|non.?deliver|not (?:be )?delivered|deliver\w* (?:status|fail|problem|error|has)"
    r"|fail\w* (?:notice|mail|delivery|to deliver)|(?:delivery|mail|message) (?:\w+ )?fail"
    r"|return\w* (?:mail|message|to sender)|mail (?:system )?(?:error|rejected)|rejected mail"
    r"|mail delivery|user unknown|unknown user|could ?n[o']t be delivered|delayed mail"
    r"|message delayed|delivery delayed|warning: (?:could not|message)|nameserver error"
    r"|unzustellbar|nicht (?:zugestellt|übermittelt)|zustell(?:ung|fehler)"
    r"|fehler bei der (?:zustell"
    r"|auslieferung)|non (?:remis|délivr|distribu)|impossible de remettre|échec (?:de |d')?(?:la )?"
    r"(?:remise|distribution|livraison|envoi|notification)|retour de (?:mail|message)"
    r"|no (?:se ha |se pudo )?entreg|error (?:de|en la) entrega|correo devuelto|mensaje devuelto"
    r"|mancat[oa] (?:consegna|recapito)|non (?:recapit|consegnat)|impossibile recapitare"
    r"|não (?:foi )?entreg|falha n[ao] (?:entrega|envio)|devolvid|niet (?:af)?geleverd|onbestelbaar"
    r"|niedoręczon|nie dostarczono|olevererbar|ej levererat|kan ikke leveres|недоставл"
    r"|не (?:может быть )?доставлен|невозможно доставить|退信|投[递遞](?:失[败敗]|[状狀]态)"
    r"|无法投递"
    r"|未送达|系统退信|配信(?:不能|エラー|できません)|送信できませんでした|メールエラー|返送"
    r"|배달 ?실패|반송",
)
# A reply to a digest repeats the digest's title, which may contain words of a failure.
_ANSWER = re.compile(r"(?:re|aw|sv|antw|odp|rif|res|回复|答复)\s*[:：]")
# Counts only in a subject from a mail system: a digest may have the word in its title.
_BOUNCED = re.compile(r"\bbounced?\b")
_AWAY = re.compile(
    r"out of (?:the )?office|out-of-office|\boof\b|automatic (?:e?-?mail )?(?:reply|response"
    r"|answer)"
    r"|auto(?:mated)?[ -]?(?:reply|response|responder|answer)|autoreply|autoresponse"
    r"|(?:on|annual) (?:vacation|holiday|leave)|vacation (?:reply|notice|message|response|auto)"
    r"|^auto\s*:|^(?:re: )?(?:vacation|holiday|away)\b|away (?:from|until|message)|i am away"
    r"|not (?:read|gelesen|lu|leído|letto):|^(?:read|gelesen|lu|leído|letto|lida): "
    r"|abwesen|automatische (?:antwort|rückantwort|e?-?mail)|autoantwort|eingangsbestätigung"
    r"|nicht im (?:büro|haus|dienst)|außer haus|im urlaub|urlaubs"
    r"|réponse automatique|message automatique|absen(?:ce|t|te)\b|en congés?\b|hors du bureau"
    r"|respuesta autom|fuera de (?:la |mi )?oficina|ausen(?:cia|te)|de vacaciones"
    r"|risposta automatica|fuori (?:sede|ufficio)|assen(?:za|te)|in ferie"
    r"|resposta autom|ausência|fora do escritório|de férias"
    r"|automatisch antwoord|afwezig|buiten kantoor|autosvar|frånvaro|fravær|poissa"
    r"|automaattinen vastaus|autoodpowiedź|automatyczna odpowied|odpowiedź automatyczna"
    r"|poza biurem|automatická odpověď|automatikus válasz|otomatik yanıt|ofis dışında"
    r"|răspuns automat|automātiskā atbilde|αυτόματη απάντηση|автоответ|автоматический ответ"
    r"|вне офиса|в отпуске|отсутстви|自[动動]回[复覆復]|外出|休假|不在|自動応答|自動返信|休暇"
    r"|자동 ?(?:회신|응답)|부재중",
)
_DELAY = re.compile(
    r"(?:has|have) (?:not yet|been (?:temporarily )?delayed|not been delivered yet|been deferred)"
    r"|not yet (?:been )?delivered|will (?:be retried|continue to (?:try|attempt|retry)|keep"
    r" (?:on )?trying|try again|retry)|deliver\w* (?:\w+ )?(?:attempts?|retries) will (?:continue"
    r"|be (?:continued|made))|warning message only|this is (?:just |only )?a warning"
    r"|still (?:being )?(?:try|attempt)|been postponed|is (?:being )?delayed|do not need to resend"
    r"|continue to be made|verzögert|noch nicht|bisher nicht|weiter(?:hin)? versucht"
    r"|retardé|différé|pas encore|retras|aún no|todavía no|in ritardo|non (?:è )?ancora"
    r"|atrasad|ainda não|vertraag|nog niet|opóźnion|jeszcze nie|отложен|ещ[её] не|пока не"
    r"|延[迟遲]|尚未|遅延|まだ|지연",
)
_DELAY_IN_SUBJECT = re.compile(
    r"delay|warning: could not send|not yet been delivered|delivery warning|verzöger|retard"
    r"|différ|retras|ritard|atras|opóźni|задерж|延[迟遲]|遅延",
)
# A failure; the rest of the subject is that of the mail that came back, and may mention a delay.
_FINAL_SUBJECT = re.compile(
    r"(?:undeliver\w+|unzustellbar|non remis|no se puede entregar|returned mail"
    r"|(?:mail )?delivery fail\w+|failure notice)\b",
)
_GIVEN_UP = re.compile(
    r"permanent(?:ly)?\b|given up|giving up|has failed|(?:delivery|message) failed"
    r"|returned to sender|endgültig|définitiv|definitiv",
)


def is_automatic(headers: Headers) -> bool:
    """Return whether a mail is an automatic reply of a person's mailbox, such as out of office.

    The marks of automatic replies are not enough: bounces of Exim and Google Groups have them too.
    """
    if headers.all("X-Failed-Recipients"):
        return False
    subject = headers.get("Subject").lower()
    away, failed = _AWAY.search(subject), _FAILED.search(subject)
    # Bounces and automatic replies append the subject of the original mail to their own words, so
    # the first match decides.
    is_bounce = failed is not None and (away is None or failed.start() < away.start())
    if away is not None and not (is_bounce and is_of_daemon(headers)):
        return True
    if is_bounce:
        return False
    if is_of_daemon(headers):
        return headers.type == "multipart/report" and "disposition" in _report_type(headers)
    return unsubscription.is_automatic(headers)


def is_bounce(headers: Headers, text: str, *, has_message: bool) -> bool:
    """Return whether a mail looks like a bounce; `has_message` if it contains another mail."""
    subject = headers.get("Subject").lower()
    is_failure = _FAILED.search(subject) is not None
    if headers.all("X-Failed-Recipients"):
        return True
    says_so = _FAILED.search(_start_of(text)) is not None
    is_named = ADDRESS.search(text) is not None
    if is_of_daemon(headers):
        return is_failure or says_so or is_named or _BOUNCED.search(subject) is not None
    if is_failure and not _ANSWER.match(subject):
        # The subject alone is not enough, because people write about failures of delivery, too.
        return says_so or is_named or has_message
    return (is_failure or has_message) and says_so


def is_delay(headers: Headers, text: str) -> bool:
    """Return whether a mail only warns that delivery of another one is delayed."""
    start = _start_of(text)
    subject = headers.get("Subject").lower()
    if _DELAY_IN_SUBJECT.search(subject) and not _FINAL_SUBJECT.match(subject):
        return True
    return _DELAY.search(start) is not None and _GIVEN_UP.search(start) is None


def is_of_daemon(headers: Headers) -> bool:
    """Return whether the From header has the name of a mail system."""
    return _DAEMON.search(headers.get("From").lower()) is not None


def _start_of(text: str) -> str:
    """Return the start of a text in lower case on one line, as lines may be wrapped anywhere."""
    return " ".join(text[:_READ_LIMIT].lower().split())


def _report_type(headers: Headers) -> str:
    return " ".join(headers.all("Content-Type")).lower()
