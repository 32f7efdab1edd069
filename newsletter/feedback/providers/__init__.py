"""Adapters of the providers' events (webhooks): one pure file for each, no I/O.

`verify` raises Rejected for a request that the provider has not signed for us, or that is too old;
`read` returns what the events come to. `request` is what they share, and `failures` has
`smtp.reply` decide what a reply in an event means: a provider's own classification counts only
where it gives no reply.
"""
