"""Lists, and what they are made of and ruled by: users, items, rules."""
