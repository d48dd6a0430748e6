"""What a run says, on a terminal, as JSON and as a page."""
