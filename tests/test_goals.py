"""The page of goals: what it calls ahead and behind, on made-up results with known answers."""

import importlib.util
import json
import sys
from pathlib import Path

import pandas as pd
import pytest

PATH = Path(__file__).parents[1] / "experiments" / "suite" / "goals.py"
SUBSETS = {"a": -0.1, "b": -0.2, "a+b": 0.0}


@pytest.fixture
def goals():
    spec = importlib.util.spec_from_file_location("goals", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def results(levels, metric="accuracy", dataset="toy"):
    """Rows of three seeds: method -> share of labels -> level; seeds differ by .01, alike for all methods."""
    rows = []
    sign = 1.0 if metric == "accuracy" else -1.0
    for method, by_share in levels.items():
        for labels, level in by_share.items():
            for seed in range(3):
                shift = 0.01 * seed
                for subset, less in SUBSETS.items():
                    value = level + sign * less + shift
                    rows.append((dataset, "complete", method, seed, labels, subset, metric, value))
                rows.append((dataset, "random_50", method, seed, labels, "observed", metric, level + shift))
    columns = ["dataset", "missing", "method", "seed", "labels", "subset", "metric", "value"]
    return pd.DataFrame(rows, columns=columns)


def test_the_best_of_the_rivals_is_the_one_that_counts(goals):
    table = results({"committee": {1.0: 0.9}, "late_fusion": {1.0: 0.8}, "soft_self_training": {1.0: 0.85}})
    found = goals.leads(goals.Figures.read(table).scores("mean", "complete", 1.0), goals.RIVALS)
    assert found["toy"].rival == "soft_self_training"
    assert found["toy"].ahead == pytest.approx(0.05)
    assert found["toy"].spread == pytest.approx(0.0, abs=1e-12)


def test_errors_count_the_other_way_round(goals):
    table = results({"committee": {1.0: 0.9}, "late_fusion": {1.0: 0.8}}, metric="mae")
    figures = goals.Figures.read(table)
    assert goals.leads(figures.scores("mean", "complete", 1.0), goals.RIVALS)["toy"].ahead == pytest.approx(
        -0.1
    )
    worst = figures.scores("worst", "complete", 1.0)["committee"]
    assert worst.mean() == pytest.approx(-(0.9 + 0.2 + 0.01))


def test_the_worst_and_all_together_are_those_of_complete_inputs(goals):
    figures = goals.Figures.read(results({"committee": {1.0: 0.9}}))
    assert figures.scores("worst", "complete", 1.0)["committee"].tolist() == pytest.approx([0.7, 0.71, 0.72])
    assert figures.scores("all", "complete", 1.0)["committee"].tolist() == pytest.approx([0.9, 0.91, 0.92])
    assert figures.alone(1.0)["committee"].tolist() == pytest.approx([0.7, 0.71, 0.72])
    assert figures.scores("mean", "random_50", 1.0)["committee"].tolist() == pytest.approx([0.9, 0.91, 0.92])


def page(goals, table, tmp_path):
    out = tmp_path / "core.json"
    out.write_text(json.dumps(table.to_dict("records")))
    cells = [
        {
            "cell": {"dataset": "toy", "variant": None, "split": None, "method": m, "labels": s},
            "cpu_seconds_fit": {"committee": 6.0, "robult": 1.0}[m] * (1 if s == 1.0 else 0.5),
        }
        for m in ("committee", "robult")
        for s in (0.05, 1.0)
    ]
    cells[0]["cpu_seconds_fit"] = 1.0
    (tmp_path / "core.meta.json").write_text(json.dumps([{"command": "c"}, *cells]))
    return goals.text(out)


def test_the_page_says_where_a_goal_is_missed(goals, tmp_path):
    table = results({"committee": {0.05: 0.7, 1.0: 0.9}, "late_fusion": {0.05: 0.75, 1.0: 0.8}})
    text = page(goals, table, tmp_path)
    assert "| toy | -0.050 ± 0.000 late_fusion **behind** | +0.100 ± 0.000 late_fusion |" in text
    assert "(short)" in text  # (0.7 - 0.1) / (0.9 - 0.1) is below 98 %
    assert "| toy | 2.00 | 6.00 |" in text
    assert "Met in 1 of 2." in text
    assert "nan" not in text


def test_the_committed_page_is_that_of_the_committed_results(goals):
    if not goals.RESULTS.exists():
        pytest.skip("the core grid has not been run")
    assert goals.PAGE.read_text() == goals.text()
