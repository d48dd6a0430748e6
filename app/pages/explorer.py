"""All pages: each module puts its own on the blueprint."""

from app.pages import events, generations, home, items, rules, users
from app.pages.shell import bp

__all__ = ["bp", "events", "generations", "home", "items", "rules", "users"]
