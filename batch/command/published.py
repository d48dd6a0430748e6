"""The subcommands about what is published: they need the cache, and no model library."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from app.contracts import generations
from app.contracts.generations import PUBLISHED, Space
from app.contracts.recommendations import Manifest
from app.contracts.refreshes import ROLLBACK
from batch.command.endings import note_rollback
from batch.command.options import CacheOptions
from batch.command.output.table import table
from batch.errors import UnknownGeneration
from batch.generations.connect import Client, connect
from batch.generations.lock import hold
from batch.generations.registry import Generations

if TYPE_CHECKING:  # it needs NumPy, which an emergency may lack
    from batch.recommendations.published.show import Shown

M = TypeVar("M", bound=generations.Manifest)


def tell(cache: CacheOptions, as_json: bool) -> None:
    """List the generations."""
    tell_of(cache, cache.namespace, _told, listing, as_json)


def tell_of(
    cache: CacheOptions,
    space: Space[M],
    told: Callable[[M], dict[str, Any]],
    shown: Callable[[Iterable[M], str | None], str],
    as_json: bool,
) -> None:
    """List the generations of a kind: told as JSON one by one, or shown with which is live."""
    known = Generations(connect(cache.url), space)
    manifests, live = known.all(), known.live()
    if as_json:
        each_told = [told(each) for each in newest_first(manifests)]
        body = {"namespace": space.name, "live": live, "generations": each_told}
        click.echo(json.dumps(body))
    elif manifests:
        click.echo(shown(manifests, live))
    else:
        click.echo(f"nothing is published in namespace {space.name!r}")


def show_of(
    cache: CacheOptions,
    space: Space[M],
    noun: str,
    name: str | None,
    described: Callable[[M], str],
    as_json: bool,
) -> None:
    """Say what is known of that generation, or of the live one; noun: what one is called."""
    client = connect(cache.url)
    manifest = manifest_of(client, space, noun, name)
    is_live = manifest.generation == Generations(client, space).live()
    shown = replace(manifest, state="live") if is_live else manifest
    click.echo(manifest.to_json() if as_json else described(shown))


def manifest_of(client: Client, space: Space[M], noun: str, name: str | None) -> M:
    """The manifest of that generation, or of the live one. Raises UnknownGeneration."""
    known = Generations(client, space)
    found = known.live_manifest() if name is None else known.find(name)
    if found is not None and found.state in PUBLISHED:
        return found
    if name is None:
        command = f"{space.infix.rstrip(':')} train"
        raise UnknownGeneration(f"no {noun} is live in {space.name!r}: run {command}")
    names = ", ".join(each.generation for each in known.published())
    raise UnknownGeneration(f"there is no {noun} {name!r}; published are: {names or 'none'}")


def newest_first(manifests: Iterable[M]) -> list[M]:
    """In the order in which they are listed."""
    return sorted(manifests, key=lambda manifest: manifest.generation, reverse=True)


def _told(manifest: Manifest) -> dict[str, Any]:
    return {
        "generation": manifest.generation,
        "state": manifest.state,
        "users": manifest.users,
        "items": manifest.items,
        "interactions": manifest.interactions,
        "k": manifest.k,
        "stored": manifest.stored,
        "similar": manifest.similar_buckets > 0,
        "follows": manifest.follows,
        "engine": manifest.engine,
        "ndcg": manifest.measured("ndcg"),
        "forced": manifest.forced,
        "document_bytes": manifest.document_bytes,
        "started_at": manifest.started_at,
        "published_at": manifest.published_at,
    }


def listing(manifests: Iterable[Manifest], live: str | None) -> str:
    """The generations of a namespace, the newest first."""
    rows = []
    for each in newest_first(manifests):
        ndcg = each.measured("ndcg")
        rows.append(
            [
                each.generation,
                "live" if each.generation == live else each.state,
                f"{each.users:,}",
                f"{each.items:,}",
                str(each.k),
                f"{ndcg:.4f}" if ndcg is not None else "-",
                "yes" if each.forced else "no",
            ]
        )
    return table(["generation", "state", "users", "items", "k", "nDCG", "forced"], rows)


def roll_back(generation: str | None, cache: CacheOptions) -> None:
    """Point at that generation, or at the one before the live one."""
    roll_back_of(cache, cache.namespace, generation, ROLLBACK)


def roll_back_of(cache: CacheOptions, space: Space[M], generation: str | None, kind: str) -> M:
    """Do so with generations of any kind; kind: what the record of it says."""
    client = connect(cache.url)
    manifest = Generations(client, space).roll_back(generation)
    note_rollback(client, cache, manifest.generation, kind)
    click.echo(f"live is {manifest.generation}; the API follows within two seconds")
    return manifest


def prune(cache: CacheOptions, keep: int) -> None:
    """Delete what is old or unfinished."""
    client = connect(cache.url)
    known = Generations(client, cache.namespace)
    with hold(client, cache.namespace):
        before = known.all()
        deleted = known.prune(keep)
    for line in reasons(before, known.live(), deleted, keep):
        click.echo(line, err=line.startswith("kept"))
    if not deleted:
        click.echo("deleted nothing")


def reasons(
    manifests: Iterable[Manifest], live: str | None, deleted: Iterable[str], keep: int
) -> Iterator[str]:
    """Say of each generation, the newest first, what became of it and why."""
    gone, next_back = set(deleted), None
    for each in newest_first(manifests):
        name, whole = each.generation, each.state in PUBLISHED
        if name in gone:
            yield f"deleted {name}: {f'beyond --keep {keep}' if whole else 'nobody finished it'}"
        elif name == live:
            yield f"kept {name}: it is live"
        elif next_back is None and each.state == "complete" and live is not None and name < live:
            next_back = name
            yield f"kept {name}: a rollback goes to it"
        else:
            withdrawn = ", though somebody rolled back from it" * (each.state == "withdrawn")
            yield f"kept {name}: within --keep {keep}{withdrawn}"


def list_text(found: "Shown") -> str:
    """Whose list it is, then an item a line."""
    head = f"{found.user!r} in generation {found.generation}: {found.source}"
    lines = [f"{score:8.4f}  {document}" for document, score in found.entries]
    return "\n".join([head, *(lines or ["(empty: this user has had every item)"])])


def list_json(found: "Shown") -> str:
    """The list as the API answers it."""
    entries = [
        {**json.loads(document), "score": float(f"{score:.4g}")}
        for document, score in found.entries
    ]
    body = {
        "user": found.user,
        "generation": found.generation,
        "source": found.source,
        "recommendations": entries,
    }
    return json.dumps(body, ensure_ascii=False)
