"""Pictures of a partition: what is drawn is what tables and histories say, and colour never says it alone."""

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex

from polymodal.methods.pgm_diagnostics import gate_figures
from polymodal.partition import Gates, cumsoftmax
from polymodal.plots import (
    cut_histogram,
    feature_map,
    figure,
    gate_curves,
    panels,
    share_bars,
    share_history,
)
from polymodal.plots.partition import N_POINT_ROWS, PARTS

K = 4


def gates(epoch=0, n_rows=50):
    random = torch.Generator().manual_seed(epoch)
    uni, paired = torch.randn(2, n_rows, K, generator=random).mul(1 + epoch)
    return Gates(1 - cumsoftmax(uni), cumsoftmax(paired))


def history(n_epochs=6):
    """The figures that training writes, of a modality whose name holds a slash."""
    return [
        {"stage": "pretrain" if i < 2 else "finetune"}
        | {f"{figure}/a/b{rest}": value for figure, rest, value in gate_figures(gates(i))}
        for i in range(n_epochs)
    ]


def shares(**columns):
    rows = [("a", 0.1, 0.4, 0.3, 0.2), ("b", 0.25, 0.25, 0.25, 0.25)]
    return pd.DataFrame(rows, columns=["modality", "uni", "shared", "paired", "unassigned"]).assign(**columns)


def features(n_rows=20, modalities=("a", "b")):
    random = np.random.default_rng(0)
    tables = []
    for m, modality in enumerate(modalities):
        for part in ("uni", "paired"):
            table = pd.DataFrame(
                random.normal(size=(n_rows, 5)) + 9 * m, columns=[f"neuron_{i}" for i in range(5)]
            )
            tables.append(table.assign(row=range(n_rows), modality=modality, part=part))
    return pd.concat(tables, ignore_index=True)


# ---- shares ----------------------------------------------------------------------------------------------


def test_bars_hold_the_shares_one_after_the_other():
    _, ax = figure()
    assert share_bars(shares(), ax) is ax
    bars = [bar for container in ax.containers for bar in container]
    assert [bar.get_width() for bar in bars] == pytest.approx([0.1, 0.25, 0.4, 0.25, 0.3, 0.25, 0.2, 0.25])
    assert [bar.get_x() for bar in bars[::2]] == pytest.approx([0.0, 0.1, 0.5, 0.8])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert [text.get_text() for text in ax.texts[:4]] == ["10", "25", "40", "25"]


def test_every_part_has_a_hatching_of_its_own():
    _, ax = figure()
    share_bars(shares(), ax)
    assert len({container[0].get_hatch() for container in ax.containers}) == 4
    assert len({to_hex(container[0].get_facecolor()) for container in ax.containers}) == 4


def test_data_sets_are_groups_and_seeds_are_averaged():
    table = pd.concat(
        [shares(dataset=d, seed=s, uni=u) for d in ("mosi", "wesad") for s, u in ((0, 0.2), (1, 0.4))]
    )
    _, ax = figure()
    share_bars(table, ax)
    assert [bar.get_width() for bar in ax.containers[0]] == pytest.approx([0.3] * 4)
    assert {"mosi", "wesad"} <= {text.get_text() for text in ax.texts}
    assert ax.get_title(loc="left") == "Partition: mosi, wesad, mean over 2 seeds"
    heights = [bar.get_y() for bar in ax.containers[0]]
    assert np.diff(heights)[1] > np.diff(heights)[0]  # a gap between the data sets
    _, ax = figure()
    share_bars(shares(dataset="mosi", seed=3), ax)
    assert ax.get_title(loc="left") == "Partition: mosi, one seed"


def test_shares_by_epoch_reach_one_and_name_the_stages():
    _, ax = figure()
    share_history(history(), ax, modality="a/b")
    areas = ax.patches
    first = areas[0].get_data()
    np.testing.assert_allclose(first.values, [epoch["share_uni/a/b"] for epoch in history()])
    np.testing.assert_allclose(areas[-1].get_data().values, 1.0, atol=1e-6)
    np.testing.assert_array_equal(first.edges, np.arange(7) + 0.5)
    assert [text.get_text() for text in ax.texts] == ["pretrain", "finetune"]
    assert len({area.get_hatch() for area in areas}) == 4
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == [name for _, _, name in reversed(PARTS.values())]


# ---- gates and cuts --------------------------------------------------------------------------------------


def gate_table():
    columns = {
        "modality": ["a"] * 3 + ["b"] * 3,
        "chunk": [0, 1, 2] * 2,
        "uni": [1.0, 0.6, 0.1] * 2,
        "paired": [0.2, 0.7, 1.0] * 2,
        "cut_uni": [0.0, 0.5, 0.5] * 2,
        "cut_paired": [0.25, 0.75, 0.0] * 2,
    }
    bands = {f"{p}_{q}": np.array(columns[p]) + (q - 50) / 1000 for p in ("uni", "paired") for q in (10, 90)}
    return pd.DataFrame(columns | bands)


def test_gate_curves_draw_means_bands_and_cuts():
    _, ax = figure()
    gate_curves(gate_table(), ax, modality="a")
    low_to_high, mean = ax.patches[0].get_data(), ax.patches[1].get_data()
    np.testing.assert_allclose(mean.values, [1.0, 0.6, 0.1])
    np.testing.assert_allclose(low_to_high.baseline, [0.96, 0.56, 0.06])
    np.testing.assert_allclose(low_to_high.values, [1.04, 0.64, 0.14])
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "mean uni cut, 2.5 of 3" in labels  # the uni part ends behind its last chunk
    assert "mean paired cut, 0.8 of 3" in labels
    assert ax.patches[1].get_linestyle() != ax.patches[3].get_linestyle()


@pytest.mark.parametrize("part", ["uni", "paired"])
def test_cut_histogram_holds_every_epoch_and_chunk(part):
    _, ax = figure()
    cut_histogram(history(), ax, modality="a/b", part=part)
    shown = ax.get_images()[0].get_array()
    assert shown.shape == (K, 6)
    np.testing.assert_allclose(shown.sum(axis=0), 100.0, atol=1e-4)
    for i in range(6):
        u, p = gates(i).cuts()
        counts = torch.bincount(u if part == "uni" else p, minlength=K) / 50
        np.testing.assert_allclose(shown[:, i], 100 * counts, atol=1e-4)
    mean = ax.get_lines()[0].get_ydata()
    expected = np.array([epoch[f"cut_{part}/a/b"] for epoch in history()]) * K
    np.testing.assert_allclose(mean, expected - (part == "uni"), atol=1e-5)


def test_one_epoch_is_drawn(tmp_path):
    fig, axes = panels(2)
    share_history(history(1), axes[0], modality="a/b")
    cut_histogram(history(1), axes[1], modality="a/b")
    fig.savefig(tmp_path / "one.png")
    assert axes[1].get_images()[0].get_array().shape == (K, 1)


# ---- features --------------------------------------------------------------------------------------------


def test_feature_map_tells_parts_by_marker_and_modalities_by_name():
    _, ax = figure()
    feature_map(features(), None, ax)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["a, uni", "a, paired", "b, uni", "b, paired"]
    uni, paired = ax.collections[:2]
    assert len(uni.get_paths()[0].vertices) != len(paired.get_paths()[0].vertices)
    assert len(uni.get_facecolor()) == 1
    assert len(paired.get_facecolor()) == 0
    assert {text.get_text() for text in ax.texts} == {"a", "b"}
    assert abs(uni.get_offsets()[:, 0].mean() - ax.collections[2].get_offsets()[:, 0].mean()) > 10


def test_names_at_one_place_share_a_box():
    _, ax = figure()
    table = features()
    table.iloc[:, :5] = np.tile(table.iloc[:20, :5], (4, 1))
    feature_map(table, None, ax)
    assert [text.get_text() for text in ax.texts] == ["a, b"]


def test_classes_are_named_and_values_have_a_scale():
    _, ax = figure()
    feature_map(features(), ["no", "yes"] * 10, ax)
    assert {word for text in ax.texts for word in text.get_text().split(", ")} == {"no", "yes"}
    fig, ax = figure()
    feature_map(features(), np.linspace(-3.0, 3.0, 20), ax)
    assert len(fig.axes) == 2
    assert fig.axes[1].get_ylim() == pytest.approx((-3.0, 3.0))


def test_of_many_rows_a_draw_is_shown():
    _, ax = figure()
    feature_map(features(n_rows=500, modalities=("a",)), None, ax)
    assert [len(collection.get_offsets()) for collection in ax.collections] == [N_POINT_ROWS] * 2
    assert f"{N_POINT_ROWS} rows" in ax.get_title(loc="left")


def test_panels_stand_in_rows():
    fig, axes = panels(3, width=4, height=2)
    assert len(axes) == 3
    assert fig.get_size_inches().tolist() == [8, 4]
    assert panels(1)[0].get_size_inches().tolist() == [9, 3.5]
