"""The database: engines, transactions, locks and schema migrations.

SQLite is the embedded default, PostgreSQL the engine for several machines; both run the same code.
Use cases open a transaction here and pass its Session to the functions that they call. Queries of
the domain are in the packages above.
"""
