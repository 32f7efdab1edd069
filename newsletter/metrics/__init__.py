"""Metrics for Prometheus, read from the database at each scrape.

`catalog` defines the metrics, `readings` reads them in one transaction, `exposition` formats them.
"""
