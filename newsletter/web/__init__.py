"""The readers' pages and forms, and a small JSON API, served by `newsletter serve`.

Routes parse a request, call one use case of a package below and render a page. GET is read-only.
"""
