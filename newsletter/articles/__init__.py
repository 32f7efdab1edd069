"""Articles and their feeds: fetch, parse, match with stored articles, quarantine or store.

`fetch` downloads a feed, `sandbox` runs `parse` in a child process, `matching` and `quarantine`
decide which articles are new, `ingest` is the use case over them, and `store` has all queries. The
command line calls `ingest` and `store`; editions read articles through `store`. Nothing here
depends on subscribers, editions or mail.
"""
