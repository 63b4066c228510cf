"""How a fitted estimator shows itself: a card in notebooks, a report as a page."""

from __future__ import annotations

from html import escape
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from polymodal.progress import counted_steps

if TYPE_CHECKING:
    from polymodal.estimators.shell import MethodEstimator

    Shell = MethodEstimator
else:
    Shell = object  # mixed into the shell

MAX_CLASSES = 8
"""Classes that a card names."""
CARD = "border:1px solid #8886;border-radius:6px;padding:.6em 1em;max-width:38em"
CELL = "text-align:left;padding:.1em 1.2em .1em 0;border:0;background:none"


class Shown(Shell):
    """``report``, and the card that a notebook shows."""

    def report(self, X: Any, y: Any, path: str | Path | None = None, *, dataset: str = "") -> Any:
        """One page about this model: every combination of inputs, their worth, trust, health, data.

        Args:
            X: n rows that neither ``fit`` nor ``calibrate`` has seen.
            y: n labels; unlabelled rows are counted, and no more.
            path: HTML file to write, which needs nothing but a browser; None writes none.
            dataset: what the data are called.

        Returns:
            The :class:`polymodal.report.Facts` behind the page: tables and sentences.

        Raises:
            DataError: X or y breaks a rule of the data door, or no row has a label.
        """
        check_is_fitted(self)
        report = import_module("polymodal.report")  # a room to the right, which reads this one
        facts = report.gather(self, X, y, dataset=dataset, progress=self.verbose)
        if path is not None:
            report.write(facts, path)
        return facts

    def _repr_html_inner(self) -> str:
        return card(self) if _is_fitted(self) else super()._repr_html_inner()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        shown = super()._repr_mimebundle_(**kwargs)
        if "text/html" in shown and _is_fitted(self):
            shown["text/html"] = card(self)
        return shown


def _is_fitted(estimator: Any) -> bool:
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True


def card(estimator: Any) -> str:
    """Modalities, their presence in the training rows, and the training in a line, as a piece of HTML."""
    rows = "".join(
        f'<tr><td style="{CELL}">{escape(name)}</td><td style="{CELL}">{kind}</td>'
        f'<td style="{CELL}">{width}</td><td style="{CELL}">{present}</td></tr>'
        for name, kind, width, present in _modalities(estimator)
    )
    heads = "".join(
        f'<th style="{CELL};font-weight:normal;opacity:.65">{head}</th>'
        for head in ("input", "kind", "width", "present in training")
    )
    return (
        f'<div style="{CARD}"><b>{escape(type(estimator).__name__)}</b>, {escape(estimator._method_name())}'
        f'<div style="margin:.2em 0 .5em">{escape(_headline(estimator))}</div>'
        f'<table style="border-collapse:collapse"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _modalities(estimator: Any) -> list[tuple[str, str, int, str]]:
    """Name, kind, width, and the share of the training rows that have it."""
    patterns = getattr(estimator, "presence_", {})
    n = sum(patterns.values())
    lines = []
    for (name, modality), own in zip(
        estimator.modalities_.items(), estimator.preprocessor_.inputs, strict=True
    ):
        there = sum(rows for subset, rows in patterns.items() if name in subset)
        share = f"{100 * there / n:.1f}\N{NO-BREAK SPACE}%" if n else "not known"
        lines.append((name, type(modality).__name__, own.width, share))
    return lines


def _headline(estimator: Any) -> str:
    """What it predicts, how it was trained, and whether it is calibrated."""
    if estimator.classes_ is None:
        what = "predicts a value"
    else:
        names = [str(name) for name in estimator.classes_]
        kind = "labels" if estimator.method_.task.kind == "multilabel" else "classes"
        more = ", …" if len(names) > MAX_CLASSES else ""
        what = f"{len(names)} {kind}: {', '.join(names[:MAX_CLASSES])}{more}"
    judged = [entry for entry in estimator.history_ if entry.get("validation_loss") is not None]
    losses = [entry["validation_loss"] for entry in judged if entry.get("kept")]
    losses = losses or [entry["validation_loss"] for entry in judged]
    parts = [what, counted_steps(estimator.history_)]
    parts += [f"best validation loss {min(losses):.3g}"] if losses else []
    parts.append(f"{100 * estimator.labelled_fraction_:.3g}\N{NO-BREAK SPACE}% of the training rows labelled")
    known = getattr(estimator, "calibration_", None) is not None
    return "; ".join([*parts, "calibrated" if known else "not calibrated"])
