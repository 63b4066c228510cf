"""Which sections there are, under which headings and in which order."""

from __future__ import annotations

from collections.abc import Callable

from polymodal.report.facts import Facts
from polymodal.report.html import section
from polymodal.report.sections.given import data, settings
from polymodal.report.sections.inside import information, latent_map, partition
from polymodal.report.sections.robustness import combinations, missing
from polymodal.report.sections.training import health, training
from polymodal.report.sections.trust import calibration, coverage
from polymodal.report.sections.worth import worth

TITLES = {
    "combinations": "Every combination of inputs",
    "missing": "As inputs go missing",
    "worth": "What each input is worth",
    "calibration": "How honest its confidences are",
    "coverage": "Prediction sets and their promise",
    "map": "The shared space",
    "information": "What inputs say alike, and alone",
    "partition": "How the model divides its inputs",
    "training": "Training",
    "health": "Health",
    "data": "Data",
    "settings": "Settings and versions",
}
"""Topic -> heading, in the order of the page."""

SHOWN: dict[str, Callable[[Facts], list[str]]] = {
    "combinations": combinations,
    "missing": missing,
    "worth": worth,
    "calibration": calibration,
    "coverage": coverage,
    "map": latent_map,
    "information": information,
    "partition": partition,
    "training": training,
    "health": health,
    "data": data,
    "settings": settings,
}


def rendered(facts: Facts) -> dict[str, str]:
    """Topic -> its section, for all topics that apply."""
    there = [name for name in TITLES if name in facts.topics]
    return {name: section(name, title_of(facts, name), SHOWN[name](facts)) for name in there}


def title_of(facts: Facts, name: str) -> str:
    """The heading of a topic."""
    title = TITLES[name]
    return title.replace("sets", "intervals") if facts.kind == "regression" else title
