"""What is published, read back whole."""
