"""``/items/<item>/similar``: what the users of an item also like."""

from flask import Blueprint, Response, request

from app.api import freshness, sources
from app.api.parameters import length, only, path_identifier
from app.errors import NoSimilarItems, UnknownItem
from app.recommendations.generation import quoted

bp = Blueprint("items", __name__)


@bp.get("/items/<id:item>/similar")
def similar(item: str) -> Response:
    """The items closest to an item, the best first; the score is the cosine of their factors."""
    generation = sources().watcher.live()
    path_identifier("item", item)
    only(request.args, ("n",))
    n = length(request.args.get("n"), generation.manifest.k)
    if not generation.manifest.similar_buckets:
        name = generation.manifest.generation
        raise NoSimilarItems(f"generation {name} was published without similar items")
    found = sources().lookup.similar(generation, item)
    if found is None:
        raise UnknownItem(f"the live generation does not hold item {item!r}")
    body = b'{"item":%s,"generation":"%s","similar":%s}' % (
        quoted(item),
        generation.manifest.generation.encode(),
        generation.render(found, n),
    )
    return freshness.answer(body, generation.etag)
