"""What an evaluation found, as one page that opens without a network."""
