"""A partition in tables: right for known gates, honest about what is not there, and written whole."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from polymodal import MethodClassifier, MethodRegressor, RobultClassifier, Vector, explanation, load, plots
from polymodal.errors import ConfigError, DataError, PresenceWarning
from polymodal.partition import SHARES, Gates

MODALITIES = {"text": Vector("text_*"), "audio": Vector("audio_*")}
QUICK = {"max_epochs": 6, "floors": False, "device": "cpu", "random_state": 0}
SMALL = {"d_latent": 12, "chunk": 3, "d_token": 8, "n_iterations": 1}


def rows(n=90):
    """Rows of which a third has no text."""
    random = np.random.default_rng(0)
    y = random.integers(0, 3, n)
    table = pd.DataFrame(
        {
            **{f"text_{i}": random.normal(size=n) + y for i in range(4)},
            **{f"audio_{i}": random.normal(size=n) - y for i in range(3)},
        }
    )
    table.loc[::3, [f"text_{i}" for i in range(4)]] = np.nan
    return table, y


@pytest.fixture(scope="module")
def model():
    return MethodClassifier("pgm", MODALITIES, settings=SMALL, **QUICK).fit(*rows())


def test_the_table_is_the_mean_over_the_rows_that_have_a_modality(model):
    X, _ = rows()
    table = explanation.partition_table(model, X)
    assert table["modality"].tolist() == ["text", "audio"]
    assert table["n_rows"].tolist() == [60, 90]
    np.testing.assert_allclose(table[list(SHARES)].sum(axis=1), 1.0, atol=1e-6)
    latents, presence = model.latents(X, ("gate_uni", "gate_paired"))
    uni, paired = (latents[name][presence[:, 0], 0].astype(np.float64) for name in latents)
    text = table.iloc[0]
    assert text["shared"] == pytest.approx((uni * paired).mean(), abs=1e-6)
    assert text["uni"] == pytest.approx((uni * (1 - paired)).mean(), abs=1e-6)
    ends = np.array([max((row >= 0.5).sum(), 1) / 4 for row in uni])
    starts = np.array([min((row < 0.5).sum(), 3) / 4 for row in paired])
    assert text["cut_uni"] == pytest.approx(ends.mean(), abs=1e-6)
    assert text["cut_uni_std"] == pytest.approx(ends.std(), abs=1e-6)
    assert text["cut_paired"] == pytest.approx(starts.mean(), abs=1e-6)


def test_movement_is_the_range_over_the_last_third_of_the_epochs(model):
    means = [epoch["cut_uni/audio"] for epoch in model.history_]
    assert len(means) == 6
    table = explanation.partition_table(model, rows()[0]).set_index("modality")
    assert table.loc["audio", "cut_uni_moved"] == pytest.approx(max(means[4:]) - min(means[4:]))
    history = [{"cut": value} for value in (9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 1.0, 3.0, 2.0)]
    assert explanation._moved(history, "cut") == 2.0
    assert np.isnan(explanation._moved(history[:1], "cut"))
    assert np.isnan(explanation._moved(history, "no such figure"))


def test_gates_by_chunk_agree_with_the_table(model):
    X, _ = rows()
    gates = explanation.partition_gates(model, X)
    table = explanation.partition_table(model, X).set_index("modality")
    assert gates["modality"].tolist() == ["text"] * 4 + ["audio"] * 4
    assert gates["chunk"].tolist() == [0, 1, 2, 3] * 2
    for part in ("uni", "paired"):
        assert (gates[f"{part}_10"] <= gates[f"{part}_90"]).all()
        for name, of_modality in gates.groupby("modality"):
            assert of_modality[f"cut_{part}"].sum() == pytest.approx(1.0)
            cut = (of_modality[f"cut_{part}"] * (of_modality["chunk"] + (part == "uni"))).sum() / 4
            assert cut == pytest.approx(table.loc[name, f"cut_{part}"], abs=1e-6)
            open_share = table.loc[name, part] + table.loc[name, "shared"]
            assert of_modality[part].mean() == pytest.approx(open_share, abs=1e-6)


def test_features_are_those_of_present_modalities(model):
    X, _ = rows()
    features = explanation.partition_features(model, X)
    latents, presence = model.latents(X, ("uni", "paired"))
    assert len(features) == 2 * presence.sum() == 2 * 150
    paired = features[(features["modality"] == "text") & (features["part"] == "paired")]
    np.testing.assert_array_equal(paired["row"], np.flatnonzero(presence[:, 0]))
    np.testing.assert_array_equal(paired.filter(like="neuron_"), latents["paired"][presence[:, 0], 0])


def test_a_modality_that_no_row_has_is_said_to_be_unknown(model, tmp_path):
    X, _ = rows(30)
    X.loc[:, X.columns.str.startswith("text")] = np.nan
    table, files = explanation.write(model, X, tmp_path)
    assert table["n_rows"].tolist() == [0, 30]
    assert table.loc[0, [*SHARES, "cut_uni", "cut_uni_std"]].isna().all()
    written = json.loads((tmp_path / "partition.json").read_text())
    assert written["partition"][0]["uni"] is None
    assert {row["modality"] for row in written["gates"]} == {"audio"}
    assert all((tmp_path / file).stat().st_size > 500 for file in files)


@pytest.mark.parametrize(
    ("uni", "paired", "shares"),
    [
        ([1, 1, 0, 0], [0, 0, 1, 1], (0.5, 0.5, 0, 0)),
        ([1, 1, 1, 0], [0, 1, 1, 1], (0.25, 0.25, 0.5, 0)),
        ([1, 0, 0, 0], [0, 0, 0, 1], (0.25, 0.25, 0, 0.5)),
    ],
)
def test_known_gates(uni, paired, shares):
    gates = Gates(*(torch.tensor([gate], dtype=torch.float32) for gate in (uni, paired)))
    table = explanation._table({"a": gates}, [])
    assert tuple(table.loc[0, list(SHARES)]) == shares
    assert table.loc[0, "cut_uni"] == sum(uni) / 4
    assert table.loc[0, "cut_paired"] == 1 - sum(paired) / 4
    assert table.loc[0, "cut_uni_std"] == 0.0


def test_a_report_is_written_whole_and_a_saved_model_gives_the_same(model, tmp_path):
    X, _ = rows()
    table, files = explanation.write(model, X, tmp_path / "a", dataset="toy")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(files)
    for file in files:
        if file.endswith(".png"):
            assert (tmp_path / "a" / file).read_bytes()[:4] == b"\x89PNG"
    written = json.loads((tmp_path / "a" / "partition.json").read_text())
    assert pd.DataFrame(written["partition"]).equals(table)
    model.save(tmp_path / "model")
    again = explanation.partition_table(load(tmp_path / "model", device="cpu"), X)
    pd.testing.assert_frame_equal(again, table, rtol=1e-5)


@pytest.mark.filterwarnings("ignore::polymodal.errors.TrainingWarning")
def test_regression_and_label_sets_are_explained(tmp_path):
    X, y = rows(60)
    labels = np.stack([y == 0, y > 1], axis=1).astype(float)
    for estimator, target in ((MethodRegressor, y + 0.5), (MethodClassifier, labels)):
        model = estimator("pgm", MODALITIES, settings=SMALL, **QUICK | {"max_epochs": 2}).fit(X, target)
        table, _ = explanation.write(model, X, tmp_path)
        np.testing.assert_allclose(table[list(SHARES)].sum(axis=1), 1.0, atol=1e-6)


def test_the_table_is_shown_in_percent(model):
    from rich.console import Console

    X, _ = rows()
    table = explanation.partition_table(model, X)
    console = Console(width=80, record=True)
    with console.capture() as said:
        console.print(explanation.show(table))
    words = said.get()
    assert f"{100 * table.loc[0, 'uni']:.1f}" in words
    assert f"{100 * table.loc[1, 'cut_paired']:.1f} ±" in words
    assert "…" not in words


@pytest.mark.parametrize("question", ["partition_table", "partition_gates", "partition_features"])
def test_a_method_without_a_partition_is_refused(question):
    model = RobultClassifier(MODALITIES, max_epochs=1, floors=False, device="cpu").fit(*rows())
    with pytest.raises(ConfigError, match="a model of Robult came; fit one with method='pgm'"):
        getattr(explanation, question)(model, rows()[0])


def test_rows_without_anything_are_refused(model):
    X, _ = rows(3)
    with pytest.raises(DataError, match="none of 3 rows has one"):
        explanation.partition_table(model, X * np.nan)


def test_rows_without_anything_among_others_are_left_out(model, tmp_path, recwarn):
    X, _ = rows(30)
    X.iloc[1] = np.nan
    table, _ = explanation.write(model, X, tmp_path)
    assert table["n_rows"].tolist() == [19, 29]
    assert not [warning for warning in recwarn if warning.category is PresenceWarning]


def test_an_unknown_latent_is_refused(model):
    with pytest.raises(ConfigError, match="'nothing' came; choose one of uni, paired"):
        model.latents(rows()[0], ("nothing",))


def test_tables_go_into_the_pictures(model):
    X, _ = rows()
    _, ax = plots.figure()
    plots.share_bars(explanation.partition_table(model, X), ax)
    _, ax = plots.figure()
    plots.gate_curves(explanation.partition_gates(model, X), ax, modality="audio")
    assert len(ax.patches) == 4
