"""Rows to train on.

layout       how they are laid out; light to import
infer        what each of their columns is: a number, a category, nothing
cells        what their rows say, and what they are rejected for, as SQL
read         from files to a table of rows; users of what is known of users
impressions  impressions joined with clicks, as a folder to train on
generate     examples of our own making, whose truth is known
"""
