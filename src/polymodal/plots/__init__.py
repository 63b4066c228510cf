"""Plots: a table or a history onto matplotlib axes.

Every plot is ``(table, ax) -> ax``; :func:`figure` makes axes without pyplot and without a screen:

    fig, ax = figure()
    robustness_curve(table, ax)
    fig.savefig("robustness.png")

Colours are those of Okabe and Ito, which colour-blind readers can tell apart; line styles and markers say
the same once more. Floors, if named, are grey.
"""

from polymodal.plots.canvas import COLOURS, GREYS, MARKERS, figure, panels
from polymodal.plots.information import information_bars
from polymodal.plots.partition import (
    cut_histogram,
    feature_map,
    gate_curves,
    share_bars,
    share_history,
)
from polymodal.plots.ranking import critical_difference_diagram
from polymodal.plots.robustness import rate_curve, robustness_curve, subset_heatmap
from polymodal.plots.training import qq_reference, training_curves
from polymodal.plots.trust import coverage_bars, error_dots, reliability_diagram, risk_curve
from polymodal.plots.worth import acquisition_ranking, shapley_bars, waterfall

__all__ = [
    "COLOURS",
    "GREYS",
    "MARKERS",
    "acquisition_ranking",
    "coverage_bars",
    "critical_difference_diagram",
    "cut_histogram",
    "error_dots",
    "feature_map",
    "figure",
    "gate_curves",
    "information_bars",
    "panels",
    "qq_reference",
    "rate_curve",
    "reliability_diagram",
    "risk_curve",
    "robustness_curve",
    "shapley_bars",
    "share_bars",
    "share_history",
    "subset_heatmap",
    "training_curves",
    "waterfall",
]
