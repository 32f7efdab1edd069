"""Articles and where they come from: feeds are fetched, read, and taken in or held back.

`fetch` brings bytes, `parse` turns them into articles, `matching` and `quarantine` decide which of
them are new, `ingest` is the use case over them, and `store` alone writes queries. The command line
calls `ingest` and `store`; editions read articles through `store`. Nothing here knows a reader, an
edition or a mail.
"""
