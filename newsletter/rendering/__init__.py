"""Renders plain content as mail: text and layout by Jinja2, then one compiled message with slots.

Editions and subscribers call this package once per mailing; the sender fills the slots. It depends
on no table, setting or router, and opens no connection: dataclasses in, bytes out.
"""
