"""The readers' side on the web: pages, forms and a small API, served by `newsletter serve`.

Routes read a request, call one use case of a room below and render a page. No GET changes anything.
"""
