"""The ledger: one row for each recipient of each mailing, and what became of it.

It has no subscriber and no edition: a mailing, an address, a reference, as an SMTP queue has an
envelope. Letters and digests leave by the same rows. Editions and subscribers call down to enqueue
and cancel; answers come back as rows. `registry` has the processes that work on it.
"""
