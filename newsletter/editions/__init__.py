"""Editions: one digest of one cadence and period, frozen once and sent to the end.

`assemble` decides (which articles for whom, when an edition is due), `compose` makes the mail,
`audience` says in SELECTs who gets it, `store` holds the other queries, and `publish` is the use
case over them. Doors call `publish` and `store`. What is frozen here leaves by the ledger, which
knows no edition.
"""
