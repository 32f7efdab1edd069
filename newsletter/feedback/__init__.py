"""Feedback about sent mail: bounces, complaints and requests to unsubscribe.

`reports` has the values. `bounce` parses a returned mail with the help of other pure files: `mime`
(headers and parts), `status` (machine-readable parts), `prose` and `vendors` (texts), `complaints`,
`unsubscription` and `signs` (kinds of mail). `mailbox` reads mails. `apply` finds the delivery that
a report is about, and changes subscribers and suppressions accordingly.
"""
