"""Editions: one digest of one cadence and period, frozen once and sent to the end.

`assemble` has the decisions (which articles for which readers, when an edition is due), `compose`
makes the mail, `audience` selects the readers, `store` has the other queries, and `publish` is the
use case over them. Commands call `publish` and `store`. Frozen mailings are sent by way of the
ledger, which does not depend on editions.
"""
