"""The database: engines, transactions and the schema's migrations.

SQLite is the embedded default, PostgreSQL the engine past one machine; both run the same code.
Everything above opens a transaction here and hands its Session down; nothing here knows a query
of the domain.
"""
