"""The explorer: pages to look at it all, and the same as JSON (``?format=json``).

explorer     all pages together, as one blueprint
home         is everything well?
users        a user's list, and what the user did lately
items        what is similar to an item, and who gets it
generations  how good each was, two compared, one rolled back to
events       what comes in
rules        what the owner orders of lists: written, tried, in force, rolled back
reasons      what of a user's items makes their list
shell        what all pages share: form, headers, who may change something

They work without JavaScript; htmx only spares whole pages to be loaded while somebody types.
"""
