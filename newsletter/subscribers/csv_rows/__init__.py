"""The sheets that readers come in and go out by: CSV as people and other systems write it.

A sheet is read twice. `survey` looks at all of it, tells which tool it comes from and what each
column is, and stops where a state is not understood; `read` then makes of each record an `Entry` or
a `Rejection`. No database, no file: a stream in, values out.
"""

from newsletter.subscribers.csv_rows.cells import guard, unguard
from newsletter.subscribers.csv_rows.columns import Choice
from newsletter.subscribers.csv_rows.encoding import decode
from newsletter.subscribers.csv_rows.entries import Entry, read
from newsletter.subscribers.csv_rows.records import Rejection
from newsletter.subscribers.csv_rows.survey import Survey, survey

__all__ = [
    "Choice",
    "Entry",
    "Rejection",
    "Survey",
    "decode",
    "guard",
    "read",
    "survey",
    "unguard",
]
