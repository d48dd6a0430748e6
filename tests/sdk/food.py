"""The world of the service's quickstart: which of five dishes will one of three users buy?

In the Midwest Bill buys what is low in carbohydrates, elsewhere what costs less than 10; Satya buys
what is low in sodium, Amy what is vegan or vegetarian. Of its features, as of the quickstart's,
many are nested, and some are beside the point.
"""

from random import Random
from typing import Any

from batch.datasets.coffee import Situation

_DIETS = ("vegan", "low_carb", "high_protein", "vegetarian", "low_fat", "low_sodium")
_DISHES: dict[str, tuple[str, int, str, set[str]]] = {
    "pasta": ("pasta_inc", 12, "italian", {"low_fat", "low_sodium"}),
    "bbq": ("ambisco", 20, "bbq", {"low_carb", "high_protein"}),
    "bao": ("bao_and_co", 8, "chinese", {"low_carb", "high_protein", "low_fat"}),
    "hummus": ("garbanzo_inc", 5, "breakfast", {"vegan", "high_protein", "vegetarian"}),
    "veg_platter": ("farm_fresh", 7, "produce", set(_DIETS) - {"high_protein"}),
}
_USERS: dict[str, dict[str, Any]] = {
    "Bill": {"dietary_preferences": "low_carb", "avg_order_price": "0-20"},
    "Satya": {"dietary_preferences": "low_sodium", "avg_order_price": "201+"},
    "Amy": {"dietary_preferences": {"vegan"}, "avg_order_price": "21-50"},
}
"""Amy's set is no JSON: the SDK sends it as the text that Python prints, as in the quickstart."""


def meet(random: Random) -> Situation:
    """Somebody opens the application."""
    user, place = random.choice(list(_USERS)), random.choice(["west", "east", "midwest"])
    part, browser = random.choice(["morning", "evening"]), random.choice(["edge", "safari"])
    context = [_USERS[user], {"location": place}, {"time_of_day": part}, {"application": browser}]
    actions = [{"id": dish, "features": [_features(dish)]} for dish in _DISHES]
    return Situation(context, actions, {dish: _bought(user, place, dish) for dish in _DISHES})


def _features(dish: str) -> dict[str, Any]:
    company, price, kind, diets = _DISHES[dish]
    return {
        "brand_info": {"company": company},
        "attributes": {"price": price, "category": kind},
        "dietary_attributes": {diet: diet in diets for diet in _DIETS},
    }


def _bought(user: str, place: str, dish: str) -> float:
    _, price, _, diets = _DISHES[dish]
    if user == "Bill":
        return float("low_carb" in diets if place == "midwest" else price < 10)
    return float("low_sodium" in diets if user == "Satya" else "vegan" in diets)
