"""Reads lists of subscribers from CSV files of people and other systems.

A file is read twice. `survey` reads all of it, finds the tool that wrote it and the role of each
column, and raises if a state is not understood; `read` then yields an `Entry` or a `Rejection` for
each record. No database and no files: a stream in, values out.
"""

from newsletter.subscribers.csv_rows.cells import guard, unguard
from newsletter.subscribers.csv_rows.columns import Choice
from newsletter.subscribers.csv_rows.encoding import decode
from newsletter.subscribers.csv_rows.entries import Entry, read
from newsletter.subscribers.csv_rows.records import Rejection
from newsletter.subscribers.csv_rows.survey import Survey, columns, survey

__all__ = [
    "Choice",
    "Entry",
    "Rejection",
    "Survey",
    "columns",
    "decode",
    "guard",
    "read",
    "survey",
    "unguard",
]
