"""What it costs to classify returned mails: processor time beside the standard library's parser."""

from __future__ import annotations

import email
import statistics
import time
from collections.abc import Callable, Sequence

from bounces import SAMPLES

from newsletter.feedback import bounce

#: Pairs of a round of ours and one of the parser, in turn; the median of their ratios counts.
TRIES = 9
#: Times that each mail is read in a round.
REPEATS = 40
#: The ratio that it may have: it parses a mail, decodes it and searches its words.
LIMIT = 5.0


def costs() -> list[tuple[float, float]]:
    """Return the processor microseconds of classifying a mail and of parsing it, by round."""
    mails = [sample.mail.encode() for sample in SAMPLES.values()]
    return [
        (_cost(bounce.read, mails), _cost(email.message_from_bytes, mails)) for _ in range(TRIES)
    ]


def ratio(found: Sequence[tuple[float, float]]) -> float:
    """Return the median of what each pair came to."""
    return statistics.median(ours / parser for ours, parser in found)


def _cost(read: Callable[[bytes], object], mails: Sequence[bytes]) -> float:
    begun = time.process_time()
    for _ in range(REPEATS):
        for mail in mails:
            read(mail)
    return (time.process_time() - begun) / REPEATS / len(mails) * 1e6
