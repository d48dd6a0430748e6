"""The explorer: pages to look at it all, and the same as JSON (``?format=json``).

They work without JavaScript; htmx only spares whole pages to be loaded while somebody types.
"""
