"""Rank and reward: one of the given actions, chosen by the live model, and logged first."""
