"""Turns plain content into mail: words and layout by Jinja2, then one compiled message with slots.

Editions and subscribers call it once per mailing; the sender fills its slots. It has no table, no
setting and no router: dataclasses in, bytes out, and nothing here ever opens a connection.
"""
