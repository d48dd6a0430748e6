"""What a refresh found, as one page that opens without a network.

sample  some users' lists, read back from the cache
page    the page that is made of them, of the metrics and of the generations before
"""
