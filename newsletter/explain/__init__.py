"""Explains one reader: what they got, what they did not get and why, and what comes next.

`store` reads the facts, `causes` and `words` say what they mean; a door prints the page.
"""
