"""Subscribers: their addresses, cadences, states and recorded consent.

Commands and web routes call the use cases (`signup`, `preferences`, `unsubscribe`, `suppress`,
`forget`, `imports`, `exports`) in a transaction of their own; editions read the audience. Each
change of status or cadence writes a consent row in the same transaction, and each change that ends
a consent cancels the reader's open deliveries in the ledger. Queries are in `store` alone.
"""
