"""The operator's web view: a process and a port of its own, for this machine alone.

Today it has /metrics and /healthz; the operator's pages come here.
"""
