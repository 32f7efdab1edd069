"""Parses and evaluates DNS records about mail.

Pure functions: the look-up is an argument, and its answer a plain value (`answers`).
"""
