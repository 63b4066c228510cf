"""Data sets of the package ``datasets`` as X: files inside them are not touched until they are decoded."""

import io
import wave

import numpy as np
import pandas as pd
import PIL.Image
import pytest

import polymodal
from polymodal import Audio, Image, MethodClassifier, Series, Tabular, Text, Vector, cli
from polymodal.data import door, huggingface, raw
from polymodal.encoders.table import Encoders
from polymodal.errors import CellTypeError, DataError, PresenceWarning, SchemaError
from polymodal.methods.floors import FLOORS

datasets = pytest.importorskip("datasets")

N = 40
FILE = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
FEATURES = {
    "poster": datasets.Image(),
    "sound": FILE,
    "title": datasets.Value("string"),
    "year": datasets.Value("int64"),
    "genre": datasets.ClassLabel(names=["war", "peace"]),
    "pulse": datasets.List(datasets.Value("float32")),
    "grid": datasets.Array2D((2, 3), "float32"),
    "label": datasets.ClassLabel(names=["no", "yes"]),
}
MODALITIES = {"poster": Image(), "sound": Audio(), "title": Text()}


def png(i):
    content = io.BytesIO()
    pixels = np.random.default_rng(i).integers(0, 100, (9, 9, 3)) + 120 * (i % 2)
    PIL.Image.fromarray(pixels.astype(np.uint8)).save(content, "PNG")
    return content.getvalue()


def wav(i):
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes((9000 * np.sin(np.arange(900) * (0.1 + i % 2))).astype("<i2").tobytes())
    return content.getvalue()


def row(i):
    present = {
        "poster": {"bytes": png(i), "path": f"{i}.png"},
        "sound": {"bytes": wav(i), "path": None},
        "title": f"{['a quiet night', 'the loud war'][i % 2]} {i}",
        "year": 1990 + i,
        "genre": i % 2,
        "pulse": [float(i % 2)] * (1 + i % 3),
    }
    gaps = {name: None for m, name in enumerate(present) if (i + m) % 7 == 0}
    return present | gaps | {"grid": np.full((2, 3), i).tolist(), "label": i % 2}


@pytest.fixture(scope="module")
def rows():
    columns = {name: [row(i)[name] for i in range(N)] for name in FEATURES}
    made = datasets.Dataset.from_dict(columns, features=datasets.Features(FEATURES))
    return made.cast_column("sound", datasets.Audio(decode=False))


@pytest.fixture(scope="module")
def as_frame():
    """The same rows, as anybody would write them down for pandas."""
    frame = pd.DataFrame([row(i) for i in range(N)])
    for name in ("poster", "sound"):
        frame[name] = [None if cell is None else cell["bytes"] for cell in frame[name]]
    frame["genre"] = frame["genre"].map({0: "war", 1: "peace"}).astype(object)
    frame["pulse"] = [None if cell is None else np.array(cell) for cell in frame["pulse"]]
    frame["grid"] = [np.array(cell) for cell in frame["grid"]]
    return frame


@pytest.fixture(scope="module")
def model(rows):
    model = MethodClassifier(
        "robult", MODALITIES, settings={"d_latent": 8}, max_epochs=2, random_state=0, device="cpu"
    )
    return model.fit(rows, rows["label"])


EVERYTHING = {
    **MODALITIES,
    "facts": Tabular(["year", "genre"]),
    "pulse": Series(),
    "grid": Series(),
}


def numbers(X, modalities):
    return Encoders().fit_transform(door.read(X, door.bind(X, modalities)))


def assert_same(found, expected):
    np.testing.assert_array_equal(found.presence, expected.presence)
    for name, cells in expected.cells.items():
        for part in ("numeric", "categorical"):
            np.testing.assert_array_equal(getattr(found.cells[name], part), getattr(cells, part))
        for left, right in zip(found.cells[name].series or [], cells.series or [], strict=True):
            np.testing.assert_array_equal(left, right)


def test_a_data_set_is_read_as_the_same_rows_of_a_frame(rows, as_frame):
    assert_same(numbers(rows, EVERYTHING), numbers(as_frame, EVERYTHING))


@pytest.mark.parametrize("choice", ["slice", "list", "shuffle", "filter"])
def test_chosen_rows_are_those_rows(choice, rows, as_frame):
    index = {
        "slice": list(range(5, 20)),
        "list": [7, 3, 3, 20],
        "shuffle": np.random.default_rng(0).permutation(N).tolist(),
        "filter": [i for i in range(N) if i % 3],
    }[choice]
    assert_same(numbers(rows.select(index), EVERYTHING), numbers(as_frame.iloc[index], EVERYTHING))
    schema = door.bind(rows, EVERYTHING)
    taken = slice(5, 20) if choice == "slice" else np.array(index)
    expected = door.read(as_frame.iloc[index], schema).presence
    np.testing.assert_array_equal(door.read(door.take(rows, taken), schema).presence, expected)


def test_two_choices_one_after_the_other(rows, as_frame):
    twice = rows.shuffle(seed=0).select(range(3, 9))
    index = [int(grid[0][0]) for grid in twice["grid"]]
    found = door.read(twice, door.bind(twice, {"sound": Audio()})).cells["sound"].raw
    assert [cell and cell.read() for cell in found] == as_frame["sound"][index].tolist()


def test_the_door_reads_no_byte_of_a_file_and_absent_cells_are_never_read(rows, monkeypatch):
    read = []
    monkeypatch.setattr(raw.Stored, "read", lambda own: read.append(own.row) or own.column[own.row].as_py())
    monkeypatch.setenv("POLYMODAL_CACHE", "off")
    schema = door.bind(rows, MODALITIES)
    table = door.read(rows, schema)
    assert read == []
    encoders = Encoders().fit(table)
    for X in (table, rows):
        read.clear()
        encoders.transform(door.read(door.restrict(X, schema, ["poster"]), schema))
        assert sorted(read) == [i for i in range(N) if row(i)["poster"] is not None]


def test_nothing_is_decoded_by_datasets(rows, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("decoded")

    monkeypatch.setattr(datasets.Image, "decode_example", refuse)
    monkeypatch.setattr(datasets.Audio, "decode_example", refuse)
    assert numbers(rows, MODALITIES).presence.any()


def test_an_estimator_learns_from_a_data_set_and_predicts_from_a_frame(model, rows, as_frame, monkeypatch):
    expected = model.predict_proba(rows)
    np.testing.assert_array_equal(model.predict_proba(as_frame), expected)
    monkeypatch.setattr("polymodal.estimators.shell.ROWS_PER_CHUNK", 7)
    np.testing.assert_allclose(model.predict_proba(rows), expected, atol=1e-6)
    few = rows.remove_columns("poster")
    np.testing.assert_array_equal(model.predict(few), model.predict(as_frame.drop(columns="poster")))
    report = model.subset_report(rows, rows["label"])
    assert set(report.subset) >= {"poster", "poster+sound+title"}


def test_a_model_comes_back(model, rows, tmp_path):
    model.save(tmp_path / "model")
    back = polymodal.load(tmp_path / "model", device="cpu")
    np.testing.assert_array_equal(back.predict_proba(rows), model.predict_proba(rows))


def test_labels_are_a_column_of_the_data_set(rows):
    floor = FLOORS["late_fusion"](MODALITIES, random_state=0).fit(rows, rows["label"])
    assert (floor.predict(rows) == np.array(rows["label"])).mean() > 0.9
    regress = FLOORS["late_fusion"]({"grid": Series()}, task="regression").fit(rows, rows["year"])
    assert np.corrcoef(regress.predict(rows), np.arange(N))[0, 1] > 0.9


def test_paths_inside_a_data_set_are_files(tmp_path):
    (tmp_path / "a.png").write_bytes(png(0))
    made = datasets.Dataset.from_dict({"p": [str(tmp_path / "a.png"), None, str(tmp_path / "b.png")]})
    made = made.cast_column("p", datasets.Image())
    with pytest.raises(DataError, match=r"row 2 \(.*b\.png: there is no such file\)"):
        numbers(made, {"p": Image()})
    with pytest.warns(PresenceWarning, match="1 of 3 rows of Image 'p'"):
        assert numbers(made, {"p": Image(on_corrupt="absent")}).presence.tolist() == [
            [True],
            [False],
            [False],
        ]


def test_damaged_and_empty_files_inside_a_data_set_are_named():
    cells = [{"bytes": content, "path": "x.png"} for content in (png(0), png(1)[:40], b"")]
    made = datasets.Dataset.from_dict({"p": cells}, features=datasets.Features({"p": FILE}))
    with pytest.raises(
        DataError, match=r"1 of 3 rows of Image 'p' cannot: row 2 \(0 bytes: there is nothing"
    ):
        numbers(made, {"p": Image()})
    with pytest.raises(DataError, match=r"1 of 2 rows of Image 'p' cannot: row 1 \(40 bytes: "):
        numbers(made.select([0, 1]), {"p": Image()})


def test_the_same_files_in_parquet_through_the_command_line(rows, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("POLYMODAL_CACHE", str(tmp_path / "cache"))
    rows.to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["encode", str(tmp_path / "rows.parquet"), "--image", "poster", "--audio", "sound"])
    assert stopped.value.code == 0
    n = {name: sum(row(i)[name] is not None for i in range(N)) for name in ("poster", "sound")}
    assert f"image: {n['poster']} cells by descriptors" in capsys.readouterr().out
    monkeypatch.setattr("polymodal.encoders.image.Descriptors.encode", None)  # the cache knows them
    numbers(rows, {"poster": Image()})


def test_class_labels_are_categories_and_a_hidden_one_is_a_gap(rows):
    made = datasets.Dataset.from_dict(
        {"g": [0, 1, -1, None]}, features=datasets.Features({"g": datasets.ClassLabel(names=["a", "b"])})
    )
    assert numbers(made, {"g": Tabular()}).cells["g"].categorical.tolist() == [["a"], ["b"], [None], [None]]


def test_cross_validation_takes_its_frame(rows):
    from sklearn.model_selection import cross_val_score

    frame = huggingface.frame(rows)
    floor = FLOORS["late_fusion"]({"poster": Image(), "pulse": Series()}, random_state=0)
    there = frame[frame.poster.notna()]
    assert cross_val_score(floor, there, there.label, cv=2, scoring="accuracy").min() > 0.8


BAD = {
    "two splits": (
        lambda rows: datasets.DatasetDict(train=rows),
        r"X is one split; a DatasetDict of train came; pass X\['train'\]",
    ),
    "a stream": (
        lambda rows: rows.to_iterable_dataset(),
        "a streamed data set came; load it without streaming=True",
    ),
    "a transform": (lambda rows: rows.with_transform(dict), "a transform of its own came; apply it by map"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_has_no_rows_of_its_own_is_refused(case, rows, model):
    make, words = BAD[case]
    for act in (lambda X: door.bind(X, MODALITIES), model.predict):
        with pytest.raises(DataError, match=words):
            act(make(rows))


def test_a_column_of_another_kind_is_refused(rows):
    with pytest.raises(
        CellTypeError, match=r"a Text is a text; row 1, column 'poster' of Text 't' holds a file of"
    ):
        numbers(rows, {"t": Text("poster")})
    with pytest.raises(SchemaError, match="'p' needs 'posters' and the DataFrame has 'poster', 'sound'"):
        door.bind(rows, {"p": Image("posters")})
    with pytest.raises(CellTypeError, match="column 'poster' of Tabular 'table' holds"):
        door.bind(rows, None)


def test_a_data_set_on_disk_stays_there(rows, tmp_path):
    rows.save_to_disk(tmp_path / "rows")
    back = datasets.load_from_disk(str(tmp_path / "rows"))
    assert_same(numbers(back, MODALITIES), numbers(rows, MODALITIES))
    year = numbers(back, {"year": Vector("year")}).cells["year"].numeric[:, 0]
    np.testing.assert_array_equal(year, [row(i)["year"] or np.nan for i in range(N)])
