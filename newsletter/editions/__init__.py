"""Editions: one digest per cadence and period, frozen once and then sent.

`assemble` decides (which articles for which readers, when an edition is due), `compose` renders the
mail, `audience` selects the readers in SQL, `store` has the other queries, and `publish` is the use
case on top. Commands and pages call `publish` and `store`. Frozen editions are sent through the
ledger, which does not depend on this package.
"""
