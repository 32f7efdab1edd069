"""What a connection costs: PORT SECURITY TIMES, with certificates from SSL_CERT_FILE.

Opens and closes connections one after the other, each as the first one of its process ("first"),
with the certificates read but no session ("full"), and with both ("resumed"); prints microseconds
of the processor for each as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from typing import Literal, cast

from newsletter.sender.worker import new_event_loop
from newsletter.smtp import pool
from newsletter.smtp.server import SmtpServer
from newsletter.smtp.tls import Trust

_PORT, _TIMES = int(sys.argv[1]), int(sys.argv[3])
_SERVER = SmtpServer(
    host="127.0.0.1",
    port=_PORT,
    username=None if sys.argv[2] == "plain" else "mia",
    password=None if sys.argv[2] == "plain" else "open sesame",
    security=cast("Literal['plain', 'starttls']", sys.argv[2]),
    hostname="sender.test",
)


async def _each(trust: Callable[[], Trust]) -> float:
    trusts = [trust() for _ in range(_TIMES)]
    begun = time.process_time()
    for each in trusts:
        session = await pool.connect(_SERVER, trust=each)
        await session.quit()
    return 1e6 * (time.process_time() - begun) / _TIMES


async def _main() -> dict[str, float]:
    known = Trust()
    await _each(lambda: known)

    def without_session() -> Trust:
        return Trust(known.context)

    # The sessions are those of the context: the last Trust that used it has them.
    first, full = await _each(Trust), await _each(without_session)
    kept = Trust(known.context)
    return {"first": first, "full": full, "resumed": await _each(lambda: kept)}


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        print(json.dumps(runner.run(_main())))
