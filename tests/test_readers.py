"""The data sets as they are read: shapes, presence, splits, traps."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from polymodal.data import public, readers
from polymodal.data.readers import load
from polymodal.errors import ConfigError, DataError
from polymodal.schema import RAW, Image, Series, Tabular, Text, Vector

DATA = Path(os.environ.get("POLYMODAL_DATA") or Path(__file__).parents[2] / "shared" / "data")
FILES = {
    "mfeat": "mfeat/mfeat.npz",
    "htad": "htad/htad.csv",
    "mosi": "mosi/features.npz",
    "wesad": "wesad_features/wesad_windows.csv",
    "extrasensory": "extrasensory_small/extrasensory.npz",
    "wiki": "wiki_retrieval/wiki.npz",
    "av_digits": "av_digits/av_digits.npz",
    "mosi_raw": "mosi/utterances.csv",
    "fashion": "fashion_small/images.zip",
}


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not (DATA / FILES[name]).is_file(), reason=f"the data set {name} is not here")


AT_HAND = ("mfeat", "htad", "synthetic_synergy")
EVERY = [pytest.param(name, marks=() if name in AT_HAND else needs(name)) for name in (*FILES, AT_HAND[-1])]


def read(name: str, **options: str) -> readers.Dataset:
    return load(name, None if name in AT_HAND else DATA, **options)


# --- what holds for every data set -----------------------------------------------------------------------


def test_available_names_every_data_set():
    assert set(readers.available()) == set(FILES) | set(AT_HAND) | set(public.names())


@pytest.mark.parametrize("name", EVERY)
def test_the_parts_fit_together(name):
    data = read(name)
    assert list(data.X) == list(data.modalities)
    assert {len(values) for values in data.X.values()} == {len(data.y)} == {len(data)}
    assert all(schema.columns is None for schema in data.modalities.values())
    for modality, values in data.X.items():
        is_raw = isinstance(data.modalities[modality], RAW)
        assert values.dtype in ((object,) if is_raw else (np.float32, np.float64))
    assert data.groups is None or data.groups.shape == (len(data),)
    assert data.primary_metric == data.metrics[0]
    assert all([data.notes, data.licence, data.source, data.citation])
    if data.task == "multiclass":
        assert set(data.y) == set(range(len(data.classes)))


@pytest.mark.parametrize("name", EVERY)
def test_vectors_have_no_gaps_and_nothing_is_infinite(name):
    data = read(name)
    for modality, values in data.X.items():
        if isinstance(data.modalities[modality], RAW):
            assert all(cell is not None for cell in values)
            continue
        assert not np.isinf(values).any()
        if not isinstance(data.modalities[modality], Tabular):
            assert not np.isnan(values).any()


@pytest.mark.parametrize("name", EVERY)
def test_train_and_test_are_apart_labelled_and_of_all_classes(name):
    data = read(name)
    for split in (None, *data.splits, "random"):
        train, test = data.train_test(0, split)
        assert not set(train) & set(test)
        assert len(set(train)) == len(train)
        assert not np.isnan(data.y[test]).any()
        assert set(data.y[test][np.isfinite(data.y[test])]) <= set(data.y[train]) or data.task == "regression"
        if data.groups is not None and (data.name, split or "official") != ("av_digits", "official"):
            assert not set(data.groups[train]) & set(data.groups[test])


@pytest.mark.parametrize("name", EVERY)
def test_drawn_splits_follow_the_seed_and_published_ones_do_not(name):
    data = read(name)
    drawn = [data.train_test(seed, "random")[1] for seed in (0, 0, 1)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert bool(data.splits) == np.array_equal(data.train_test(0)[1], data.train_test(1)[1])


# --- one by one ------------------------------------------------------------------------------------------


def test_mfeat_is_bundled():
    data = load("mfeat")
    widths = {"pix": 240, "fou": 76, "fac": 216, "zer": 47, "kar": 64, "mor": 6}
    assert {name: values.shape for name, values in data.X.items()} == {
        k: (2000, d) for k, d in widths.items()
    }
    assert np.bincount(data.y).tolist() == [200] * 10
    assert [len(rows) for rows in data.train_test(0)] == [1400, 600]


@needs("mfeat")
def test_bundled_mfeat_is_lossless():
    with np.load(DATA / FILES["mfeat"], allow_pickle=False) as file:
        shared = {name: file[name] for name in file.files}
    bundled = load("mfeat")
    np.testing.assert_array_equal(bundled.y, shared.pop("label"))
    assert set(bundled.X) == set(shared)
    for name, values in shared.items():
        np.testing.assert_array_equal(bundled.X[name], values)
        np.testing.assert_array_equal(load("mfeat", DATA).X[name], values)


def test_htad_is_bundled():
    data = load("htad")
    assert {name: values.shape for name, values in data.X.items()} == {
        "audio": (1386, 36),
        "accelerometer": (1386, 16),
    }
    assert len(data.classes) == 7
    assert data.classes[data.y[0]] == "watch_tv"
    assert data.X["audio"][0, 0] == pytest.approx(120.0788862)
    assert data.X["accelerometer"][-1, -1] == pytest.approx(-0.000234115)


@needs("htad")
def test_bundled_htad_is_lossless():
    bundled, shared = load("htad"), load("htad", DATA)
    np.testing.assert_array_equal(bundled.y, shared.y)
    for name in bundled.X:
        np.testing.assert_array_equal(bundled.X[name], shared.X[name])


@pytest.mark.parametrize("name", ["mfeat", "htad"])
def test_bundled_data_carry_their_notices(name):
    notice = (readers.BUNDLED / f"NOTICE-{name}.txt").read_text(encoding="utf-8")
    assert "Copyright (c)" in notice
    assert "Cite:" in notice
    assert {"mfeat": "CC BY 4.0", "htad": "prior written permission"}[name] in notice


@needs("mosi")
def test_mosi_evaluates_no_row_without_label():
    data = read("mosi")
    assert {name: values.shape[1] for name, values in data.X.items()} == {
        "text": 100,
        "audio": 73,
        "video": 100,
    }
    unlabelled = np.flatnonzero(np.isnan(data.y))
    assert unlabelled.tolist() == [120, 191, 595, 1869]
    sizes = {name: {part: len(rows) for part, rows in split.items()} for name, split in data.splits.items()}
    assert sizes == {
        "split_bclstm": {"train": 1447, "test": 751},
        "split_clean": {"train": 421, "valid": 90, "test": 241},
    }
    for split in data.splits.values():
        for part, rows in split.items():
            assert part == "train" or not np.isin(rows, unlabelled).any()
    assert np.nanmax(np.abs(data.y)) <= 3


@needs("mosi")
def test_mosi_clean_rows_lie_outside_the_part_that_trained_the_features():
    data = read("mosi")
    clean = np.concatenate(list(data.splits["split_clean"].values()))
    assert not np.isin(clean, data.splits["split_bclstm"]["train"]).any()
    train, test = data.train_test(0, "split_clean")
    assert len(train) == 421 + 90
    assert len(test) == 241


@needs("wesad")
def test_wesad_columns_go_to_their_sensor():
    data = read("wesad")
    assert {name: values.shape[1] for name, values in data.X.items()} == {
        "ACC": 12,
        "BVP": 5,
        "EDA": 16,
        "Resp": 4,
        "TEMP": 5,
    }
    assert np.bincount(data.y).tolist() == [195, 628, 355]
    assert len(np.unique(data.groups)) == 15
    table = pd.read_csv(DATA / FILES["wesad"])
    np.testing.assert_array_equal(data.X["TEMP"][:, -1], table["TEMP_slope"])
    np.testing.assert_array_equal(data.X["BVP"][:, -1], table["BVP_peak_freq"])


@needs("extrasensory")
def test_extrasensory_absent_groups_are_nan_and_present_ones_may_have_gaps():
    data = read("extrasensory")
    assert all(isinstance(schema, Tabular) for schema in data.modalities.values())
    with np.load(DATA / FILES["extrasensory"], allow_pickle=False) as file:
        for name, values in data.X.items():
            absent = np.isnan(values).all(axis=1)
            assert absent[~file[f"m_{name}"]].all()
            flagged = absent & file[f"m_{name}"]
            assert np.isnan(file[f"x_{name}"][flagged]).all()
    absent = {name: np.isnan(values).all(axis=1) for name, values in data.X.items()}
    assert absent["watch_acc"].mean() == pytest.approx(0.375, abs=0.01)
    assert any((np.isnan(values).any(axis=1) & ~absent[name]).any() for name, values in data.X.items())


@needs("extrasensory")
def test_extrasensory_outliers_are_clipped_by_the_train_part():
    data = read("extrasensory")
    train = data.splits["by_user"]["train"]
    assert {part: len(np.unique(data.groups[rows])) for part, rows in data.splits["by_user"].items()} == {
        "train": 19,
        "valid": 4,
        "test": 7,
    }
    with np.load(DATA / FILES["extrasensory"], allow_pickle=False) as file:
        raw = file["x_location"]
    column = np.nanargmax(np.nanmax(raw, axis=0))
    low, high = np.nanpercentile(raw[train, column], [0.5, 99.5])
    values = data.X["location"][:, column]
    assert np.nanmax(values) == pytest.approx(high, rel=1e-6)
    assert high < np.nanmax(raw[:, column]) / 2
    inside = (raw[:, column] > low) & (raw[:, column] < high)
    np.testing.assert_array_equal(values[inside], raw[inside, column])


@needs("wiki")
def test_wiki_has_the_published_split_and_two_feature_sets():
    default, other = read("wiki"), read("wiki", variant="sift_lda")
    assert [values.shape[1] for values in default.X.values()] == [128, 100]
    assert [values.shape[1] for values in other.X.values()] == [128, 10]
    np.testing.assert_array_equal(default.y, other.y)
    train, test = default.train_test(0)
    np.testing.assert_array_equal(train, np.arange(2173))
    np.testing.assert_array_equal(test, np.arange(2173, 2866))


@needs("av_digits")
def test_av_digits_runs_along_frames():
    data = read("av_digits")
    assert data.modalities == {"audio": Series(), "image": Vector()}
    with np.load(DATA / FILES["av_digits"], allow_pickle=False) as file:
        mel_by_frame, image = file["audio_logmel"], file["image"]
    np.testing.assert_array_equal(data.X["audio"][7, 5], mel_by_frame[7, :, 5].astype(np.float32))
    assert data.X["image"].shape == (3000, 784)
    assert (data.X["image"].min(), data.X["image"].max()) == (0.0, 1.0)
    np.testing.assert_allclose(data.X["image"][3] * 255, image[3].ravel(), atol=1e-4)


@needs("av_digits")
def test_neighbouring_frames_are_more_alike_than_neighbouring_mels():
    """The time axis was interpolated, so it is the smoother one: the axis order is the one we say."""
    audio = read("av_digits").X["audio"]
    assert np.abs(np.diff(audio, axis=1)).mean() < np.abs(np.diff(audio, axis=2)).mean()


@needs("av_digits")
def test_av_digits_holds_out_two_speakers():
    data = read("av_digits")
    train, test = data.train_test(0, "by_speaker")
    assert len(np.unique(data.groups[train])) == 4
    assert sorted(set(data.groups[test])) == ["theo", "yweweler"]
    assert [len(rows) for rows in data.train_test(0)] == [2700, 300]


@needs("av_digits")
def test_raw_av_digits_hold_images_as_they_are():
    data, features = read("av_digits", variant="raw"), read("av_digits")
    assert data.modalities == {"audio": Series(), "image": Image()}
    with np.load(DATA / FILES["av_digits"], allow_pickle=False) as file:
        image = file["image"]
    assert {(cell.shape, str(cell.dtype)) for cell in data.X["image"]} == {((28, 28), "uint8")}
    np.testing.assert_array_equal(data.X["image"][7], image[7])
    np.testing.assert_array_equal(data.X["audio"], features.X["audio"])
    for split in data.splits:
        for one, other in zip(data.train_test(0, split), features.train_test(0, split), strict=True):
            np.testing.assert_array_equal(one, other)


@needs("mosi_raw")
def test_raw_mosi_has_transcripts_and_the_official_split():
    data, features = read("mosi_raw"), load("mosi", DATA)
    assert data.modalities == {"text": Text(), "audio": Vector()}
    assert data.X["text"][0] == "ANYHOW IT WAS REALLY GOOD"
    np.testing.assert_array_equal(data.X["audio"], features.X["audio"])
    np.testing.assert_array_equal(data.y, features.y)
    assert {part: len(rows) for part, rows in data.splits["split_official"].items()} == {
        "train": 1281,
        "valid": 229,
        "test": 685,
    }


@needs("fashion")
def test_fashion_is_photographs_and_titles_without_the_words_of_the_class():
    data = read("fashion")
    assert data.modalities == {"title": Text(), "image": Image()}
    assert {part: len(rows) for part, rows in data.splits["published"].items()} == {
        "train": 6783,
        "valid": 964,
        "test": 1872,
    }
    assert len(data.classes) == 24
    assert data.X["title"][0] == "Puma Deck Navy Blue"
    assert data.classes[data.y[0]] == "Backpacks"
    assert {cell[:3] for cell in data.X["image"]} == {b"\xff\xd8\xff"}  # JPEG


@needs("fashion")
def test_fashion_attributes_are_labels_that_enough_products_have():
    data = read("fashion", variant="attributes")
    assert data.task == data.kind == "multilabel"
    assert data.y.shape == (9619, len(data.classes)) == (9619, 52)
    assert set(np.unique(data.y)) == {0.0, 1.0}
    table = pd.read_csv(DATA / "fashion_small/items.csv")
    for name, values in zip(data.classes, data.y.T, strict=True):
        attribute, value = name.split(": ")
        np.testing.assert_array_equal(values, table[attribute] == value)
        assert (table[attribute][table["split"] == "train"] == value).sum() >= readers.N_WITH_ATTRIBUTE
    rare = table[table["split"] == "train"]["colour"].value_counts()
    assert not set(rare.index[rare < readers.N_WITH_ATTRIBUTE]) & {name[8:] for name in data.classes}


@needs("fashion")
def test_fashion_for_retrieval_has_whole_titles():
    data, products = read("fashion", variant="retrieval"), read("fashion")
    assert data.task == "retrieval"
    assert data.X["title"][0] == "Puma Deck Navy Blue Backpack"
    np.testing.assert_array_equal(data.X["image"], products.X["image"])
    np.testing.assert_array_equal(data.y, products.y)


def test_rows_are_taken_from_every_modality():
    data = load("htad")
    X, y = data.rows(np.array([3, 1]))
    np.testing.assert_array_equal(y, data.y[[3, 1]])
    np.testing.assert_array_equal(X["audio"], data.X["audio"][[3, 1]])


# --- where the data come from ----------------------------------------------------------------------------


@needs("wiki")
def test_the_variable_names_the_folder(monkeypatch):
    monkeypatch.setenv("POLYMODAL_DATA", str(DATA))
    assert len(load("wiki")) == 2866


def test_no_folder_given(monkeypatch):
    monkeypatch.delenv("POLYMODAL_DATA", raising=False)
    with pytest.raises(
        DataError, match=r"mosi is not bundled .*none was given; pass --data DIR .*POLYMODAL_DATA"
    ):
        load("mosi")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_names_the_data_set_the_path_and_the_way_out(name, tmp_path):
    with pytest.raises(
        DataError, match=rf"^{name} is read from the file .*; there is none; pass --data DIR"
    ) as error:
        load(name, tmp_path)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("cifar", {}, r"data sets are mfeat, htad, .*'cifar' came"),
        ("wiki", {"variant": "bert"}, r"variants of wiki are: cnn_w2v, sift_lda; 'bert' came"),
        ("htad", {"variant": "cnn_w2v"}, r"variants of htad are: none; 'cnn_w2v' came"),
        ("htad", {"variant": ""}, r"variants of htad are: none; '' came"),
    ],
)
def test_unknown_names(name, options, text):
    with pytest.raises(ConfigError, match=text):
        load(name, **options)


def test_an_unknown_split_names_those_there_are():
    with pytest.raises(ConfigError, match=r"htad has the splits \['random'\]; 'official' came"):
        load("htad").train_test(0, "official")


def test_reading_loads_no_torch():
    code = "import sys; from polymodal.data import missingness, readers; readers.load('mfeat')"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], check=True)
