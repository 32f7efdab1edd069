"""DNS records about mail: what they say, and what is wrong with them.

Pure: a look-up is an argument, and its answer a plain value (`answers`).
"""
