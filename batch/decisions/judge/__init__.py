"""What policies would have earned by the logs, and what follows from that."""
