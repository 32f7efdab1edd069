"""The operator's web view: a process and port of its own, for people who sign in.

Every page reads by the read models of the rooms beneath, and every form calls the same use cases as
the command line. `/metrics` and `/healthz` need no session.
"""
