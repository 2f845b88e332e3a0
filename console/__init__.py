"""The console: the pages at /ui that the service itself gives to people. It shows what the other rooms know.

Read `app.py` for how it is put together, `door.py` for who comes in, `api.py` for how it changes anything, and
docs/decisions/0017 for what it is made of.
"""
