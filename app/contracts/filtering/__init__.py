"""Which items may be shown: what is asked, and the columns that it is asked of."""
