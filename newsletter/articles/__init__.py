"""Articles and where they come from: feeds are fetched, read, and taken in or held back.

`fetch` brings bytes, `sandbox` has them parsed by a child process, `parse` is what runs in there,
`matching` and `quarantine` decide which articles are new, `ingest` is the use case over them, and
`store` alone writes queries. The command line calls `ingest` and `store`; editions read articles
through `store`. Nothing here knows a reader, an edition or a mail.
"""
