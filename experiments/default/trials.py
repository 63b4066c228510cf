"""What was put into the committee and not kept, one idea at a time, on rows held out of the training parts.

    python experiments/default/trials.py --data DIR    some 20 minutes of a core; goes on when cut off
    python experiments/default/trials.py --table       TRIALS.md alone

A place is a data set, a missing regime, a share of labels and a seed: at most 600 of the rows that
`choose.py` learns from, and 600 that it scores. There the committee learns as it is, and again with each idea
put in place of one of its functions. Of members that would read all modalities at once it is asked what they
take off the held-out loss, as the committee asks. Writes ``trials.json``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from ablation import (
    MAX_ROWS,
    TITLES,
    TREES,
    figures,
    held_out,
    markdown,
    run_unless_table,
    shown,
)
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from polymodal import bench
from polymodal.bench import Cell, Result
from polymodal.data import readers
from polymodal.methods.committee import generations, judging, members, neighbours, pool
from polymodal.methods.committee.members import Branch, Lesson, some_of
from polymodal.methods.committee.pool import Weights
from polymodal.methods.committee.teams import Rows, Team, joint_of, lesson_of

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "trials.json", HERE / "TRIALS.md"

SETS = ("htad", "wiki", "wesad", "mfeat", "av_digits")
REGIMES = ("complete", "not_at_random")
LABELS = (0.05, 1.0)
SEEDS = (100, 101)

# ---- a graph of rows ---------------------------------------------------------------------------------------


def asking_neighbours() -> Any:
    """Teachers that are judged, and rows that come in groups, ask neighbours too."""
    alone = generations.taught_by

    def with_neighbours(rows: Rows, turned: tuple[np.ndarray, ...], team: Team, *more: Any) -> Any:
        index = np.concatenate([team.known, team.free])
        graph = neighbours.graph_of([along[index] for along in turned], rows.presence[index])
        return alone(rows, turned, team, *more[:3], graph)

    return patch.object(generations, "taught_by", with_neighbours)


# ---- more rows ---------------------------------------------------------------------------------------------

Made = tuple[np.ndarray, np.ndarray, Lesson]
"""Columns, the same along the directions, and the lesson, of rows and of made ones."""


def learning_from(more: Callable[..., Made]) -> Any:
    """Members of a modality that learn from made rows as well."""
    learn = Branch.learn.__func__  # type: ignore[attr-defined]

    def from_both(
        cls: Any, values: np.ndarray, turned: np.ndarray, lesson: Lesson, *task: Any, **how: Any
    ) -> Any:
        if len(lesson.rows):
            values, turned, lesson = more(values, turned, lesson, np.random.default_rng(how["seed"]))
        return learn(cls, values, turned, lesson, *task, **how)

    return patch.object(Branch, "learn", classmethod(from_both))


def mixed(values: np.ndarray, turned: np.ndarray, lesson: Lesson, random: np.random.Generator) -> Made:
    """As many rows again between two rows, and their targets (mixup, Zhang et al., 2018; Beta(0.4, 0.4))."""
    other = random.permutation(len(values))
    share = random.beta(0.4, 0.4, (len(values), 1)).astype(np.float32)

    def between(x: np.ndarray) -> np.ndarray:
        return np.concatenate([x, share * x + (1 - share) * x[other]])

    weight = np.concatenate([lesson.weight, (lesson.weight + lesson.weight[other]) / 2]) / 2
    rows = np.concatenate([lesson.rows, lesson.rows])
    made = replace(lesson, rows=rows, target=between(lesson.filled), weight=weight)
    return between(values), between(turned), made


def noisy(values: np.ndarray, turned: np.ndarray, lesson: Lesson, random: np.random.Generator) -> Made:
    """As many rows again with Gaussian noise of .3 of a column's spread."""

    def blurred(x: np.ndarray) -> np.ndarray:
        return np.concatenate([x, x + 0.3 * random.normal(size=x.shape).astype(np.float32)])

    rows, target, weight = (
        np.concatenate([own, own]) for own in (lesson.rows, lesson.target, lesson.weight / 2)
    )
    return blurred(values), blurred(turned), replace(lesson, rows=rows, target=target, weight=weight)


# ---- weights of a row's own --------------------------------------------------------------------------------


@contextmanager
def reliable() -> Iterator[None]:
    """A modality's weight in a row also by how sure it is there, and how much the others agree with it.

    w_m(x) ~ exp(alpha_m + b (1 - H(p_m) / log C) + c (mean over the others of p_m . p_k)); b and c are learnt
    with the pool, 0 being their prior. They are kept beside a0 and a1.
    """
    start, entry = Weights.start.__func__, generations._entry  # type: ignore[attr-defined]

    def with_two_more(cls: Any, *task: Any) -> Weights:
        found = start(cls, *task)
        return replace(found, sharpness=torch.cat([found.sharpness, torch.zeros(2)]))

    def pooled(said: Tensor, present: Tensor, weights: Weights) -> Tensor:
        a0, a1, by_sureness, by_agreement = weights.sharpness
        p = said.softmax(dim=2)
        sure = 1 + (p * p.clamp(min=1e-9).log()).sum(dim=2) / math.log(p.shape[2])
        n_present = present.sum(dim=2)
        others = (present.to(p.dtype) @ p).unsqueeze(2) - p.unsqueeze(1)
        agreed = (p.unsqueeze(1) * others).sum(dim=3) / (n_present - 1).clamp(min=1).unsqueeze(2)
        logit = weights.alpha + by_sureness * sure.unsqueeze(1) + by_agreement * agreed
        share = logit.masked_fill(~present, -torch.inf).softmax(dim=2)
        share = torch.where(present, share, torch.zeros_like(share))
        k = n_present.clamp(min=1)
        sharper = torch.where(k > 1, k**a0 * a1.exp(), torch.ones_like(a0))
        return share @ said * sharper.unsqueeze(2)

    def shorter(generation: int, verdict: Any) -> dict[str, Any]:
        first = replace(verdict.weights[0], sharpness=verdict.weights[0].sharpness[:2])
        return entry(generation, replace(verdict, weights=(first, *verdict.weights[1:])))

    with ExitStack() as entered:
        entered.enter_context(patch.object(Weights, "start", classmethod(with_two_more)))
        entered.enter_context(patch.object(pool, "pooled", pooled))
        entered.enter_context(patch.object(generations, "_entry", shorter))
        yield


# ---- members that read all at once -------------------------------------------------------------------------


class SetTransformer(nn.Module):
    """One token a modality, attention among those present, their mean (Lee et al., ICML 2019)."""

    def __init__(self, widths: Sequence[int], n_outputs: int, d: int = 32) -> None:
        super().__init__()
        self.embed = nn.ModuleList(nn.Linear(width, d) for width in widths)
        self.kind = nn.Parameter(0.1 * torch.randn(len(widths), d))
        self.block = nn.TransformerEncoderLayer(d, 4, 2 * d, dropout=0.2, batch_first=True)
        self.head = nn.Linear(d, n_outputs)

    def forward(self, values: Sequence[Tensor], presence: Tensor) -> Tensor:
        """(n, d_m) columns and (n, M) bool to (n, C) logits."""
        tokens = torch.stack([own(v) for own, v in zip(self.embed, values, strict=True)], dim=1) + self.kind
        told = self.block(tokens, src_key_padding_mask=~presence)
        here = presence.unsqueeze(2)
        return self.head(torch.where(here, told, 0.0).sum(dim=1) / here.sum(dim=1))


class Network:
    """A set transformer as joint member: rows, and two copies that lack inputs; weights averaged (EMA)."""

    is_boosted = False

    def __init__(self, rows: Rows, lesson: Lesson, seed: int) -> None:
        torch.manual_seed(seed)
        random = np.random.default_rng(seed)
        values = [torch.from_numpy(np.nan_to_num(v[lesson.rows])).float() for v in rows.values]
        target, weight = torch.from_numpy(lesson.filled).float(), torch.from_numpy(lesson.weight).float()
        self.shares = torch.from_numpy(lesson.filled.mean(axis=0)).float()
        net = SetTransformer([v.shape[1] for v in values], target.shape[1])
        averaged = torch.optim.swa_utils.AveragedModel(
            net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.98)
        )
        steps = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.05)
        present = rows.presence[lesson.rows]
        for _ in range(120):
            here = torch.from_numpy(some_of(present, random))
            losses = F.cross_entropy(net(values, here), target, reduction="none")
            steps.zero_grad()
            ((losses * weight).sum() / weight.sum()).backward()  # type: ignore[no-untyped-call]
            steps.step()
            averaged.update_parameters(net)
        self.net = averaged.eval()

    @torch.no_grad()
    def scores(self, values: Sequence[np.ndarray], presence: np.ndarray, kind: Any) -> Tensor:
        """(n, C) of rows read by a (n, M) presence."""
        if not len(presence):
            return torch.zeros(0, len(self.shares))
        read = [torch.from_numpy(np.nan_to_num(v)).float() for v in values]
        said = self.net(read, torch.from_numpy(presence)).softmax(dim=1)
        return members.forest_scores(said, self.shares, kind)


CANDIDATES: dict[str, Callable[[Rows, Team, Lesson, int], Any]] = {
    "forest": lambda rows, team, lesson, seed: joint_of(rows, team, lesson, seed, boosted=False),
    "boosted trees": lambda rows, team, lesson, seed: joint_of(rows, team, lesson, seed, boosted=True),
    "set transformer": lambda rows, _, lesson, seed: Network(rows, lesson, seed),
}


@contextmanager
def asked(found: dict[str, float]) -> Iterator[None]:
    """What each candidate for the joint member takes off the held-out loss of generation 0, in %."""
    as_it_is = judging.with_joint_if_better

    def and_ask(rows: Rows, turned: Any, teams: list[Team], subsets: Tensor, without: Any, seed: int) -> Any:
        for name, learn in CANDIDATES.items():
            if name == "boosted trees" and not judging.can_be_boosted(rows, teams):
                continue
            for team in teams[1:]:
                team.joint = learn(rows, team, lesson_of(rows, team, None), seed)
            loss = judging.judge(rows, turned, teams, subsets).loss
            found[name] = 100 * (1 - loss / without.loss)
        for team in teams:
            team.joint = None
        return as_it_is(rows, turned, teams, subsets, without, seed)

    with patch.object(generations, "with_joint_if_better", and_ask):
        yield


# ---- running -----------------------------------------------------------------------------------------------

WHOLE = "as it is"
SETTINGS = {"forests of three seeds": {name: 3 * trees for name, trees in TREES.items()}}
PATCHED: dict[str, Callable[[], Any]] = {
    "neighbours": asking_neighbours,
    "mixup": lambda: learning_from(mixed),
    "noise on inputs": lambda: learning_from(noisy),
    "weights by row": reliable,
}
TRIALS = (*SETTINGS, *PATCHED)


def cells() -> list[Cell]:
    """The places, seed by seed."""
    caps = {"max_train": MAX_ROWS, "max_test": MAX_ROWS}
    return [
        Cell(name, "committee", seed, labels, missing=missing, **caps)
        for seed in SEEDS
        for name in SETS
        for missing in REGIMES
        for labels in LABELS
    ]


def one(trial: str, dataset: readers.Dataset, cell: Cell) -> bench.Row:
    """The figures of a committee with an idea."""
    with PATCHED[trial]() if trial in PATCHED else ExitStack():
        found = figures(dataset, cell, **SETTINGS.get(trial, {}))[1]
    return {"mean": found["mean"], "seconds": found["seconds"]}


def work(cell: Cell, data: str | Path | None, model: str | Path | None) -> Result:
    """A place: the committee as it is, then with each idea."""
    del model
    dataset, place = held_out(cell, data)
    rows = [place | {"trial": trial} | one(trial, dataset, cell) for trial in (WHOLE, *TRIALS)]
    taken: dict[str, float] = {}
    with asked(taken):
        one(WHOLE, dataset, cell)
    rows += [place | {"trial": name, "taken": percent} for name, percent in taken.items()]
    return Result(cell, rows, {"cell": asdict(cell)})


# ---- the tables --------------------------------------------------------------------------------------------

ABOUT = f"""\
# Ideas put into the committee

Made by `python experiments/default/trials.py` from `trials.json`. Scored on rows held out of the training
parts, never on test rows; at most {MAX_ROWS} others are learnt from, seeds {" and ".join(map(str, SEEDS))}.
A forest has {TREES["n_trees"]} trees in place of 150, {TREES["n_trees_judged"]} in place of 50 in a fold.

Percentage points of each set's primary metric (wesad: macro F1, else accuracy) that the committee has more
*with* the idea. Mean ± standard deviation over the seeds of the paired difference; bold where it is larger
than its deviation and than half a point; a dot: the same to the last bit. Complete inputs: mean over all
combinations; not at random: the rows as they come.

- *forests of three seeds*: a teacher of three seeds; ridge regressions are the same with every seed.
- *neighbours*: rows are taught in part what is said of those like them, as they are where nothing judges.
- *mixup*, *noise on inputs*: as many rows again, between two rows (Beta(.4, .4)) or with noise of .3 of the
  spread; all of them weigh half.
- *weights by row*: a modality weighs by how sure it is of this row and by how far the others agree with it,
  both learnt with the pool."""


ASKED = """\
## Members that read all modalities at once

Percent that they take off the held-out loss of generation 0, mean of the seeds. A forest is kept for 3,
boosted trees for .5, and these are tried where they are not too dear. The set transformer has a token of 32
numbers a modality, a layer of attention, inputs dropped at random in each of 120 steps, and averaged weights
(EMA)."""


def section(table: pd.DataFrame, missing: str, labels: float) -> Iterator[str]:
    """One regime and share of labels: a line an idea, a column a data set."""
    own = table[(table["missing"] == missing) & (table["labels"] == labels) & table["mean"].notna()]
    wide = own.pivot_table("mean", index=["trial", "dataset"], columns="seed", sort=False)
    whole = wide.loc[WHOLE]
    names = list(whole.index)
    yield f"## {TITLES[missing]}, {100 * labels:g} % of the labels"
    yield ""
    level = 100 * whole.mean(axis=1)
    lines = [[f"*{WHOLE}*", *(f"{level[name]:.1f}" for name in names), f"{level.mean():.1f}"]]
    for trial in TRIALS:
        points = 100 * (wide.loc[trial] - whole)
        each = [points.loc[name] for name in names]
        lines.append([trial, *map(shown, each), shown(sum(each) / len(each))])
    yield from markdown(["with", *names, "mean of the sets"], lines)
    yield ""


def candidates(table: pd.DataFrame) -> Iterator[str]:
    """What members that read all modalities at once take off the held-out loss."""
    own = table[table["taken"].notna()]
    yield from (*ASKED.splitlines(), "")
    places = list(dict.fromkeys(zip(own["missing"], own["labels"], strict=True)))
    found = own.pivot_table("taken", index=["missing", "labels", "trial"], columns="dataset", sort=False)
    rows = []
    for place in places:
        for name in CANDIDATES:
            line = found.reindex([(*place, name)]).iloc[0]
            figures = ("" if math.isnan(value) else f"{value:+.1f}" for value in line)
            rows.append([f"{TITLES[place[0]]}, {100 * place[1]:g} %", name, *figures])
    yield from markdown(["", "member", *found.columns], rows)


def text(table: pd.DataFrame) -> str:
    """The page."""
    lines = [*ABOUT.splitlines(), ""]
    for missing in REGIMES:
        for labels in LABELS:
            lines += section(table, missing, labels)
    return "\n".join([*lines, *candidates(table)]) + "\n"


def results() -> pd.DataFrame:
    """The committed figures."""
    return pd.DataFrame(json.loads(RESULTS.read_text())).astype({"mean": float, "taken": float})


def main() -> None:
    """Run what is not done yet; write the figures and the page."""
    run_unless_table(str(__doc__), cells(), RESULTS, work)
    PAGE.write_text(text(results()))


if __name__ == "__main__":
    main()
