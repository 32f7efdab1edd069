"""Subscribers: who reads, how often, and how they agreed to it.

The doors call the use cases (`signup`, `preferences`, `unsubscribe`, `suppress`, `forget`,
`imports`, `exports`) in a transaction of their own; editions read the audience. Each change of
status or cadence writes a consent row in the same transaction, and whatever ends a consent takes
back the reader's open deliveries by calling down to the ledger. Queries live in `store` alone.
"""
