"""Inside the model: the shared space, what inputs say alike, and how their width is divided."""

from __future__ import annotations

import math

from polymodal.report import charts, words
from polymodal.report.facts import Facts
from polymodal.report.html import details, figure, figures, lead, name_column, number_column, table

MAX_NAMED = 12
"""Groups of a map that are named in it."""
PARTS = {
    "redundancy": ("c3", "either says it"),
    "unique_first": ("c1", "only the first says it"),
    "unique_second": ("c6", "only the second says it"),
    "synergy": ("c2", "only both together say it"),
}
SHARES = {
    "uni": ("c1", "read alone"),
    "shared": ("c3", "both"),
    "paired": ("c2", "read with others"),
    "unassigned": ("c8", "not read"),
}


def latent_map(facts: Facts) -> list[str]:
    """Rows as points of the shared space."""
    points = facts.table("map", "points")
    groups = sorted(points["group"].unique(), key=_natural)
    scale = facts.kind != "multiclass"
    styles = {g: (f"h{min(i + 1, 5)}" if scale else charts.COLOURS[i % 10]) for i, g in enumerate(groups)}
    said = f"{len(points):,} rows in two dimensions, by label: {', '.join(groups[:MAX_NAMED])}"
    drawn = charts.scatter(points, styles, named=not scale and len(groups) <= MAX_NAMED, said=said)
    key = [(styles[g], g) for g in groups] if len(groups) <= MAX_NAMED else []
    sentence = f"{words.counted(len(points), 'row')}, by label. {facts.topics['map'].sentences[0]}"
    return [
        lead("Rows that lie together look alike to the model, whatever inputs each of them has."),
        figures(figure("Rows in the shared space", drawn, sentence, key)),
    ]


def _natural(name: str) -> tuple[float, str]:
    """Numbers by size, other names by letters."""
    try:
        return float(name.split()[0].replace("\N{MINUS SIGN}", "-").replace(",", "")), name
    except ValueError:
        return math.inf, name


def information(facts: Facts) -> list[str]:
    """Bits about the label, divided."""
    pairs = facts.table("information", "pairs")
    names = [f"{a} + {b}" for a, b in zip(pairs["first"], pairs["second"], strict=True)]
    styles = {part: style for part, (style, _) in PARTS.items()}
    most = pairs.iloc[pairs["redundancy"].argmax()]
    said = f"{most['first']} and {most['second']} say most alike: {words.number(most['redundancy'])} bits"
    drawn = charts.stacked(names, pairs, styles, "bits about the label", said=said)
    columns = [
        name_column("first", "first"),
        name_column("second", "second"),
        *(number_column(part, part.replace("_", " ")) for part in PARTS),
        *(number_column(f"{part}_error", f"± {part.replace('_', ' ')}") for part in PARTS),
        number_column("entropy", "all there is"),
        number_column("n_rows", "rows", words.count),
    ]
    return [
        lead(f"What two inputs say of the label, divided: alike, alone, and only together. {said}."),
        figures(
            figure(
                "Every two inputs", drawn, "From the inputs themselves, whatever the model.", PARTS.values()
            )
        ),
        details("The figures", table(pairs, columns, "Information about the label, in bits")),
    ]


def partition(facts: Facts) -> list[str]:
    """Shares and gates."""
    shares, gates = facts.table("partition", "shares"), facts.table("partition", "gates")
    there = shares[shares["n_rows"] > 0].reset_index(drop=True)
    styles = {part: style for part, (style, _) in SHARES.items()}
    percent = there.assign(**{part: 100 * there[part] for part in SHARES})
    said = ", ".join(f"{row['modality']} {words.share(row['uni'])} alone" for row in there.to_dict("records"))
    drawn = charts.stacked(there["modality"].tolist(), percent, styles, "share of the width [%]", said=said)
    shown = [figure("Shares of the width", drawn, "", SHARES.values())]
    for name, own in gates.groupby("modality", sort=False):
        words_of = f"Mean gates of {name} along its width"
        key = [("c1", "read alone"), ("c2", "read with others")]
        shown.append(figure(str(name), charts.gates(own, said=words_of), "", key))
    columns = [
        name_column("modality", "input"),
        number_column("n_rows", "rows", words.count),
        *(number_column(part, title, words.share) for part, (_, title) in SHARES.items()),
    ]
    return [
        lead("The width of each input is divided: a part is read alone, and a part with the other inputs."),
        figures(*shown),
        table(shares, columns, "Shares of the width"),
    ]
