"""Feedback: what comes back of a mail: bounces, complaints, requests to unsubscribe.

`reports` are the values. `bounce` reads what a mail comes to, in pure files: `mime` (parts),
`status` (what is made for machines), `prose` and `vendors` (texts), `complaints`, `unsubscription`
and `signs`. `mailbox` reads mails. `apply` finds whose mail it was, and does what a report says.
"""
