"""What operators ordered, done by the trainer in its turn: each makes a model to go on with."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from app.contracts.decisions import DAY_MS, Order, Policy
from app.contracts.events import ms_of, order
from app.contracts.learning import policies
from batch.decisions import imported, logs
from batch.decisions.desk import Desk
from batch.decisions.judge.guard import same
from batch.decisions.learner import BrokenModel, Learner, problem_of
from batch.decisions.loop.join import Rules
from batch.decisions.loop.training import Training
from batch.decisions.terms import Joined
from batch.errors import BadInteractions, BadModel

IMPORTED = "imported"
"""The policy of a model that was brought."""

log = logging.getLogger("larder.decisions")


def begun(desk: Desk, position: str, policy: Policy | None = None) -> Training:
    """A model that has learned nothing, as operators want it now. Raises BadPolicy.

    policy: in place of the one at the desk.
    """
    policy, rules = policy or desk.policy(), Rules.of(desk.configuration())
    return Training(Learner.fresh(policy.arguments), policy, rules, position)


def follow(
    wanted: Order,
    desk: Desk,
    folder: Path | None,
    now: int,
    ours: Training,
    tell: Callable[[], None],
) -> Training:
    """Do what was ordered; returns the model to publish, and to go on with.

    now: ms since 1970; tell: is called while it takes long. Raises BadPolicy, BadModel or
    BrokenModel; then nothing has changed.
    """
    match wanted.do:
        case "reset":
            return begun(desk, ours.position)
        case "retrain":
            return retrained(desk, folder, now, ours.position, tell, days=wanted.days)
        case "import":
            return _imported(desk, ours)
        case "delete_logs" if folder is not None:
            log.info("deleted %d file(s) of logs", logs.delete(folder))
    return ours


def retrained(
    desk: Desk,
    folder: Path | None,
    now: int,
    position: str,
    tell: Callable[[], None],
    policy: Policy | None = None,
    days: int = 0,
) -> Training:
    """A model that has learned the last days of the logs, by the rules of now. Raises BadPolicy.

    Where the policy is that of the model that was brought, on top of what that has learned.
    policy: in place of the one at the desk; days: in place of ``retrain_days``, 0 for these.
    """
    made = begun(desk, position, policy)
    if made.policy.name == IMPORTED:
        _put_below(made, desk)
    start = now - (days or desk.configuration().retrain_days) * DAY_MS
    try:
        for joined in _by(made.rules, logs.read(folder, start) if folder else iter(())):
            made.learn(joined)
            tell()
    except BadInteractions as error:
        log.warning("learned anew without this file, and those behind it: %s", error)
    log.info("learned %d decisions of the logs anew, by policy %r", made.events, made.policy.name)
    return made


def _put_below(made: Training, desk: Desk) -> None:
    """Let the model begin as the one that was brought, if that is of its policy."""
    try:
        found = imported.check(desk.imported(), "the model that was brought")
        if same(found.arguments, made.policy.arguments):
            learner = Learner.load(found.model, made.policy.arguments)
            made.learner.close()
            made.learner = learner
    except (BadModel, BrokenModel) as error:
        log.warning("learned anew without the model that was brought: %s", error)


def unless_empty(made: Training, ours: Training) -> Training:
    """What was made; ours by its rules, where it has learned nothing, and by the same policy."""
    if made is ours or made.events or not same(made.policy.arguments, ours.policy.arguments):
        return made
    made.learner.close()
    learner = Learner.load(ours.learner.save(), ours.policy.arguments)
    told = ours.position, ours.events, ours.settings, ours.metrics
    return Training(learner, ours.policy, made.rules, *told)


def catch_up(made: Training, folder: Path, position: str) -> None:
    """Let a model learn what the logs hold behind the last entry that it has learned."""
    try:
        for joined in logs.read(folder, ms_of(position)):
            if joined.counts and order(joined.position) > order(position):
                made.learn(joined)
    except BadInteractions as error:
        log.warning("learned without this file, and those behind it: %s", error)


def _by(rules: Rules, rows: Iterator[Joined]) -> Iterator[Joined]:
    """Those that count, with the rewards that these rules give them.

    What was imported keeps its own where nobody knows what was observed.
    """
    for row in rows:
        if row.counts and not problem_of(row):
            knows = row.position or row.observed
            rewards = rules.rewards(row.slots, row.observed) if knows else row.rewards
            yield row._replace(rewards=rewards)


def _imported(desk: Desk, ours: Training) -> Training:
    """The model that was given, which goes on to learn what comes. Raises BadModel, BrokenModel."""
    found = imported.check(desk.imported(), "the model that was brought")
    exploration = desk.configuration().exploration
    arguments = policies.with_exploration(found.arguments, exploration)
    learner, policy = Learner.load(found.model, arguments), Policy(IMPORTED, arguments)
    desk.use(policy)
    return Training(learner, policy, ours.rules, ours.position)
