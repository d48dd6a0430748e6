"""Automatic optimisation: every so many days the trainer looks for a better policy, and takes it.

It takes one only when the lower end of its interval is above what is earned with the one in use
(``evaluate.is_better``).
"""

import json
import logging
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from app.contracts.decisions import Decisions, Evaluation, Order, Policy
from batch.decisions.desk import Desk
from batch.decisions.judge.evaluate import ONLINE
from batch.decisions.terms import utc
from batch.generations.connect import Client, errors_of_keys

BEGUN = "optimised"
"""The desk's field: when the last one began, or the trainer first looked; ISO 8601 as JSON."""

_BEGIN = """
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
"""
# The policy of KEYS[2] is changed only if it still is what the evaluation compared with.
_SETTLE = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
if ARGV[4] ~= '' and (redis.call('HGET', KEYS[2], 'policy') or '') == ARGV[6] then
  redis.call('HSET', KEYS[2], 'policy', ARGV[4])
  redis.call('RPUSH', KEYS[3], ARGV[5])
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  return 1
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 0
"""

log = logging.getLogger("larder.decisions")


def begin(client: Client, space: Decisions, now: datetime) -> None:
    """Queue an evaluation when it is time for one."""
    desk = Desk(client, space)
    wanted = desk.configuration()
    if not wanted.optimises or wanted.mode != "Online":
        return
    with errors_of_keys("the cache", space.desk):
        text = client.hget(space.desk, BEGUN)
    if text is None and not wanted.optimise_from:
        desk.tell({BEGUN: now.isoformat(timespec="seconds")})
        return
    every = timedelta(days=wanted.optimise_days)
    last = utc(json.loads(text)) if text else datetime.min.replace(tzinfo=UTC)
    first = utc(wanted.optimise_from) if wanted.optimise_from else last + every
    if now < (first if last < first else last + every):
        return
    moment = now.isoformat(timespec="seconds")
    start = (now - every).isoformat(timespec="seconds")
    name = f"automatic {moment[:10]}"
    asked = Evaluation(str(uuid.uuid4()), name, start, moment, moment, search=True, automatic=True)
    keys = space.desk, space.evaluations
    with errors_of_keys("the cache", *keys):
        client.eval(_BEGIN, 2, *keys, BEGUN, json.dumps(moment), asked.id, asked.to_json())
    log.info("looking for a better policy: evaluation %s", asked.id)


def settle(client: Client, space: Decisions, found: Evaluation, before: bytes) -> bool:
    """Write what an automatic evaluation found, and use its best policy if that is better.

    before: ``Desk.policy_text`` when it began: a policy that an operator has set meanwhile stays.
    Returns whether it was applied.
    """
    best = [each for each in found.results if each["name"] == found.optimal != ONLINE]
    policy = order = ""
    if best:
        named = f"{found.optimal} of {found.name}"
        policy = Policy(named, best[0]["arguments"]).to_json()
        days = max(1, (utc(found.end) - utc(found.start)).days)
        order = Order("retrain", f"{named}, by automatic optimisation", days).to_json()
    short = replace(found, results=())
    applied, retained = (replace(short, status=each) for each in ("applied", "retained"))
    keys = space.evaluations, space.desk, space.orders
    with errors_of_keys("the cache", *keys):
        values = found.id, applied.to_json(), retained.to_json(), policy, order, before
        changed = bool(client.eval(_SETTLE, 3, *keys, *values))
    log.info("%s: %s", found.name, f"uses {found.optimal} now" if changed else "nothing changes")
    return changed
