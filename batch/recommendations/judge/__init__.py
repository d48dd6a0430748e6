"""How good lists are: what is held out, and what is measured on it."""
