"""What can go wrong in a request, and the status that says so.

Every answer that is an error is ``application/problem+json`` (RFC 9457): see ``app.http.problems``,
which also makes a path of each title here, where the first line of the docstring is the answer.
"""


class ServingError(Exception):
    """An error with a sentence for the caller."""

    status = 500
    title = "Internal error"


class BadSettings(ServingError):
    """A setting is wrong; the process must not start."""


class BadParameter(ServingError):
    """A parameter is missing or out of its range."""

    status = 400
    title = "Bad parameter"


class KeyNeeded(ServingError):
    """The request brings no key that holds here."""

    status = 401
    title = "Key needed"


class ScopeMissing(ServingError):
    """The key may not do what is asked for."""

    status = 403
    title = "Scope missing"


class UnknownUser(ServingError):
    """The live generation has no list for this user and the caller wants no other."""

    status = 404
    title = "Unknown user"


class UnknownItem(ServingError):
    """The live generation does not hold this item."""

    status = 404
    title = "Unknown item"


class UnknownGeneration(ServingError):
    """There is no such generation to look at or to roll back to."""

    status = 404
    title = "Unknown generation"


class NoSimilarItems(ServingError):
    """The live generation was published without similar items."""

    status = 404
    title = "No similar items"


class NoReasons(ServingError):
    """The live generation cannot tell why an item is in a list."""

    status = 404
    title = "No reasons"


class SampleForbidden(ServingError):
    """This deployment gives no user ids away."""

    status = 404
    title = "No sample"


class EventsOff(ServingError):
    """This deployment takes no events."""

    status = 404
    title = "No events"


class ClicksOff(ServingError):
    """This deployment has no click model."""

    status = 404
    title = "No click model"


class DecisionsOff(ServingError):
    """This deployment decides nothing about lists."""

    status = 404
    title = "No decisions"


class DocsOff(ServingError):
    """This deployment shows no documentation."""

    status = 404
    title = "No documentation"


class ForeignPage(ServingError):
    """A web page of an origin that LARDER_CORS_ORIGINS does not name wants to send events."""

    status = 403
    title = "Foreign page"


class Overtaken(ServingError):
    """Somebody else changed the same thing first; whoever asked must look again."""

    status = 409
    title = "Overtaken"


class TooLarge(ServingError):
    """The body is longer than the API takes."""

    status = 413
    title = "Request Entity Too Large"


class TooManyRequests(ServingError):
    """The key has asked more often than it may.

    wait_seconds: until it may again.
    """

    status = 429
    title = "Too many requests"

    def __init__(self, wait_seconds: float) -> None:
        super().__init__(f"this key may ask again in {wait_seconds:.2g} seconds")
        self.wait_seconds = wait_seconds


class DeletionForbidden(ServingError):
    """This deployment deletes no users over HTTP."""

    status = 403
    title = "No deletion"


class RulesForbidden(ServingError):
    """This deployment changes no rules over HTTP, or none for a page of another site."""

    status = 403
    title = "No change of rules"


class UnknownVersion(ServingError):
    """There is no such version of the rules, or it is not kept any more."""

    status = 404
    title = "Unknown version"


class RulesTaken(ServingError):
    """Another writer put rules in force at the same moment."""

    status = 409
    title = "Rules taken"


class RulesChanged(ServingError):
    """The rules in force are not those that the caller has seen."""

    status = 412
    title = "Rules changed"


class NothingPublished(ServingError):
    """The cache is there, but no generation was published to this namespace."""

    status = 503
    title = "Nothing published"


class CacheUnavailable(ServingError):
    """The cache is away and this worker has nothing to answer with."""

    status = 503
    title = "Cache unavailable"


class EventsUnavailable(ServingError):
    """The server of the events is away, full, or may not be written to; nothing is lost yet."""

    status = 503
    title = "Events unavailable"


class KeysUnknown(ServingError):
    """Nobody has told yet which keys there are."""

    status = 503
    title = "Keys unknown"


class NotReady(ServingError):
    """A worker of this server has nothing to answer with."""

    status = 503
    title = "Not ready"
