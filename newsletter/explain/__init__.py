"""Explains one reader: what they got, what they did not get and why, and what comes next.

`store` reads the facts, the other modules turn them into sentences, and a command prints the page.
"""
