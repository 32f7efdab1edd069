"""Metrics for Prometheus: what an operator's monitoring reads, from the database at each scrape.

`catalog` names them, `readings` reads them in one transaction, `exposition` writes them.
"""
