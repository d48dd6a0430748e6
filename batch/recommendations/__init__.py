"""Every user's top-k: from interactions to a published generation:

terms        on what terms a model is trained, judged and published; light to import
pipeline     judge, gate, train on everything, publish
one_machine  arrays in memory, one engine
cluster      the same on Spark
split        hold out
engines      what learns factors
topk         the best unseen items; what is evaluated and what is served
descent      how they are found without most of the products
evaluate     how good lists are; ratings: how good predicted ratings are
lists        lists as the cache keeps them
show         read one user's list back; deletion: take one user out
published    all lists read back: as files, or compared
"""
