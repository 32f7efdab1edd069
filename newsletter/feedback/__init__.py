"""Feedback: mails that come back: bounces, complaints, and requests to unsubscribe.

`bounce` reads what a mail comes to, in pure files: `mime` (parts), `status` (what is made for
machines), `prose` and `vendors` (texts), `complaints` and `signs`. `mailbox` reads mails, `report`
decides what a reader requests, and `apply` does it. Mailboxes are never modified, and reading one
again is idempotent. Bounces and complaints are shown and change nothing yet.
"""
