"""Why a request of the retired service's API is not served, in that service's words."""

BAD_REQUEST = "BadRequest"
RANK = "InvalidRankRequest"
REWARD = "InvalidRewardRequest"
NOT_NOW = "OperationNotAllowed"
RANKING = "ModelRankingError"


class Refused(Exception):
    """An error of the envelope: its HTTP status, and its code, which clients compare."""

    def __init__(self, status: int, code: str, message: str, target: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.target = status, code, message, target
