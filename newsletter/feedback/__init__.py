"""Feedback: what comes back by mail. For now the mailto form of unsubscribing.

A mail is headers to `report`, which decides without I/O what it asks for; `mailbox` finds the mails
and `apply` does what they ask. A mailbox is only read: to read it again is harmless.
"""
