"""The sender: sends the queued deliveries of the ledger over SMTP, within the configured limits.

`worker` claims rows by `ledger.queue`, fills in each reader's values, sends them over pipelined
SMTP sessions and records every reply. After a crash at most one message per connection is
uncertain, and none is lost.
"""
