"""Three users and six films, published live by hand, a click model, and a key that may do all."""

from dataclasses import replace
from typing import Any

import numpy as np

from app.contracts.clicks import Clicks, Column, value_key
from app.contracts.keys import Key, digest, id_of, keys_key
from app.contracts.recommendations import Namespace, encode_document
from batch.clicks.model import Model, Values
from batch.generations.lock import hold
from batch.generations.publish import publish
from tests.clicks import model, publish_by_hand
from tests.generations import live_contents

KEY = f"larder_aaaaaaaa_{'k' * 43}"
BEARER = {"Authorization": f"Bearer {KEY}"}
EVERYTHING = {"auth": "on", "user_sample": True, "docs": True, "clicks": "on", "decisions": "on"}
"""Settings of the API, which also takes events."""
K = 3
USERS = ["15", "4711", "23"]
FILMS = {
    "356": ("Forrest Gump (1994)", "Comedy|Drama|Romance|War"),
    "296": ("Pulp Fiction (1994)", "Comedy|Crime|Drama|Thriller"),
    "318": ("Shawshank Redemption, The (1994)", "Crime|Drama"),
    "593": ("Silence of the Lambs, The (1991)", "Crime|Horror|Thriller"),
    "260": ("Star Wars: Episode IV - A New Hope (1977)", "Action|Adventure|Sci-Fi"),
    "1": ("Toy Story (1995)", "Adventure|Animation|Children|Comedy|Fantasy"),
}


COLUMNS = (Column("price", "number"), Column("genres", "category"), Column("device", "category"))
LIKED = {"Crime|Drama": 0.5, "Crime|Horror|Thriller": 0.125}
"""The mean of the label by genres; the model likes those above .25, see ``tests.clicks``."""


def click_model() -> Model:
    """One that knows the films by their genres, and user 15 by their device."""
    made, known = model(), sorted(LIKED, key=value_key)
    means = np.array([LIKED[each] for each in known], np.float32)
    keys = np.array([value_key(each) for each in known], np.uint64)
    genres = Values(keys, means, (means / 4).astype(np.float32), np.zeros(len(known), np.float32))
    return replace(made, columns=COLUMNS, tables=[genres, made.tables[1]])


def publish_films(client: Any, namespace: Namespace) -> None:
    """User 15's films come in this order, and on a desk; the key has scope admin."""
    manifest, made = live_contents(namespace, USERS, list(FILMS), K)
    documents = [
        encode_document(item, f'{{"title":"{title}","genres":"{genres}"}}')
        for item, (title, genres) in FILMS.items()
    ]
    with hold(client, namespace) as lease:
        publish(client, namespace, manifest, replace(made, documents=documents), lease)
    users = {"15": b'{"device":"desk"}'}
    publish_by_hand(client, Clicks(namespace.name), made=click_model(), users=users)
    client.hset(keys_key(namespace.name), str(id_of(KEY)), Key(digest(KEY), ("admin",)).encode())
