"""The ledger: the delivery queue, with one row per recipient and mailing, and its history.

It imports neither subscribers nor editions: a row has a mailing, an address and a reference, as an
entry of an SMTP queue has an envelope. Letters and digests use the same rows. Editions and
subscribers enqueue and cancel rows and read their states. `registry` lists the processes that work
on the queue.
"""
