"""How decisions are learned: features, policies, and what a policy would have earned."""
