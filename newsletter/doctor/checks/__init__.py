"""Checks of the DNS records of the sender and its relays, one module per subject.

Pure functions: they get the look-up as an argument, and return findings.
"""
