"""The files of one input: found, unzipped, cut into pieces, read as one table."""
