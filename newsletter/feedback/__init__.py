"""Feedback: mails that come back. For now requests to unsubscribe by mail (mailto links).

`mailbox` reads the headers of mails, `report` decides without I/O what they request, and `apply`
does it. Mailboxes are never modified, and reading one again is idempotent.
"""
