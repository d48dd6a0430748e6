"""``/items/<item>/similar``: what the users of an item also like."""

from flask import Blueprint, Response, request

from app.api import freshness, sources
from app.api.parameters import FILTER, clauses, length, only, path_identifier
from app.errors import NoSimilarItems, UnknownItem
from app.recommendations.answer import tagged
from app.recommendations.generation import quoted
from app.recommendations.ruled import allowed

bp = Blueprint("items", __name__)


@bp.get("/items/<id:item>/similar")
def similar(item: str) -> Response:
    """The items closest to an item, the best first; the score is the cosine of their factors."""
    generation = sources().watcher.live()
    path_identifier("item", item)
    only(request.args, ("n", FILTER))
    n = length(request.args.get("n"), generation.manifest.k)
    if not generation.manifest.similar_buckets:
        name = generation.manifest.generation
        raise NoSimilarItems(f"generation {name} was published without similar items")
    wanted = clauses(generation, request.args.getlist(FILTER))
    order = generation.order(sources().answers.now, wanted)
    found = sources().lookup.similar(generation, item)
    if found is None:
        raise UnknownItem(f"the live generation does not hold item {item!r}")
    is_complete = True
    if order is not None:
        found = allowed(order, found)
        is_complete = len(found.own or ()) >= n
    body = b'{"item":%s,"generation":"%s","similar":%s%s}' % (
        quoted(item),
        generation.manifest.generation.encode(),
        generation.render(found, n),
        b"" if is_complete else b',"complete":false',
    )
    return freshness.answer(body, tagged(generation.etag, order))
