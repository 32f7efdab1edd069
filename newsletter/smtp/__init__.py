"""The SMTP client: connecting, sessions, classification of replies, choice of the relay.

It handles envelopes and bytes and never opens the database. The result of a message is always a
value (an Outcome), never an exception.
"""
