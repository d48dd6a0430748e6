"""What is published, read back whole, without a word of how it was made:

read     every list of a generation, some at a time
export   the same as a file; compare: what changed from one generation to another
"""
