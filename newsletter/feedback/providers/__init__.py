"""Adapters of the providers' events (webhooks): one pure file for each, no I/O.

`verify` raises Rejected for a request that the provider has not signed for us, or that is too old;
`read` returns its events as arrivals. `request` has what the adapters share. `failures` classifies
SMTP replies in events by `smtp.reply`; a provider's own classification counts only if an event has
no reply.
"""
