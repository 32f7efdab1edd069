"""The routes, one file for each part of a reader's way: each reads a request and calls a use case.

A route is plain `def`, opens one transaction, and answers with a page or JSON. What goes wrong is
raised as an error of the domain and becomes an answer in `newsletter.web.errors`.
"""
