"""Three users and six films, published live by hand, and a key that may do all."""

from dataclasses import replace
from typing import Any

from app.contracts.keys import Key, digest, id_of, keys_key
from app.contracts.recommendations import Namespace, encode_document
from batch.generations.lock import hold
from batch.generations.publish import publish
from tests.generations import live_contents

KEY = f"larder_aaaaaaaa_{'k' * 43}"
BEARER = {"Authorization": f"Bearer {KEY}"}
EVERYTHING = {"auth": "on", "user_sample": True, "docs": True}
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


def publish_films(client: Any, namespace: Namespace) -> None:
    """User 15's films come in this order; the key has scope admin."""
    manifest, made = live_contents(namespace, USERS, list(FILMS), K)
    documents = [
        encode_document(item, f'{{"title":"{title}","genres":"{genres}"}}')
        for item, (title, genres) in FILMS.items()
    ]
    with hold(client, namespace) as lease:
        publish(client, namespace, manifest, replace(made, documents=documents), lease)
    client.hset(keys_key(namespace.name), str(id_of(KEY)), Key(digest(KEY), ("admin",)).encode())
