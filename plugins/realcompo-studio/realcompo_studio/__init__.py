"""The studio: a page in the browser on which pictures are composed, and the HTTP API under it.

`command.py` is the verb, `app.py` the application, `guard.py` what is refused before a route is asked. What draws is in `queue.py` and
`drawing.py`; what is kept on disk in `store.py`. Nothing here imports torch when it is imported: the first plan, check or picture does.
"""
