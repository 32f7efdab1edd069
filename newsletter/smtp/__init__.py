"""The conversation with the mail server: connecting, one session's commands, what a reply means.

The delivery worker calls it. It knows envelopes and bytes; it never opens the database, and what
became of a message is always a value (an Outcome), never an exception.
"""
