"""How what somebody did lately changes the list that they get now.

lookup      what is asked in a request: the list, and what its user did lately
following   what follows from both
neighbours  how it does where no model says so
recent      what somebody did lately, as it is stored
tail        follows the events that other workers took
"""
