"""What a training found, as one page that opens without a network."""
