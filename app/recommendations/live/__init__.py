"""How what somebody did lately changes the list that they get now."""
