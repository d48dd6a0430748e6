"""Which list does this user get now?"""
