"""The routes, by topic: each parses a request and calls a use case.

A route is plain `def`, opens one transaction, and returns a page or JSON. Failures are raised as
errors of the domain, which `newsletter.web.errors` translates to responses.
"""
