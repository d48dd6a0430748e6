"""How likely is it that this user clicks this item: a click model that is loaded, and answers.

ranker     candidates in the order of their scores
follower   which model is live, asked in a thread
loading    a model on its way from the cache
scorer     the scores of rows, and what each column adds to them
rows       what callers know of users and items, as the rows that a model sees
known      what the cache knows of users, and a generation of lists of items
deletion   a user who is to be forgotten
"""
