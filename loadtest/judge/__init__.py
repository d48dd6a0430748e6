"""What came back, what was measured of it, and the verdict."""
