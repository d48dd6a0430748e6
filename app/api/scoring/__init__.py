"""How likely clicks are: what is asked, and what is answered."""
