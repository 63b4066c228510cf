"""Estimators and floors on texts, images, sounds and videos: from files to predictions, saved and loaded."""

import sys
import wave
from collections import Counter

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import torch
from sklearn.model_selection import cross_val_score

import polymodal
from polymodal import (
    Audio,
    Image,
    MethodClassifier,
    MethodRegressor,
    PgMClassifier,
    PgMRetriever,
    RobultClassifier,
    Tabular,
    Text,
    Video,
    cli,
)
from polymodal.data import door, tables
from polymodal.encoders import Encoded
from polymodal.encoders.module import ModuleEncoder
from polymodal.errors import CheckpointError, ConfigError, DataError, PresenceWarning
from polymodal.estimators import shell
from polymodal.methods.floors import FLOORS
from polymodal.methods.floors.retrieval import CCARetriever

N = 48
QUICK = {"max_epochs": 2, "random_state": 0, "device": "cpu"}
MODALITIES = {
    "title": Text(),
    "poster": Image(),
    "sound": Audio(encoder="log_mel_series"),
    "clip": Video(n_frames=2),
    "facts": Tabular(["year"]),
}
NAMES = tuple(MODALITIES)

_opened: list[str] | None = None


def _listen(event, arguments):
    if _opened is not None and event == "open" and isinstance(arguments[0], str):
        _opened.append(arguments[0])


sys.addaudithook(_listen)


@pytest.fixture
def opened():
    """Every file that anything opens, as it happens."""
    global _opened
    _opened = []
    yield _opened
    _opened = None


def photo(random, label):
    pixels = random.integers(0, 120, (12, 12, 3)) + 100 * label
    return PIL.Image.fromarray(pixels.astype(np.uint8))


def write_row(folder, i, label, random):
    """The files of one row."""
    photo(random, label).save(folder / f"{i}.png")
    photo(random, label).save(folder / f"{i}.gif", save_all=True, append_images=[photo(random, label)] * 2)
    samples = np.sin(np.arange(2000) * (0.1 + 0.2 * label)) + random.normal(0, 0.1, 2000)
    with wave.open(str(folder / f"{i}.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes((9000 * samples).astype("<i2").tobytes())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of files and ``rows.jsonl`` with relative paths and gaps."""
    folder, random = tmp_path_factory.mktemp("films"), np.random.default_rng(0)
    rows = []
    for i in range(N):
        label = i % 2
        write_row(folder, i, label, random)
        row = {
            "title": f"{['a quiet night', 'the loud war'][label]} {random.integers(9)}",
            "poster": f"{i}.png",
            "sound": f"{i}.wav",
            "clip": f"{i}.gif",
            "year": 1990.0 + 9 * label + random.normal(),
            "label": label,
        }
        absent = [name for m, name in enumerate(["title", "poster", "sound", "clip"]) if (i + m) % 6 == 0]
        rows.append({name: None if name in absent else cell for name, cell in row.items()})
    tables.write(pd.DataFrame(rows), folder / "rows.jsonl")
    return folder


@pytest.fixture
def rows(folder):
    return tables.read(folder / "rows.jsonl")


@pytest.fixture(scope="module")
def model(folder):
    rows = tables.read(folder / "rows.jsonl")
    settings = {"d_latent": 8}
    return MethodClassifier("robult", MODALITIES, settings=settings, **QUICK).fit(rows, rows["label"])


# ---- from files to predictions ---------------------------------------------------------------------------


def test_every_kind_at_once(model, rows):
    assert [(i.name, i.kind) for i in model.preprocessor_.inputs] == [
        ("title", "vector"),
        ("poster", "vector"),
        ("sound", "series"),
        ("clip", "vector"),
        ("facts", "vector"),
    ]
    found = model.branch_predictions(rows)
    for name in NAMES[:4]:
        np.testing.assert_array_equal(np.isfinite(found[name][:, 0]), rows[name].notna())
    assert (model.floors_["late_fusion"].predict(model.encoded(rows)) == rows.label).mean() > 0.9


@pytest.mark.parametrize("cls", [RobultClassifier, PgMClassifier])
def test_estimators_learn_from_titles_and_posters(cls, rows):
    modalities = {name: MODALITIES[name] for name in ("title", "poster")}
    model = cls(modalities, random_state=0, device="cpu", max_epochs=20, d_latent=16)
    model.fit(rows, rows["label"])
    there = rows.title.notna() | rows.poster.notna()
    assert (model.predict(rows[there]) == rows.label[there]).mean() > 0.8
    report = model.subset_report(rows, rows["label"], metrics=["accuracy"])
    assert set(report.subset) == {"title", "poster", "title+poster", "observed"}
    assert set(report.method) == {model._method_name(), "majority", "late_fusion"}


def test_a_regressor(rows):
    model = MethodRegressor("actionmae", {"poster": Image()}, floors=False, **QUICK)
    model.fit(rows[rows.poster.notna()], rows.year[rows.poster.notna()])
    assert np.isfinite(model.predict(rows[rows.poster.notna()])).all()


def test_a_retriever_and_its_floor(rows):
    modalities = {name: MODALITIES[name] for name in ("title", "poster")}
    for retriever in (PgMRetriever(modalities, d_latent=16, **QUICK), CCARetriever(modalities)):
        found = retriever.fit(rows).embed(rows, "poster")
        np.testing.assert_array_equal(np.isfinite(found[:, 0]), rows.poster.notna())


def test_validation_rows_are_encoded_too(rows):
    model = MethodClassifier("robult", {"title": Text()}, settings={"d_latent": 8}, floors=False, **QUICK)
    known = rows[rows.title.notna()]
    model.fit(known, known.label, validation=(known[:20], known.label[:20]))
    assert model.stopping_rule_ == "early stopping on the validation rows given to fit"


def test_an_encoder_of_the_users(rows):
    def brightness(images):
        return np.array([[np.asarray(image).mean()] for image in images], dtype=np.float32)

    floor = FLOORS["late_fusion"]({"poster": Image(encoder=brightness)}, random_state=0)
    there = rows[rows.poster.notna()]
    assert (floor.fit(there, there.label).predict(there) == there.label).all()


def test_cross_validation_keeps_the_folder(rows):
    floor = FLOORS["late_fusion"]({"poster": Image(), "title": Text()}, random_state=0)
    there = rows[rows.poster.notna()]
    scores = cross_val_score(floor, there, there.label, cv=2, scoring="accuracy")
    assert scores.min() > 0.7  # 0.5 by chance


# ---- absence -----------------------------------------------------------------------------------------------


def test_what_is_absent_changes_nothing(model, rows, tmp_path):
    """The bytes behind an absent cell, and files that only absent cells could name."""
    schema = model.modalities_
    table = door.read(rows, schema)
    hidden = door.restrict(table, schema, ["title", "facts"])
    for name in ("poster", "sound", "clip"):
        cells = hidden.cells[name]
        assert cells.raw is not None
        cells.raw[:] = [tmp_path / "not there"] * N
    expected = model.predict_proba(rows[["title", "year"]])
    np.testing.assert_array_equal(model.predict_proba(hidden), expected)


def test_absent_cells_are_never_opened(model, rows, folder, opened, monkeypatch):
    monkeypatch.setenv("POLYMODAL_CACHE", "off")
    rows = rows.copy()
    rows.loc[::2, "poster"] = None
    model.predict_proba(door.restrict(rows, model.modalities_, ["poster", "facts"]))
    mine = [path for path in opened if path.startswith(str(folder))]
    assert set(mine) == {str(folder / path) for path in rows.poster.dropna()}


def test_a_report_opens_each_file_once(model, rows, folder, opened, monkeypatch):
    monkeypatch.setenv("POLYMODAL_CACHE", "off")
    model.subset_report(rows[:8], rows["label"][:8])
    posters = [path for path in opened if path.startswith(str(folder)) and path.endswith(".png")]
    assert sorted(posters) == sorted(str(folder / path) for path in rows.poster[:8].dropna())


def test_each_row_is_predicted_as_if_alone(model, rows):
    together = model.predict_proba(rows)
    alone = np.concatenate([model.predict_proba(rows[i : i + 1]) for i in range(0, N, 5)])
    np.testing.assert_allclose(alone, together[::5], rtol=1e-5, atol=1e-6)


def test_rows_read_in_chunks_are_numbered_through(model, rows, monkeypatch, tmp_path):
    monkeypatch.setattr("polymodal.estimators.shell.ROWS_PER_CHUNK", 10)
    np.testing.assert_allclose(
        model.predict_proba(rows),
        np.concatenate([model.predict_proba(rows[i : i + 10]) for i in range(0, N, 10)]),
    )
    broken = rows.copy()
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    broken.loc[33, "poster"] = str(tmp_path / "cut.png")
    with pytest.raises(DataError, match=r"1 of 10 rows of Image 'poster' cannot: row 33 \(.*cut\.png: "):
        model.predict_proba(broken)


# ---- damage ------------------------------------------------------------------------------------------------


@pytest.fixture
def damaged(rows, folder, tmp_path):
    """Rows of which one poster is gone, one a directory, one cut off, one no image."""
    rows = rows[rows.poster.notna()].reset_index(drop=True)
    content = (folder / rows.poster[2]).read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "words.png").write_text("no image")
    bad = {0: "gone.png", 1: str(tmp_path), 2: str(tmp_path / "cut.png"), 3: str(tmp_path / "words.png")}
    for row, path in bad.items():
        rows.loc[row, "poster"] = path
    return rows


def test_damaged_files_are_refused_with_their_rows(damaged):
    model = MethodClassifier("robult", {"poster": Image()}, floors=False, **QUICK)
    with pytest.raises(
        DataError, match=r"2 of \d+ rows .*row 0 \(.*gone.png: there is no such file\), row 1"
    ):
        model.fit(damaged, damaged.label)
    with pytest.raises(DataError, match=r"2 of \d+ rows .*row 0 \(.*cut.png: .*\), row 1 \(.*words.png: "):
        model.fit(damaged[2:], damaged.label[2:])


def test_damaged_files_count_as_absent_where_asked(damaged, monkeypatch):
    modalities = {"poster": Image(on_corrupt="absent"), "facts": Tabular(["year"])}
    settings = {"d_latent": 8}
    with pytest.warns(PresenceWarning, match=r"4 of \d+ rows of Image 'poster' cannot be read") as said:
        model = MethodClassifier("robult", modalities, settings=settings, **QUICK).fit(damaged, damaged.label)
    assert len(said) == 1  # of what the door sees and what the decoder sees
    emptied = damaged.copy()
    emptied.loc[:3, "poster"] = None
    expected = model.predict_proba(emptied)
    with pytest.warns(PresenceWarning) as said:
        np.testing.assert_array_equal(model.predict_proba(damaged), expected)
    assert len(said) == 1
    with pytest.warns(PresenceWarning) as said:
        assert np.isnan(model.branch_predictions(damaged)["poster"][:4]).all()
    assert len(said) == 1
    with pytest.warns(PresenceWarning) as said:
        model.subset_report(damaged, damaged.label)
    assert len(said) == 1
    monkeypatch.setattr(shell, "ROWS_PER_CHUNK", 3)
    with pytest.warns(PresenceWarning, match=rf"4 of {len(damaged)} rows .* row 1 .* row 3 ") as said:
        np.testing.assert_allclose(model.predict_proba(damaged), expected, atol=1e-5)
    assert len(said) == 1


def test_a_modality_that_is_damaged_throughout_is_refused(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(20)]
    for path in paths:
        path.write_text("no image")
    X = {"poster": paths, "x": np.arange(40.0).reshape(20, 2)}
    modalities = {"poster": Image(on_corrupt="absent"), "x": polymodal.Vector()}
    with (
        pytest.warns(PresenceWarning, match="20 of 20 rows"),
        pytest.raises(DataError, match="'poster' is absent in every row"),
    ):
        FLOORS["late_fusion"](modalities).fit(X, np.arange(20) % 2)


# ---- keeping -----------------------------------------------------------------------------------------------


def test_a_model_comes_back(model, rows, tmp_path):
    model.save(tmp_path / "model")
    back = polymodal.load(tmp_path / "model", device="cpu")
    assert back.modalities_ == model.modalities_
    np.testing.assert_array_equal(back.predict_proba(rows), model.predict_proba(rows))
    few = rows[["clip", "year"]]
    np.testing.assert_array_equal(back.predict_proba(few), model.predict_proba(few))
    pd.testing.assert_frame_equal(
        back.subset_report(rows, rows["label"]), model.subset_report(rows, rows["label"])
    )


def test_a_floor_comes_back(rows):
    modalities = {"title": Text(), "poster": Image()}
    floor = FLOORS["imputation_concat"](modalities, random_state=0).fit(rows, rows["label"])
    back = type(floor).from_state(*floor.state())
    there = rows[rows.title.notna() | rows.poster.notna()]
    np.testing.assert_array_equal(back.predict_proba(there), floor.predict_proba(there))


def lengths(texts):
    return np.array([[len(text), text.count("w")] for text in texts], np.float32)


class Pixels(torch.nn.Module):
    """Mean colours, weighted."""

    def __init__(self, weight=1.0):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((3,), weight))

    def forward(self, images):
        return torch.stack([torch.tensor(np.asarray(i).mean((0, 1))).float() for i in images]) * self.weight


class Letters:
    """An encoder that learns: how often the most frequent letters of training come."""

    kind = "vector"
    d_out = 4

    def fingerprint(self):
        return None

    def fit(self, cells):
        counted = Counter("".join(cells))
        self.letters = sorted(letter for letter, _ in counted.most_common(4))
        return self

    def encode(self, cells):
        return Encoded(np.array([[t.count(c) for c in self.letters] for t in cells], np.float32))

    def state(self):
        return {"letters": self.letters}, {}

    @classmethod
    def from_state(cls, settings, arrays):
        own = cls()
        own.letters = settings["letters"]
        return own


OWN = {
    "function": ("title", Text, lambda: lengths),
    "lambda": ("title", Text, lambda: lambda texts: [np.ones((len(text), 2)) for text in texts]),
    "module": ("poster", Image, Pixels),
    "wrapped module": ("poster", Image, lambda: ModuleEncoder(Pixels(), version="1")),
    "object that learns": ("title", Text, Letters),
    "frames": ("clip", Video, Pixels),
}


def quick(rows, name, modality):
    known = rows[rows[name].notna()]
    model = MethodClassifier("robult", {name: modality}, settings={"d_latent": 8}, floors=False, **QUICK)
    return model.fit(known, known.label), known


@pytest.mark.filterwarnings("ignore::polymodal.errors.PresenceWarning")
@pytest.mark.parametrize("case", OWN)
def test_a_model_with_an_encoder_of_the_users_comes_back_with_it(case, rows, tmp_path):
    name, kind, new = OWN[case]
    own = new()
    model, known = quick(rows, name, kind(encoder=own))
    model.save(tmp_path / "model")
    with pytest.raises(
        CheckpointError, match=rf"{name!r} needs its \S+ and nothing came; call polymodal.load"
    ):
        polymodal.load(tmp_path / "model")
    back = polymodal.load(
        tmp_path / "model", device="cpu", encoders={name: own if case == "lambda" else new()}
    )
    np.testing.assert_array_equal(back.predict_proba(known), model.predict_proba(known))
    assert back.get_params()["modalities"] == back.modalities_
    back.save(tmp_path / "again")
    assert (tmp_path / "again" / "config.json").read_bytes() == (
        tmp_path / "model" / "config.json"
    ).read_bytes()


def test_an_encoder_with_another_fingerprint_is_refused(rows, tmp_path):
    model, _ = quick(rows, "poster", Image(encoder=ModuleEncoder(Pixels(), version="1")))
    model.save(tmp_path / "model")
    for other in (ModuleEncoder(Pixels(2.0), version="1"), ModuleEncoder(Pixels(), version="2"), Pixels()):
        with pytest.raises(
            CheckpointError, match=r"the encoder of its training; the .* of 'poster' has other"
        ):
            polymodal.load(tmp_path / "model", encoders={"poster": other})
    with pytest.raises(CheckpointError, match="'descriptors' of 'poster' has other"):
        polymodal.load(tmp_path / "model", encoders={"poster": "descriptors"})
    with pytest.raises(ConfigError, match=r"raw modalities of the model, \['poster'\]; 'postr' came"):
        polymodal.load(tmp_path / "model", encoders={"postr": Pixels()})


def test_an_encoder_of_another_width_is_refused_once_it_encodes(rows, tmp_path):
    model, known = quick(rows, "title", Text(encoder=lengths))
    model.save(tmp_path / "model")
    back = polymodal.load(tmp_path / "model", encoders={"title": lambda texts: np.ones((len(texts), 3))})
    with pytest.raises(DataError, match=r"'title' returned \('vector', 2\) before and \('vector', 3\) now"):
        back.predict(known)


def test_models_do_not_share_what_a_users_encoder_learns(rows):
    own = Letters()
    first, known = quick(rows, "title", Text(encoder=own))
    before = first.predict_proba(known)
    quick(rows.assign(title="zzzyyyxxx"), "title", Text(encoder=own))
    np.testing.assert_array_equal(first.predict_proba(known), before)


def test_the_command_line_says_how_to_load_a_model_with_such_an_encoder(rows, folder, tmp_path, capsys):
    quick(rows, "title", Text(encoder=lengths))[0].save(tmp_path / "model")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["predict", str(tmp_path / "model"), str(folder / "rows.jsonl"), "--out", "p.csv"])
    assert stopped.value.code == 2
    assert "'title' needs its lengths and nothing came; call polymodal.load" in capsys.readouterr().err


# ---- the command line --------------------------------------------------------------------------------------


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(argument) for argument in arguments])
    assert stopped.value.code == 0


def test_the_command_line_reads_files_from_a_csv(rows, folder, tmp_path, monkeypatch):
    rows.assign(title=np.where(rows.title.isna(), None, 1990 + rows.label)).to_csv(
        folder / "rows.csv", index=False
    )
    monkeypatch.chdir(tmp_path)
    flags = ["--text", "title", "--image", "picture=poster", "--audio", "sound", "--video", "clip"]
    quick = ["--method", "robult", "--epochs", "1", "--set", "d_latent=8", "--set", "device=cpu"]
    run("fit", folder / "rows.csv", "--target", "label", "--out", "model", *flags, *quick)
    schema = polymodal.load("model").modalities_
    assert [(name, type(m).__name__, m.columns) for name, m in schema.items()] == [
        ("text", "Text", ("title",)),
        ("picture", "Image", ("poster",)),
        ("audio", "Audio", ("sound",)),
        ("video", "Video", ("clip",)),
    ]
    run("predict", "model", folder / "rows.csv", "--out", "predictions.csv")
    assert len(tables.read("predictions.csv")) == N
    run("evaluate", "model", folder / "rows.csv", "--target", "label", "--out", "report.json")
