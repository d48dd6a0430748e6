"""``larder clicks``: what reads, trains, publishes and serves click models."""
