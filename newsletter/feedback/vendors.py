"""Phrases that mail systems write instead of an SMTP reply, and the equivalent reply of each.

Phrases of SMTP replies are in `smtp.reply`, which also classifies the equivalent replies. The first
row that matches applies. Each row for a dead address must contain a word for a mailbox or a
recipient, and must not match phrases about the sender.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from newsletter.smtp.outcome import Phase
from newsletter.smtp.reply import Reply

#: Maximum characters of a text that are searched.
_READ_LIMIT = 4_000


class _Row(NamedTuple):
    words: re.Pattern[str]
    code: int
    status: str
    phase: Phase = Phase.RCPT


def _row(words: str, code: int, status: str, phase: Phase = Phase.RCPT) -> _Row:
    # Blanks match line breaks, because lines may be wrapped anywhere. Patterns are for lower-case
    # text, which is twice as fast as ignoring case.
    return _Row(re.compile(words.replace(" ?", r"\s?").replace(" ", r"\s+")), code, status, phase)


# Up to three, or six, words between a noun and its predicate.
_FEW = r"(?: \S{1,80}){0,3}"
_MORE = r"(?: \S{1,80}){0,6}"
_MAILBOX = r"(?:mail ?box|mail ?folder|mail ?dir|inbox|account|postbox)"
_RECIPIENT = (
    r"\b(?:user(?: ?(?:name|id))?|recipient|addressee|alias|customer|mail ?box|account"
    r"|(?:e-?mail[ -]?)?address)(?:es|s|\(s\))?"
)
_DE = r"\b(?:benutzer|empf(?:ä|ae)nger|\S{0,10}adresse|postfach|mailbox|nutzer|konto|teilnehmer)"
_FR = r"\b(?:utilisateur|destinataire|adresse|compte|bo[iî]te)"
_ES = r"\b(?:usuario|destinatario|direcci[oó]n|cuenta|buz[oó]n|casilla)"
_PT = r"\b(?:usu[aá]rio|destinat[aá]rio|endere[cç]o|conta|caixa)"
_IT = r"\b(?:utente|destinatario|indirizzo|casella|account)"
_NL = r"\b(?:gebruiker|ontvanger|adres|postvak)"
_PL = r"\b(?:u[zż]ytkownik|odbiorca|adres|konto|skrzynka)"
_RU = r"(?:пользовател|адрес|ящик|получател)\w*"
_ZH = r"(?:收件人|用[户戶]|[邮郵]箱|信箱|[帐帳账]号|地址)"
_JA = r"(?:ユーザー?|[宛あ]て?先|アドレス|受信者|アカウント|メールボックス)"

_ROWS = (
    # Spam, viruses and policy; before the rows about the address, because they have precedence.
    _row(
        r"\bspam\w{0,10}\b|junk mail|unsolicited|black[ -]?list|blocklist|content filter"
        r"|virus(?:es)? (?:was |were |has been )?(?:found|detected)|(?:contains?|infected|with) "
        r"(?:\w+ )?virus|denied by policy|administrative prohibition|message was rejected"
        r"|not accepting (?:any )?(?:e-?)?(?:mails?|messages)"
        r"|only accept(?:s|ing) (?:e-?)?(?:mails?|messages) from|\b(?:user|recipient)(?: id)? "
        r"(?:rejects?|refuses?)\b|due to (?:user|recipient)(?:'s)? (?:rules|settings)"
        r"|(?:does|do) not accept (?:e-?)?(?:mails?|messages) "
        r"|not (?:authori[sz]ed|permitted|allowed) to send|(?:is|has) restricted"
        r"|restricted (?:to|by)"
        r"|\b(?:network|host|ip|connection) (?:\S+ )?(?:is |was )?(?:not allowed|blocked|banned"
        r"|denied|rejected)|frequency limited|banned sending"
        r"|requires? (?:the )?sender|recipient(?:'s)? preferences|without to:? fields?"
        r"|\b(?:spf|dkim|dmarc|rdns)\b|reverse dns|ptr record"
        r"|bounced by (?:the )?administrator|possible forgery"
        # Phrases about the sender.
        r"|\b(?:unknown|unverified|unroute?able|invalid|verify|bad) (?:envelope )?sender"
        r"|\bsender (?:is )?(?:unknown|unverified|invalid|rejected|not verified)"
        r"|\b(?:helo|ehlo) (?:command|name|host)|\bin (?:helo|ehlo)\b|\byour ip\b"
        r"|\b(?:sender|from|return|reverse|envelope|source|client|your|ip|host|server):?(?:'s)?[ -]"
        r"(?:e-?mail )?(?:address|domain|account|mail ?box|user|path|dns|ptr)" + _FEW +
        r" (?:not\b|unknown|un(?:verified|authori[sz]ed|resolvable)|invalid|incorrect|rejected"
        r"|doesn't|blocked|failed)"
        # Phrases about a mailing list, not about a mailbox.
        r"|(?:you are|you're) not (?:an? )?(?:member|subscri\w+)|\bnon-?(?:member|subscriber)"
        r"|by (?:list )?(?:members|subscribers)|closed (?:mailing )?list|not subscribed to"
        r"|not allowed to post|\bnot member\b",
        550, "5.7.1", Phase.BODY,
    ),
    _row(
        r"too many hops|hop count|mail(?:ing)? loop|message loop|looping|loops? back to"
        r"|loop (?:was )?(?:detected|broken)|(?:alias|forward)\w* (?:\w+ )?loop",
        554, "5.4.6",
    ),
    # Errors of the mail system itself.
    _row(
        r"\b(?:local|system|server|mailer) config(?:uration)? (?:error|problem)|misconfigured",
        550, "5.3.5",
    ),
    # Full mailboxes.
    _row(
        r"over ?(?:the )?(?:allowed |disk )?quota|out of (?:disk )?quota"
        r"|quota (?:has been |is )?(?:exceed|full|violat|reach)"
        r"|(?:exceed|reach|overdraw)\w*" + _FEW + r" (?:disk ?)?(?:space ?)?quota"
        rf"|{_MAILBOX}" + _FEW + r" full\b|disk (?:is )?full"
        rf"|full {_MAILBOX}|{_MAILBOX}" + _FEW +
        r" (?:size|space)(?: \w+)? (?:not enough|limit\b|exceed)"
        rf"|{_MAILBOX}" + _FEW + r" exceed(?:s|ed)?\b|exceeds? allowed size:"
        r"|(?:not (?:have )?enough|insufficient|out of|no|exceeded its) (?:disk |mailbox "
        r"|storage )*"
        r"(?:space|storage)|mail ?box space not enough|too much mail (?:stored|data)"
        r"|too many (?:mails|messages) (?:on|in) (?:the |this |his |her )?(?:server|mail ?box"
        r"|inbox)"
        r"|exceed\w*" + _FEW + r" storage|space has been used up"
        r"|over its (?:size )?limit|bo[iî]te" + _FEW + r" pleine|quota (?:est )?dépassé"
        r"|postfach" + _MORE + r" (?:voll|überfüllt)\b|zu ?viele mails|speicherplatz"
        r"|buz[oó]n" + _MORE + r" llen[oa]|casella" + _MORE + r" piena|caixa" + _MORE +
        r" cheia|ящик" + _FEW + r" (?:переполнен|заполнен)"
        r"|(?:容量|空[间間])(?:已满|已滿|不足|超)|[邮郵]箱(?:已满|已滿|空[间間]不足)"
        r"|メールボックス.{0,10}(?:一杯|いっぱい|満杯|容量)|용량.{0,6}초과",
        552, "5.2.2",
    ),
    _row(
        r"too (?:large|big)|exceed\w*" + _FEW + r" (?:message |e-?mail |allowed |mail )?size"
        r"|message size|size limit|trop volumineux|zu gro(?:ß|ss)\b",
        552, "5.3.4", Phase.BODY,
    ),
    # A name server that does not respond: the host may exist.
    _row(
        r"host not found,? try again|temporary failure in name resolution|servfail"
        r"|temporary (?:lookup|dns|name)|dns (?:query|lookup) (?:timed out|timeout)"
        r"|malformed (?:or unexpected )?(?:name server|dns) reply",
        450, "4.4.3",
    ),
    # The host does not exist.
    _row(
        r"name or service not known|host (?:or domain )?(?:name )?not found|unknown host"
        r"|host (?:is )?unknown|domain (?:\S+ )?(?:does not exist|not found|unknown)"
        r"|no such (?:host|domain)|non-?existent (?:host|domain)|unrouteable mail domain"
        r"|couldn't find any host|nxdomain|not a valid (?:host|domain)|invalid domain"
        r"|could not find a gateway|all relevant mx records point to non-existent"
        r"|domain inexistant|domaine inconnu|dominio inexistente|n'existe pas dans le dns",
        550, "5.4.4",
    ),
    # The server could not be reached, and the retries have ended.
    _row(
        r"(?:connection|operation|conversation|session) (?:with \S+ )?(?:has )?timed out"
        r"|connection (?:was |has been )?(?:refused|reset|lost|dropped|failed|closed)"
        r"|could ?n[o']t connect|(?:unable|not able) to connect|wasn't able to connect"
        r"|retry time(?:out)? (?:not reached|exceeded)|failing for a long time"
        r"|temporar(?:y|ily)|delivery time expired|(?:too long|expired) in (?:the )?queue"
        r"|(?:message|envelope|delivery time) (?:has )?expired|not respond|unreachable"
        r"|unverified address"
        r"|server unavailable"
        r"|not reachable|no route to host|exceeded maximum delivery attempts"
        r"|maximum (?:number of )?(?:delivery )?(?:attempts|retries)|host (?:\S+ )?(?:is )?down"
        r"|has not been collected|dns (?:error|failure|lookup fail)|try again later"
        r"|delivery failed \d+ attempts|(?:could not|cannot) (?:send|deliver) (?:message )?for "
        r"|wasn't able to establish an smtp connection|network (?:problem|error)|deferred"
        r"|gr[ae]y-?list"
        r"|zeit(?:ü|ue)berschreitung|délai (?:\w+ )?(?:dépassé|expiré)|tiempo de espera",
        450, "4.4.1",
    ),
    # Disabled mailboxes, which may be enabled again.
    _row(
        _RECIPIENT + r"(?: \S{1,80})? (?:is |has been |was |have been )?(?:currently "
        r"|temporarily )?"
        r"(?:disabled|suspended|inactive|locked|blocked|frozen|deactivated|expired|closed"
        r"|not active|no longer (?:active|available|in use|used|accept))"
        r"|that you tried to reach is (?:disabled|inactive)|suspend the service"
        r"|deactivated due to|mail receiving disabled"
        r"|(?:disabled|suspended|inactive|deactivated|expired|closed) "
        r"(?:user|account|mail ?box|recipient|e-?mail)|extended inactivity"
        r"|not an active (?:user|address)"
        rf"|{_DE}" + _FEW + r" (?:gesperrt|deaktiviert)"
        rf"|{_FR}" + _FEW + r" (?:d[ée]sactiv|suspendu|archiv)[ée]?"
        rf"|{_ES}" + _FEW +
        r" (?:desactivad|suspendid|deshabilitad|bloquead|expirad|cerrad|inactiv)[oa]"
        rf"|{_IT}" + _FEW + r" (?:disatt+ivat|bloccat|sospes)[oa]"
        rf"|{_PL}" + _FEW + r" (?:jest )?(?:zablokowan|nieaktywn)",
        550, "5.2.1",
    ),
    # The mailbox does not exist.
    _row(
        r"not listed in (?:\w+ ){0,4}(?:domino|public name|address|directory)"
        r"|unrouteable address|no mail ?box (?:here )?by that name|invalid final delivery userid"
        r"|no such (?:local )?(?:user|mail ?box|recipient|account|person|addressee"
        r"|(?:e-?mail )?address)"
        r"|no (?:valid )?(?:user|account|mail ?box|recipient)(?: here)? (?:by|with|of) "
        r"(?:that|this|the|your) (?:name|address|alias)|no (?:known )?mail ?box (?:found|for)\b"
        r"|no mail ?box available for (?:this|that|the) (?:user|recipient|address)"
        r"|" + _RECIPIENT + r"(?: \S{1,80})?(?: name)? (?:is |was |are )?(?:not (?:be )?(?:known"
        r"|recogni[sz]ed|found|valid|registered)|unknown|invalid|non-?existent)\b"
        r"|" + _RECIPIENT + r"(?: \S{1,80}| that you tried to reach)? (?:doesn't|does not|didn't"
        r"|did not|do not|don't)"
        r" (?:appear to )?exist"
        r"|\b(?:unknown|invalid|illegal|incorrect|bad|non-?existent)[ _](?:or illegal )?"
        r"(?:local |e-?mail |mail )?(?:user|recipient|mail ?box|address|account|alias|addressee)"
        r"|(?:doesn't|does not|didn't|did not) (?:\w+ ){0,4}have an? (?:\S+ )?account\b"
        r"|" + _RECIPIENT + _FEW + r" no longer (?:valid|exists?|on (?:this |the )?server"
        r"|with (?:us|the|this)|employed|works?)|address" + _FEW + r" is wrong or no longer valid"
        r"|unknown local-?part|not in my validrcptto|user not a member of domain"
        r"|not our customer|recip(?:ient)?notfound"
        r"|not (?:an? |our )?(?:valid|known|existing) (?:user|mail ?box|recipient|customer"
        r"|(?:e-?mail )?address)\b"
        rf"|{_MAILBOX} (?:\S+ )?(?:has been |was |is )?(?:deleted|terminated|removed|cancell?ed)"
        r"|" + _RECIPIENT + _FEW + r" (?:wasn't|was not|couldn't be|could not be|can't be) found"
        r"|did not exactly match an? (?:\S+ )?e-?mail address"
        r"|does not have a final (?:e-?mail )?delivery"
        r"|(?:can'?t|cannot|unable to|could ?n[o']t) find (?:the |this )?(?:user|recipient"
        r"|mail ?box)"
        rf"|{_FR}" + _MORE + r" (?:est )?(?:inconnue?|inexistante?|introuvable|n'existe pas"
        r"|n'a pas été trouvée?)"
        rf"|{_DE}" + _FEW + r" (?:ist |wurde |konnte )?(?:unbekannt|ungültig|existiert nicht"
        r"|nicht (?:bekannt|gefunden|vorhanden))"
        rf"|{_ES}" + _MORE + r" (?:es )?(?:desconocid[oa]|inexistente|no existe"
        r"|no (?:se |fue |pudo ser )?encontr\w+)"
        rf"|{_PT}" + _MORE + r" (?:é |foi )?(?:desconhecid[oa]|inexistente|não existe"
        r"|não (?:foi )?encontrad[oa])"
        rf"|{_IT}" + _MORE + r" (?:è )?(?:sconosciut[oa]|inesistente|non esiste"
        r"|non trovat[oa]|errat[oa])"
        rf"|{_NL}" + _FEW + r" (?:is )?(?:onbekend|niet gevonden|bestaat niet)"
        rf"|{_PL}" + _FEW + r" (?:jest )?(?:nieznany|nie istnieje)"
        r"|nie ma takiego (?:konta|adresu|u[zż]ytkownika|odbiorcy)"
        r"|mottagare\w*" + _FEW + r" (?:är )?(?:okänd|finns inte|hittades inte)"
        rf"|{_RU}" + _FEW + r" не (?:найден|существует|зарегистрирован)"
        r"|нет такого (?:пользователя|адреса|ящика)"
        rf"|{_ZH}.{{0,12}}(?:不存在|未找到|找不到|无效|無效)|(?:无此|無此|没有该|沒有該)(?:用户"
        rf"|用戶|收件人)"
        rf"|{_JA}.{{0,80}}(?:存在しません|見つかりません)"
        r"|(?:사용자|수신자|주소|계정|받는 ?사람).{0,12}(?:존재하지 않|찾을 수 없)",
        550, "5.1.1",
    ),
)  # fmt: skip

# Words of possibility or advice before a phrase: then it does not state what has happened.
_HEDGED = re.compile(
    r"\b(?:may|might|could be|can be|possibl[ey]|perhaps|probably|likely|either|whether|if|unless"
    r"|verify|check|ensure|make sure|usually|often|sometimes|common\w*|typical\w*|möglich\w*"
    r"|eventuell|vielleicht|prüfen|falls|peut-être|si|vérifi\w+"
    r"|posibl\w+|verifi\w+|forse|possibil\w+|possível|talvez)\b(?:[^.!?:<\n]|\n(?!\n)){0,100}\Z"
)
#: Statuses whose phrases do not count after words of possibility or advice.
_STATEMENTS = frozenset({"5.1.1", "5.2.1", "5.4.4"})


# Cached, because a report with many recipients searches the same text for each of them.
@lru_cache(maxsize=8)
def reply_of(text: str) -> tuple[Phase, Reply] | None:
    """Return phase and reply that are equivalent to the first known phrase in a text, or None."""
    searched = text[:_READ_LIMIT].lower()
    for row in _ROWS:
        found = next(
            (
                one
                for one in row.words.finditer(searched)
                if row.status not in _STATEMENTS
                or not _HEDGED.search(searched, max(0, one.start() - 200), one.start())
            ),
            None,
        )
        if found:
            # The reply quotes the original text, unless lower case has changed its length (few
            # letters).
            written = text if len(searched) == len(text[:_READ_LIMIT]) else searched
            return row.phase, Reply(row.code, f"{row.status} {_sentence(written, found)}")
    return None


def _sentence(text: str, found: re.Match[str]) -> str:
    """Return the lines that contain a match."""
    start = text.rfind("\n", 0, found.start()) + 1
    end = text.find("\n", found.end())
    return " ".join(text[start : end if end >= 0 else None].split())
