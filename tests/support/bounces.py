"""Samples of returned mail in each kind and format, with the wording of large mail systems."""

from __future__ import annotations

from typing import NamedTuple

MESSAGE_ID = "<weekly-1.abc@miasfeed.example>"
SENT = f"""\
Return-Path: <bounces@miasfeed.example>
From: Mia's Feed <digest@miasfeed.example>
To: ada@readers.example
Subject: Mia's Feed, week 48
Message-ID: {MESSAGE_ID}

550 5.1.1 This is the digest itself: nobody reads it.
"""


class Sample(NamedTuple):
    """A returned mail, with the expected recipient and verdict of each report."""

    mail: str
    kind: str
    reports: list[tuple[str, str]]


def report(text: str, blocks: str, *, of: str = "delivery-status", sent: str = SENT) -> str:
    """Return a multipart/report (RFC 6522)."""
    return f"""\
From: Mail Delivery System <MAILER-DAEMON@mx.example>
To: bounces@miasfeed.example
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
Content-Type: multipart/report; report-type={of}; boundary="b"

--b
Content-Type: text/plain; charset=utf-8

{text}

--b
Content-Type: message/{of}

{blocks}

--b
Content-Type: message/rfc822

{sent}
--b--
"""


def prose(text: str, *, sender: str, subject: str, more: str = "") -> str:
    """Return a bounce without a delivery status: a text with the returned mail below it."""
    return (
        f"From: {sender}\nTo: bounces@miasfeed.example\nSubject: {subject}\n{more}\n{text}\n{SENT}"
    )


def block(action: str, code: str, diagnostic: str = "", who: str = "ada@readers.example") -> str:
    said = f"\nDiagnostic-Code: {diagnostic}" if diagnostic else ""
    return (
        f"Reporting-MTA: dns; mx.example\n\nFinal-Recipient: rfc822; {who}\nAction: {action}\n"
        f"Status: {code}{said}"
    )


def away(subject: str, more: str) -> str:
    return (
        f"From: Ada <ada@readers.example>\nReturn-Path: <>\nTo: digest@miasfeed.example\n"
        f"Subject: {subject}\n{more}\n"
        "I am away until 550. My old address ada@old.example does not exist: user unknown.\n"
    )


def feedback(fields: str) -> str:
    return report("This is an email abuse report.", fields, of="feedback-report")


ADA = "ada@readers.example"
SAMPLES: dict[str, Sample] = {
    "postfix: no such user": Sample(
        report(
            f"<{ADA}>: host mx.readers.example[192.0.2.1] said: 550 5.1.1 <{ADA}>: Recipient\n"
            "    address rejected: User unknown (in reply to RCPT TO command)",
            block("failed", "5.1.1", f"smtp; 550 5.1.1 <{ADA}>: Recipient address rejected"),
        ),
        "bounce",
        [(ADA, "dead")],
    ),
    "postfix: no such user, without a code of its own": Sample(
        report(
            f"<{ADA}>: host mx.readers.example[192.0.2.1] said: 550 User unknown (in reply to\n"
            "    RCPT TO command)",
            block("failed", "5.0.0", "smtp; 550 User unknown"),
        ),
        "bounce",
        [(ADA, "maybe")],
    ),
    "postfix: a filter after the body": Sample(
        report(
            f"<{ADA}>: host mx.readers.example[192.0.2.1] said: 554 5.7.1 Message rejected as\n"
            "    spam (in reply to end of DATA command)",
            block("failed", "5.7.1", "smtp; 554 5.7.1 Message rejected as spam"),
        ),
        "bounce",
        [(ADA, "ours")],
    ),
    "sendmail: every 550 is a 5.1.1, but the words are of a block list": Sample(
        report(
            f"----- Transcript of session follows -----\n>>> RCPT To:<{ADA}>\n"
            "<<< 550 Mail from 192.0.2.9 refused by blacklist",
            block("failed", "5.1.1", "SMTP; 550 Mail from 192.0.2.9 refused by blacklist"),
        ),
        "bounce",
        [(ADA, "ours")],
    ),
    "sendmail: user unknown": Sample(
        report(
            f"----- Transcript of session follows -----\n>>> RCPT To:<{ADA}>\n"
            f"<<< 550 5.1.1 <{ADA}>... User unknown",
            block("failed", "5.1.1", f"SMTP; 550 5.1.1 <{ADA}>... User unknown"),
        ),
        "bounce",
        [(ADA, "dead")],
    ),
    "postfix: delayed": Sample(
        report(
            f"<{ADA}>: connect to mx.readers.example[192.0.2.1]:25: Connection timed out",
            block("delayed", "4.4.1", "X-Postfix; connect to mx: Connection timed out"),
        ),
        "delayed",
        [(ADA, "delayed")],
    ),
    "a delay that quotes a 5xx": Sample(
        report("It will be retried.", block("delayed", "5.1.1", "smtp; 550 5.1.1 unknown")),
        "delayed",
        [(ADA, "delayed")],
    ),
    "given up after days": Sample(
        report("", block("failed", "4.4.1", "X-Postfix; connect to mx: Connection timed out")),
        "bounce",
        [(ADA, "later")],
    ),
    "delivered": Sample(
        report("Delivered.", block("delivered", "2.0.0", "smtp; 250 2.0.0 OK")),
        "delivered",
        [(ADA, "delivered")],
    ),
    "relayed": Sample(
        report("Relayed.", block("relayed (to non-DSN mailer)", "2.0.0")),
        "delivered",
        [(ADA, "delivered")],
    ),
    "exchange: recipient not found": Sample(
        report(
            f"Delivery has failed to these recipients or groups:\n\n{ADA}\n"
            "The email address you entered couldn't be found.",
            block(
                "failed", "5.1.10",
                "smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP "
                "address lookup",
            ),
        ),
        "bounce",
        [(ADA, "dead")],
    ),
    "gmail: mailbox full": Sample(
        report(
            f"Your message wasn't delivered to {ADA} because its inbox is full.",
            block("failed", "5.2.2", "smtp; 552-5.2.2 The recipient's inbox is out of storage\n"
                  " space. 552 5.2.2 https://mail.example/ d2e1 - gsmtp"),
        ),
        "bounce",
        [(ADA, "full")],
    ),
    "ses: suppressed by itself": Sample(
        report(
            "An error occurred while trying to deliver the mail to the following recipients:\n"
            + ADA,
            block("failed", "5.1.1", "smtp; 550 5.1.1 user unknown"),
        ),
        "bounce",
        [(ADA, "dead")],
    ),
    "outlook: access denied": Sample(
        report("", block("failed", "5.4.1", "smtp;550 5.4.1 Recipient address rejected: Access "
               "denied. AS(201806281)")),
        "bounce",
        [(ADA, "maybe")],
    ),
    "a deactivated mailbox": Sample(
        report("", block("failed", "5.0.0", f"smtp; 550 {ADA} is a deactivated mailbox")),
        "bounce",
        [(ADA, "maybe")],
    ),
    "our set-up": Sample(
        report("", block("failed", "5.7.26", "smtp; 550-5.7.26 This mail has been blocked "
               "because the sender is unauthenticated.")),
        "bounce",
        [(ADA, "ours")],
    ),
    "utf-8 addresses (RFC 6533)": Sample(
        report("", "Reporting-MTA: dns; mx.example\n\n"
               "Final-Recipient: utf-8; \\x{C5}sa@readers.example\nAction: failed\n"
               "Status: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 no such user",
               of="global-delivery-status"),
        "bounce",
        [("Åsa@readers.example", "dead")],
    ),
    "forwarded to a dead mailbox": Sample(
        report("", "Reporting-MTA: dns; mx.example\n\nOriginal-Recipient: rfc822;" + ADA + "\n"
               + block("failed", "5.1.1", "smtp; 550 5.1.1 no such user", "ada@old.example")
               .partition("\n\n")[2]),
        "bounce",
        [("ada@old.example", "dead"), (ADA, "maybe")],
    ),
    "exim, marked as an automatic reply": Sample(
        prose(
            "A message that you sent could not be delivered to one or more of its\nrecipients. "
            "This is a permanent error. The following address(es) failed:\n\n"
            f"  {ADA}\n    host mx.readers.example [192.0.2.1]\n"
            f"    SMTP error from remote mail server after RCPT TO:<{ADA}>:\n"
            "    550-5.1.1 The email account that you tried to reach\n"
            "    550 5.1.1 does not exist.\n\n"
            "------ This is a copy of the message, including all the headers. ------\n",
            sender="Mail Delivery System <Mailer-Daemon@mx.example>",
            subject="Mail delivery failed: returning message to sender",
            more=f"X-Failed-Recipients: {ADA}\nAuto-Submitted: auto-replied\n",
        ),
        "bounce",
        [(ADA, "dead")],
    ),
    "exim: its own words": Sample(
        prose(
            f"The following address(es) failed:\n\n  {ADA}\n    Unrouteable address\n",
            sender="Mailer-Daemon@mx.example",
            subject="Mail delivery failed",
        ),
        "bounce",
        [(ADA, "dead")],
    ),
    "qmail": Sample(
        prose(
            "Hi. This is the qmail-send program at mx.example.\nI'm afraid I wasn't able to "
            f"deliver your message to the following addresses.\n\n<{ADA}>:\n"
            "Sorry, no mailbox here by that name. (#5.1.1)\n\n"
            "--- Below this line is a copy of the message.\n",
            sender="MAILER-DAEMON@mx.example",
            subject="failure notice",
        ),
        "bounce",
        [(ADA, "dead")],
    ),
    "yahoo": Sample(
        prose(
            "Message from yahoo.example.\nUnable to deliver message to the following "
            f"address(es).\n\n<{ADA}>:\nThis user doesn't have a yahoo.example account ({ADA}) "
            "[-9]\n\n--- Original message follows.\n",
            sender="MAILER-DAEMON@yahoo.example",
            subject="Delivery failure",
        ),
        "bounce",
        [(ADA, "dead")],
    ),
    "domino": Sample(
        prose(
            "Your message\n\n  Subject: Mia's Feed\n\nwas not delivered to:\n\n"
            f"  {ADA}\n\nbecause:\n\n  User ada ({ADA}) not listed in Domino Directory\n",
            sender="Postmaster@readers.example",
            subject="DELIVERY FAILURE: User ada not listed in Domino Directory",
        ),
        "bounce",
        [(ADA, "dead")],
    ),
    "old exchange": Sample(
        prose(
            "Your message\n\n  To:      digest@miasfeed.example\n  Subject: Mia's Feed\n\n"
            f"did not reach the following recipient(s):\n\n{ADA} on Fri, 20 Nov 2026 11:08\n"
            "    The recipient name is not recognized\n",
            sender="System Administrator <postmaster@readers.example>",
            subject="Undeliverable: Mia's Feed",
        ),
        "bounce",
        [(ADA, "dead")],
    ),
    "in German": Sample(
        prose(
            f"Ihre Nachricht konnte nicht zugestellt werden an:\n\n<{ADA}>\n"
            "Das Postfach ist voll.\n",
            sender="MAILER-DAEMON@mx.example",
            subject="Unzustellbar: Mia's Feed",
        ),
        "bounce",
        [(ADA, "full")],
    ),
    "in French": Sample(
        prose(
            f"Votre message n'a pas pu être remis à :\n\n<{ADA}>\nDestinataire inconnu\n",
            sender="postmaster@mx.example",
            subject="Échec de la remise",
        ),
        "bounce",
        [(ADA, "dead")],
    ),
    "a delay in words": Sample(
        prose(
            "A message that you sent has not yet been delivered to one or more of its\n"
            f"recipients after 2 days.\n\n  {ADA}\n\nNo action is required on your part.\n",
            sender="Mail Delivery System <mailer-daemon@mx.example>",
            subject="Warning: message delayed 2 days",
        ),
        "delayed",
        [(ADA, "delayed")],
    ),
    "in Spanish": Sample(
        prose(
            f"No se pudo entregar a:\n\n<{ADA}>\nLa dirección de correo indicada no existe.\n",
            sender="postmaster@mx.example",
            subject="No se ha entregado: Mia's Feed",
        ),
        "bounce",
        [(ADA, "dead")],
    ),
    "in Portuguese": Sample(
        prose(
            f"A mensagem não foi entregue a:\n\n<{ADA}>\nA caixa de correio está cheia.\n",
            sender="postmaster@mx.example",
            subject="Falha na entrega",
        ),
        "bounce",
        [(ADA, "full")],
    ),
    "in Italian": Sample(
        prose(
            f"Mancata consegna a:\n\n<{ADA}>\nL'indirizzo del destinatario non esiste.\n",
            sender="postmaster@mx.example",
            subject="Mancata consegna",
        ),
        "bounce",
        [(ADA, "dead")],
    ),
    "in Russian": Sample(
        prose(
            f"Ваше письмо не может быть доставлено:\n\n<{ADA}>\nПользователь не найден.\n",
            sender="postmaster@mx.example",
            subject="Недоставленное сообщение",
        ),
        "bounce",
        [(ADA, "dead")],
    ),
    "in Chinese": Sample(
        prose(
            f"您的邮件无法投递:\n\n<{ADA}>\n收件人地址不存在。\n",
            sender="postmaster@mx.example",
            subject="退信",
        ),
        "bounce",
        [(ADA, "dead")],
    ),
    "in Japanese, from a directory": Sample(
        report(
            "",
            block(
                "failed", "5.0.0",
                f"X-Notes; ユーザー Ada ({ADA}) は\n ディレクトリには見つかりません。",
            ),
        ),
        "bounce",
        [(ADA, "dead")],
    ),
    "in Japanese, from an address of no mail system": Sample(
        "From: no-reply@mobile.example\nTo: bounces@miasfeed.example\nSubject: Mail\n"
        'Content-Type: multipart/mixed; boundary="b"\n\n--b\n'
        "Content-Type: text/plain; charset=utf-8\n\n送信できませんでした。\n\n"
        f"Your mail could not be\ndelivered to: <{ADA}>\n As their mailbox is full.\n\n--b\n"
        f"Content-Type: message/rfc822\n\n{SENT}\n--b--\n",
        "bounce",
        [(ADA, "full")],
    ),
    "a reader who has what mail systems are called": Sample(
        prose(
            "These addresses failed:\n\n<support@readers.example>:\nNo such user here.\n",
            sender="mailer-daemon@mx.example",
            subject="failure notice",
        ).replace(f"To: {ADA}", "To: readers:;"),
        "bounce",
        [("support@readers.example", "dead")],
    ),
    "a report of the one who wrote": Sample(
        prose(
            "Unable to deliver to:\n\n<bounces@miasfeed.example>:\nError: disk quota exceeded\n",
            sender="mailer-daemon@mx.example",
            subject="failure notice",
        ).replace(f"To: {ADA}", "To: readers:;"),
        "bounce",
        [("bounces@miasfeed.example", "full")],
    ),
    "without its boundary": Sample(
        report(
            f"The following addresses had permanent fatal errors:\n<{ADA}>\n",
            block("failed", "5.1.1", "smtp; 550 5.1.1 User unknown"),
        ).replace("--b\n", "").replace("--b--", ""),
        "bounce",
        [(ADA, "dead")],
    ),
    "sendmail: several in one transcript": Sample(
        prose(
            "----- The following addresses had permanent fatal errors -----\n"
            f"<{ADA}>\n<bob@readers.example>\n<cy@readers.example>\n\n"
            "----- Transcript of session follows -----\n"
            f">>> RCPT To:<{ADA}>\n<<< 550 5.7.1 Blocked\n>>> RCPT To:<bob@readers.example>\n"
            "<<< 550 5.1.1 User unknown\n",
            sender="mailer-daemon@mx.example",
            subject="Returned mail: see transcript for details",
        ),
        "bounce",
        [(ADA, "ours"), ("bob@readers.example", "dead"), ("cy@readers.example", "other")],
    ),
    "several, and a reason of all or of one": Sample(
        prose(
            f"No such user.\n\n<{ADA}>\n<bob@readers.example>\n",
            sender="mailer-daemon@mx.example",
            subject="failure notice",
        ),
        "bounce",
        [(ADA, "maybe"), ("bob@readers.example", "maybe")],
    ),
    "several, and a reason below that is of any of them": Sample(
        prose(
            f"Delivery to these failed permanently:\n\n{ADA}\n<bob@readers.example>\n\n"
            "550 5.1.1 No such user\n",
            sender="mailer-daemon@mx.example",
            subject="Mail Delivery Failure Notice",
        ),
        "bounce",
        [(ADA, "maybe"), ("bob@readers.example", "maybe")],
    ),
    "an address that could not be verified, with the status of none": Sample(
        report(
            "", block("failed", "5.1.1", "smtp; 550 5.1.1 unverified address: lookup failed")
        ),
        "bounce",
        [(ADA, "maybe")],
    ),
    "unknown or deactivated, in French and without accents": Sample(
        prose(
            f"<{ADA}>:\nDestinataire inconnu ou boite aux lettres desactivee\n",
            sender="mailer-daemon@mx.example",
            subject="failure notice",
        ),
        "bounce",
        [(ADA, "maybe")],
    ),
    "a sender that may be forged, with the status of none": Sample(
        report("", block("failed", "5.1.1", "smtp; 553 Possible forgery (#5.1.1)")),
        "bounce",
        [(ADA, "ours")],
    ),
    "an inactive address, with the status of none": Sample(
        report("", block("failed", "5.1.1", "smtp; 550 5.1.1 inactive email address")),
        "bounce",
        [(ADA, "maybe")],
    ),
    "a person's mail with such a word in its title": Sample(
        f"From: {ADA}\nTo: digest@miasfeed.example\nSubject: An undeliverable joke\n\nRead it?\n",
        "other",
        [],
    ),
    "a failure with the status of a success": Sample(
        report("", block("failed", "2.1.5", "smtp; 250 2.1.5 OK")), "bounce", [(ADA, "other")]
    ),
    "a source route": Sample(
        report("", block("failed", "5.1.1", "smtp; 550 5.1.1 User unknown", "@a.example:ada@host")),
        "bounce",
        [("ada@host", "dead")],
    ),
    "a suspended mailbox, with the status of none": Sample(
        report("", block("failed", "5.1.1", "smtp; 550 5.1.1 This account has been suspended")),
        "bounce",
        [(ADA, "maybe")],
    ),
    "a list that is closed, with the status of none": Sample(
        report("", block("failed", "5.1.1", "smtp; 550 5.1.1 You are not allowed to post here")),
        "bounce",
        [(ADA, "ours")],
    ),
    "a sender that is unknown, with the status of none": Sample(
        report("", block("failed", "5.1.1", "smtp; 550 5.1.1 Sender is unknown")),
        "bounce",
        [(ADA, "ours")],
    ),
    "a system that is wrong, with the status of none": Sample(
        report("", block("failed", "5.1.1", "smtp; 550 5.1.1 Local configuration error")),
        "bounce",
        [(ADA, "other")],
    ),
    "a quota in other words, with the status of none": Sample(
        report("", block("failed", "5.1.1", "smtp; 550 5.1.1 User is over the allowed quota")),
        "bounce",
        [(ADA, "full")],
    ),
    "an address on a host without a domain": Sample(
        report("", block("failed", "5.1.1", "smtp; 550 5.1.1 User unknown", "ada@mailhost")),
        "bounce",
        [("ada@mailhost", "dead")],
    ),
    "a reply that begins with the address": Sample(
        report(
            f"<{ADA}>: host mx said:\n 550-{ADA} is not an active\n 550 address here (in reply to\n"
            " RCPT TO command)",
            block("failed", "5.0.0", f"smtp; 550-{ADA} is not an active address here"),
        ),
        "bounce",
        [(ADA, "maybe")],
    ),
    "words of the mailbox, with a status of a policy": Sample(
        report("", block("failed", "5.7.1", "smtp; 550 5.7.1 No such user here")),
        "bounce",
        [(ADA, "maybe")],
    ),
    "words of a policy, with a status of the mailbox": Sample(
        report("", block("failed", "5.1.1", "smtp; 550 5.1.1 Refused by recipient preferences")),
        "bounce",
        [(ADA, "ours")],
    ),
    "words of a loop, with a status of the mailbox": Sample(
        report(
            f"<{ADA}>\n554 5.1.1 forwarding loop broken\n550 User unknown",
            block("failed", "5.1.1"),
        ),
        "bounce",
        [(ADA, "other")],
    ),
    "a name server that answers nonsense": Sample(
        report("", block("failed", "5.4.4", "X-Postfix; Malformed name server reply")),
        "bounce",
        [(ADA, "later")],
    ),
    "a full mailbox, with a status of the size": Sample(
        report("", block("failed", "5.2.3", "X-Postfix; maildir has overdrawn his disk quota")),
        "bounce",
        [(ADA, "full")],
    ),
    "sendmail: every 552 is a 5.2.2, but the words are of the size": Sample(
        report("", block("failed", "5.2.2", "SMTP; 552 Message size exceeds the limit")),
        "bounce",
        [(ADA, "ours")],
    ),
    "a full mailbox, as a comment on the status": Sample(
        report("", block("failed", "5.0.0 (recipient reached disk quota)")),
        "bounce",
        [(ADA, "full")],
    ),
    "a full mailbox in the words of a limit": Sample(
        report("", block("failed", "5.0.0", "smtp; 552 Message would exceed mailbox quota")),
        "bounce",
        [(ADA, "full")],
    ),
    "a list of what may have happened": Sample(
        prose(
            f"It was not delivered to\n\n  {ADA}\n\nPossible reasons are that the address is\n"
            "unknown or that the mailbox does not exist.\n",
            sender="postmaster@mx.example",
            subject="Undeliverable mail",
        ),
        "bounce",
        [(ADA, "other")],
    ),
    "an unknown sender": Sample(
        prose(
            f"It was not delivered to\n\n  {ADA}\n\nThe sender address does not exist.\n",
            sender="postmaster@mx.example",
            subject="Undeliverable mail",
        ),
        "bounce",
        [(ADA, "ours")],
    ),
    "a mailing list that takes mail of its members alone": Sample(
        prose(
            f"It was not delivered to\n\n  {ADA}\n\nYou are not a member of this list.\n",
            sender="postmaster@mx.example",
            subject="Undeliverable mail",
        ),
        "bounce",
        [(ADA, "ours")],
    ),
    "no longer available, but not the mailbox": Sample(
        prose(
            f"It was not delivered to\n\n  {ADA}\n\nThis service is no longer available.\n",
            sender="postmaster@mx.example",
            subject="Undeliverable mail",
        ),
        "bounce",
        [(ADA, "other")],
    ),
    "a title that reads like a reply of a mailbox": Sample(
        report("", block("failed", "5.1.1", "smtp; 550 5.1.1 User unknown")).replace(
            "Subject: Undelivered Mail Returned to Sender",
            "Subject: Undeliverable: Out of office: what doctors do on holiday",
        ),
        "bounce",
        [(ADA, "dead")],
    ),
    "an automatic reply that quotes a report": Sample(
        away("Automatic reply: Mia's Feed", "")
        + f"\nFinal-Recipient: rfc822; {ADA}\nAction: failed\nStatus: 5.1.1\n",
        "auto",
        [(ADA, "auto")],
    ),
    "an answer to a digest about mail": Sample(
        f"From: Ada <{ADA}>\nTo: digest@miasfeed.example\nSubject: Re: Mail delivery at last\n\n"
        "I moved. The address ada@old.example is no longer valid.\n",
        "other",
        [],
    ),
    "a list of what was sent, below the reply": Sample(
        "From: post_master@mobile.example\nSubject: Re: Mia's Feed\n\n"
        "Error: Invalid user address\n\n550 - Requested action not taken: no such user here\n\n"
        f"  MAIL FROM: bounces@miasfeed.example\n  RCPT TO: {ADA}\n  Size (in bytes): 39\n",
        "bounce",
        [(ADA, "maybe")],
    ),
    "of no mail system, by its subject": Sample(
        f"From: Gate <gate@readers.example>\nTo: bounces@miasfeed.example\n"
        f"Subject: Non-Delivery: Mia's Feed\n\n{ADA}: unknown user\n",
        "bounce",
        [(ADA, "maybe")],
    ),
    "a bounce without a reason": Sample(
        prose(
            f"Your message was not delivered to\n\n  {ADA}\n",
            sender="postmaster@mx.example",
            subject="Undeliverable mail",
        ),
        "bounce",
        [(ADA, "other")],
    ),
    "out of office": Sample(
        away("Out of office: Mia's Feed", "Auto-Submitted: auto-replied\n"), "auto", [(ADA, "auto")]
    ),
    "out of office, without a mark": Sample(
        away("Abwesenheitsnotiz: Mia's Feed", ""), "auto", [(ADA, "auto")]
    ),
    "out of office, by its mark alone": Sample(
        away("Re: Mia's Feed", "Auto-Submitted: auto-replied\n"), "auto", [(ADA, "auto")]
    ),
    "abuse": Sample(
        feedback(f"Feedback-Type: abuse\nUser-Agent: FBL/1\nVersion: 1\nOriginal-Rcpt-To: {ADA}"),
        "complaint",
        [(ADA, "complaint")],
    ),
    "fraud, without a recipient": Sample(
        feedback("Feedback-Type: fraud\nUser-Agent: FBL/1\nVersion: 1"),
        "complaint",
        [(ADA, "complaint")],
    ),
    "opt-out": Sample(
        feedback(f"Feedback-Type: opt-out\nVersion: 1\nRemoval-Recipient: {ADA}"),
        "unsubscribe",
        [(ADA, "opt-out")],
    ),
    "not spam": Sample(feedback("Feedback-Type: not-spam\nVersion: 1"), "other", [(ADA, "other")]),
    "auth-failure": Sample(
        feedback("Feedback-Type: auth-failure\nVersion: 1\nAuth-Failure: dkim"),
        "other",
        [(ADA, "ours")],
    ),
    "outlook's older complaints": Sample(
        "From: staff@hotmail.example\nSubject: complaint about message from 192.0.2.9\n"
        'Content-Type: multipart/mixed; boundary="b"\n\n--b\nContent-Type: message/rfc822\n\n'
        f"X-HmXmrOriginalRecipient: {ADA}\n{SENT}\n--b--\n",
        "complaint",
        [(ADA, "complaint")],
    ),
    "dmarc": Sample(
        "From: noreply-dmarc@provider.example\nTo: dmarc@miasfeed.example\n"
        "Subject: Report Domain: miasfeed.example Submitter: provider.example Report-ID: 47\n"
        "Content-Type: application/gzip\nContent-Transfer-Encoding: base64\n\nH4sIAAAA\n",
        "other",
        [("", "ours")],
    ),
    "apple": Sample(
        f"From: {ADA}\nTo: digest@miasfeed.example\nSubject: Unsubscribe\n"
        "Auto-Submitted: auto-replied\nX-Apple-Unsubscribe: true\n\n",
        "unsubscribe",
        [(ADA, "opt-out")],
    ),
    "a request by mail": Sample(
        f"From: {ADA}\nSubject: unsubscribe\n\nPlease.\n", "unsubscribe", [(ADA, "opt-out")]
    ),
    "a person": Sample(f"From: {ADA}\nSubject: Lunch?\n\nAt 550 Main Street.\n", "other", []),
}  # fmt: skip
