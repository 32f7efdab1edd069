"""The ledger of deliveries and the worker that empties it.

It knows no subscriber and no edition: a mailing, an address, a reference. Letters and digests leave
by the same rows. Editions and subscribers call down to enqueue and cancel; answers come back as
rows. Nobody is lost, and after a crash at most one message per connection is uncertain.
"""
