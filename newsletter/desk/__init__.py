"""The operator's web view: a separate process and port, for this machine only.

At present it serves only /metrics and /healthz.
"""
