"""What mail systems write instead of a reply: rows of words, and the reply that each stands for.

Only words with which a system says what it did itself are here; those of a reply are in
`smtp.reply`, which decides what either means. The first row that fits applies.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from newsletter.smtp.outcome import Phase
from newsletter.smtp.reply import Reply

#: Characters that are searched.
_READ_LIMIT = 4_000


class _Row(NamedTuple):
    words: re.Pattern[str]
    code: int
    status: str
    phase: Phase = Phase.RCPT


def _row(words: str, code: int, status: str, phase: Phase = Phase.RCPT) -> _Row:
    # The lines of a report are wrapped anywhere.
    return _Row(
        re.compile(words.replace(" ?", r"\s?").replace(" ", r"\s+"), re.I), code, status, phase
    )


_ROWS = (
    # Not about the address, and before the rows that are.
    _row(
        r"\bspam\b|junk mail|virus|blacklist|blocklist|content filter|denied by policy"
        r"|administrative prohibition|not accepting mail from|message was rejected"
        r"|does not accept (?:mail|messages) from|not (?:authori[sz]ed|permitted|allowed) to send"
        r"|restricted|requires? (?:the )?sender",
        550, "5.7.1", Phase.BODY,
    ),
    _row(
        r"too many hops|hop count|mail(?:ing)? loop|message loop|looping|loops? back to",
        554, "5.4.6",
    ),
    _row(
        r"too (?:large|big)"
        r"|exceed(?:s|ed)? (?:the )?(?:maximum |incoming |inbound |allowed )*(?:message )?size"
        r"|size limit|trop volumineux|zu gro(?:ß|ss)",
        552, "5.3.4", Phase.BODY,
    ),
    # Full mailboxes.
    _row(
        r"over ?(?:disk )?quota|quota (?:has been )?exceed|exceed\w* (?:\w+ ){0,4}quota|quota full"
        r"|(?:mailbox|mail ?box|mail ?folder|inbox|account|disk) (?:\w+ )?(?:is |was )?full"
        r"|full (?:mail ?box|inbox)|mail ?box (?:size|space) (?:not enough|limit|exceed)"
        r"|(?:not enough|insufficient|out of) (?:disk |mailbox |storage )?(?:space|storage)"
        r"|too much mail (?:stored|data)|mailbox (?:has )?exceeded|over its (?:size )?limit"
        r"|bo[iî]te (?:aux lettres |de réception |mail )?(?:est )?pleine|quota (?:est )?dépassé"
        r"|postfach (?:\w+ ){0,4}(?:ist )?voll|speicherplatz|buz[oó]n (?:\w+ ){0,4}lleno|casella"
        r" (?:\w+ ){0,4}piena|caixa (?:\w+ ){0,4}cheia|ящик переполнен|容量已满|邮箱已满"
        r"|邮箱空间不足",
        552, "5.2.2",
    ),
    # A name server that does not answer says nothing about the host.
    _row(
        r"host not found,? try again|temporary failure in name resolution|servfail"
        r"|temporary (?:lookup|dns|name)|dns (?:query|lookup) (?:timed out|timeout)",
        450, "4.4.3",
    ),
    # No such host.
    _row(
        r"name or service not known|host (?:or domain )?(?:name )?not found|unknown host"
        r"|host (?:is )?unknown|domain (?:\S+ )?(?:does not exist|not found|unknown)"
        r"|no such (?:host|domain)|non-?existent (?:host|domain)|unrouteable mail domain"
        r"|couldn't find any host|nxdomain|not a valid (?:host|domain)|invalid domain"
        r"|could not find a gateway|all relevant mx records point to non-existent"
        r"|domain inexistant|domaine inconnu|dominio inexistente|n'existe pas dans le dns",
        550, "5.4.4",
    ),
    # Tried for some time, and given up.
    _row(
        r"(?:connection|operation|conversation|session) (?:with \S+ )?(?:has )?timed out"
        r"|connection (?:refused|reset|lost|dropped|failed)|could ?n[o']t connect"
        r"|(?:unable|not able) to connect|retry time(?:out)? (?:not reached|exceeded)"
        r"|temporar(?:y|ily)|delivery time expired|(?:too long|expired) in (?:the )?queue"
        r"|(?:message|delivery time) (?:has )?expired|not respond|unreachable|server unavailable"
        r"|not reachable|no route to host|exceeded maximum delivery attempts"
        r"|maximum (?:number of )?(?:delivery )?(?:attempts|retries)|host (?:\S+ )?(?:is )?down"
        r"|has not been collected|dns (?:error|failure|lookup fail)|try again later"
        r"|wasn't able to establish an smtp connection|network (?:problem|error)|deferred",
        450, "4.4.1",
    ),
    # Closed mailboxes: they may be opened again.
    _row(
        r"(?:account|mail ?box|user|recipient|address) (?:\S+ )?(?:is |has been |was )?"
        r"(?:currently |temporarily )?(?:disabled|suspended|inactive|locked|blocked|frozen)"
        r"|not active|inactive (?:user|account|mailbox)|extended inactivity|mailbox disabled",
        550, "5.2.1",
    ),
    # No such mailbox.
    _row(
        r"not (?:uniquely )?listed in (?:\w+ ){0,4}(?:domino|public name|address|directory)"
        r"|is a deactivated mailbox|unrouteable address|undeliverable address"
        r"|no mailbox (?:here )?by that name|no such (?:user|mailbox|recipient|address|account"
        r"|person|local user|e-?mail)|no (?:user|account|mailbox) (?:here )?(?:by|with|of) "
        r"|(?:user|recipient|mailbox|address|account|addressee)(?: \S+)?(?: name)? "
        r"(?:is |was )?(?:not (?:be )?(?:known|recogni[sz]ed|found|valid|registered)|unknown"
        r"|invalid|non-?existent)"
        r"|(?:unknown|invalid|illegal|incorrect|bad|non-?existent|nonexistent) (?:or illegal )?"
        r"(?:local |e-?mail |mail )?(?:user|recipient|mailbox|address|account|alias|addressee)"
        r"|(?:doesn't|does not|didn't|did not) (?:\w+ ){0,4}have an? (?:\S+ )?account"
        r"|(?:user|account|mailbox|address|recipient|alias)(?: \S+)? (?:doesn't|does not|didn't"
        r"|do not) (?:appear to )?exist|no longer (?:valid|in use|available|exists?|active"
        r"|on server|with|an active)|not (?:a |our )(?:valid |known )?(?:user|customer|member"
        r"|subscriber|mailbox|recipient|address)|is wrong or no longer valid|recipnotfound"
        r"|not (?:a )?valid (?:user|mailbox|recipient|address)|mailbox not found"
        r"|(?:account|mailbox) (?:has been |was |is )?(?:closed|deleted|terminated|removed"
        r"|cancell?ed|deactivated)|(?:wasn't|couldn't be|could not be|was not|can't be) found"
        r"|address (?:couldn't|could not) be found|did not exactly match|not .{0,20}e-?mail users"
        r"|does not have a final (?:e-?mail )?delivery|can'?t find (?:the )?(?:user|recipient)"
        r"|unable to find (?:the )?(?:user|recipient)|couldn't find (?:the )?(?:user|recipient)"
        r"|addressee unknown|recipient(?:'s)? (?:e-?mail )?address was not found"
        r"|(?:utilisateur|destinataire|adresse|compte|bo[iî]te) (?:\S+ )?(?:est )?"
        r"(?:inconnue?|inexistante?|introuvable|n'existe pas)|n'a pas été trouvé"
        r"|(?:benutzer|empfänger|adresse|postfach|nutzer|mailbox) (?:\S+ )?(?:ist )?"
        r"(?:unbekannt|nicht (?:bekannt|gefunden|vorhanden)|existiert nicht|ungültig)"
        r"|(?:usuario|destinatario|direcci[oó]n|cuenta|buz[oó]n|conta|endereço|utente|casella"
        r"|indirizzo) (?:\S+ )?(?:es |é |è )?(?:desconocid[oa]|inexistente|no existe|não existe"
        r"|non esiste|inesistente|sconosciut[oa]|desconhecid[oa]|non trovato)"
        r"|(?:gebruiker|ontvanger|adres) (?:is )?(?:onbekend|niet gevonden|bestaat niet)"
        r"|пользовател\w+ не (?:найден|существует)|нет такого (?:пользователя|адреса)"
        r"|адрес\w* не (?:найден|существует)|收件人(?:地址)?不存在|用户不存在|该用户不存在"
        r"|ユーザー?が存在しません|宛先.{0,20}存在しません",
        550, "5.1.1",
    ),
)  # fmt: skip


# Reports of many recipients ask about the same text again and again.
@lru_cache(maxsize=8)
def reply_of(text: str) -> tuple[Phase, Reply] | None:
    """Return the reply that the words of a system stand for, and its phase; None for no row."""
    searched = text[:_READ_LIMIT]
    for row in _ROWS:
        found = row.words.search(searched)
        if found:
            return row.phase, Reply(row.code, f"{row.status} {_sentence(searched, found)}")
    return None


def _sentence(text: str, found: re.Match[str]) -> str:
    """Return the lines around the words that were found."""
    start = text.rfind("\n", 0, found.start()) + 1
    end = text.find("\n", found.end())
    return " ".join(text[start : end if end >= 0 else None].split())
