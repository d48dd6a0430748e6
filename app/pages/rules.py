"""Rules: write, try, put in force, go back to earlier ones; hide an item, and show it again."""

import json
from typing import Any

from flask import Response, request
from werkzeug.wrappers import Response as Answer

from app.api import sources
from app.api.lists import rules
from app.errors import BadParameter, RulesChanged
from app.pages.shell import asked, bp, changed, document_of, page
from app.recommendations.generation import Generation

BY = "the explorer"
_CHANGED = (
    "Rules changed while you wrote: somebody put others in force, which stand below. What you "
    "wrote is not in force; take over what you want to keep, then put it in force again."
)


@bp.get("/rules")
def edit_rules() -> Response:
    """The rules in force, their history, and a place to write others, or those of a version."""
    named = request.args.get("version")
    version = rules.latest() if named is None else rules.version_of(named)
    return _page(sources().watcher.live(), json.dumps(version.rules, ensure_ascii=False, indent=2))


@bp.post("/rules/try")
def try_rules() -> Response:
    """Whose lists would change, and how; nothing is kept."""
    generation, text = sources().watcher.live(), request.form.get("rules", "")
    try:
        told = rules.tried(generation, rules.checked(generation, text))
    except BadParameter as error:
        return _page(generation, text, 400, problem=str(error))
    examples = [
        {
            **each,
            "entered": [document_of(generation, item) for item in each["entered"]],
            "left": [document_of(generation, item) for item in each["left"]],
        }
        for each in told["examples"]
    ]
    return _page(generation, text, tried={**told, "examples": examples})


@bp.post("/rules/publish")
def publish_rules() -> Answer:
    """Put the rules in force, unless others came between."""
    generation, text = sources().watcher.live(), request.form.get("rules", "")
    try:
        found = rules.checked(generation, text)
    except BadParameter as error:
        return _page(generation, text, 400, problem=str(error))
    seen = [request.form.get("seen", "")]
    try:
        version = rules.publish(found, request.form.get("note", ""), BY, seen)
    except RulesChanged:
        return _page(generation, text, 412, problem=_CHANGED, others=True)
    return changed(rules.told(generation, version), "edit_rules", "in-force")


@bp.post("/rules/rollback")
def roll_back_rules() -> Answer:
    """Put the rules of an earlier version in force again."""
    old = rules.version_of(request.form.get("version"))
    note = f"rolled back to version {old.number}"
    version = rules.publish(old.rules, note, BY, None)
    return changed(version.head, "edit_rules", "in-force")


@bp.post("/hide")
def hide() -> Answer:
    """Show an item to nobody."""
    item = asked("id")
    return _hidden(item, [item], f"hid {item}")


@bp.post("/unhide")
def unhide() -> Answer:
    """Show an item again."""
    item = asked("id")
    return _hidden(item, [], f"showed {item} again")


def _hidden(item: str, more: list[str], note: str) -> Answer:
    before = rules.latest()
    others = [each for each in before.rules.get("hide", []) if each != item]
    version = rules.publish(
        {**before.rules, "hide": others + more}, note[:200], BY, [str(before.number)]
    )
    return changed(version.head, "item", "in-force", id=item)


def _page(generation: Generation, text: str, status: int = 200, **more: Any) -> Response:
    version = rules.latest()
    told = {
        "written": request.form.get("note", ""),
        **rules.told(generation, version),
        "columns": [[each.name, each.type] for each in generation.manifest.filter_columns],
        "versions": [each.head for each in rules.kept()],
        "text": text,
        **more,
    }
    response = page("rules.html", told)
    response.status_code = status
    return response
