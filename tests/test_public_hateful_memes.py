"""Hateful Memes in its files: one JSON object a line, and pictures; and a model fitted on them."""

import json

import numpy as np
import pytest

from pictures import write_picture
from polymodal.data import public
from polymodal.errors import DataError
from polymodal.estimators import RobultClassifier


def meme(number, label=None):
    """A line as published: the number's zeros are in the picture's name alone."""
    line = {"id": number, "img": f"img/{number:05}.png"}
    line |= {} if label is None else {"label": label}
    return line | {"text": f"it is {['not ', ''][number % 2]}their time, number {number}"}


def write(folder, parts, pictures=True):
    for part, memes in parts.items():
        (folder / f"{part}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in memes))
        for line in memes if pictures else []:
            write_picture(folder / line["img"], bright=line.get("label") == 1)


PARTS = {
    "train": [meme(n, n % 2) for n in range(1235, 1241)],
    "dev_seen": [meme(1, 1), meme(2, 0)],
    "dev_unseen": [meme(2, 0), meme(3, 1)],
    "test_seen": [meme(4, 0), meme(5, 1)],
    "test_unseen": [meme(6, 0), meme(7, 1), meme(8, 0)],
}


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, PARTS)
    return tmp_path


def images(data, rows):
    return [path.stem for path in data.X["image"][rows]]


def test_a_meme_of_two_parts_is_one_row(folder):
    data = public.read("hateful_memes", folder)
    assert len(data) == 6 + 3 + 2 + 3
    assert images(data, data.splits["seen"]["valid"]) == ["00001", "00002"]
    assert images(data, data.splits["unseen"]["valid"]) == ["00002", "00003"]
    assert images(data, data.splits["unseen"]["test"]) == ["00006", "00007", "00008"]
    assert images(data, data.splits["dev"]["test"]) == ["00001", "00002"]


def test_the_paper_s_split_is_the_default_and_labels_are_as_published(folder):
    data = public.read("hateful_memes", folder)
    assert next(iter(data.splits)) == "seen"
    assert list(data.y[data.splits["seen"]["train"]]) == [line["label"] for line in PARTS["train"]]
    assert data.X["text"][0] == PARTS["train"][0]["text"]
    assert data.metrics == ("auroc", "accuracy")


def test_the_first_release_is_tested_on_dev(tmp_path):
    hidden = [meme(4), meme(5)]
    write(tmp_path, {"train": PARTS["train"], "dev": PARTS["dev_seen"], "test": hidden})
    data = public.read("hateful_memes", tmp_path)
    assert list(data.splits) == ["dev"]
    assert list(data.y[-2:]) == [-1, -1]
    assert not set(np.flatnonzero(data.y == -1)) & {
        row for rows in data.splits["dev"].values() for row in rows
    }


def test_without_labels_to_test_on_there_is_nothing_to_read(tmp_path):
    write(tmp_path, {"train": PARTS["train"], "test_seen": PARTS["test_seen"]})
    with pytest.raises(
        DataError, match=r"evaluated on labelled memes; .* only test_seen, train came with labels"
    ):
        public.read("hateful_memes", tmp_path)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('{"id": 1, "img": "img/01235.png"}\n', "holds img, text; 'text' is missing in"),
        ('["img/01235.png", "a text"]\n', "holds img, text; 'img' is missing in"),
        ("not json\n", "train.jsonl of hateful_memes is one JSON object a line, in UTF-8; .* is not"),
    ],
)
def test_a_damaged_line_is_one_sentence(folder, lines, words):
    (folder / "train.jsonl").write_text(lines)
    with pytest.raises(DataError, match=words):
        public.read("hateful_memes", folder)


def test_missing_pictures_are_counted_and_the_first_five_named(tmp_path):
    write(tmp_path, PARTS, pictures=False)
    write_picture(tmp_path / "img/00001.png")
    with pytest.raises(
        DataError, match=r"13 of 14 are not there, first img/01235.png, (\S+ ){3}img/01239.png;"
    ):
        public.read("hateful_memes", tmp_path)


def test_a_folder_without_the_training_part_says_where_to_get_it(folder):
    (folder / "train.jsonl").unlink()
    with pytest.raises(DataError, match=r"hateful_memes is read from the file .*train.jsonl; .*ai.meta.com"):
        public.read("hateful_memes", folder)


def test_a_model_is_fitted_on_the_files_with_the_built_in_encoders(tmp_path, monkeypatch):
    monkeypatch.setenv("POLYMODAL_CACHE", "off")
    train = [meme(n, n % 2) for n in range(100, 140)]
    write(tmp_path, {"train": train, "dev_seen": [meme(n, n % 2) for n in range(200, 212)]})
    data = public.read("hateful_memes", tmp_path)
    rows, held_out = data.train_test(seed=0)
    model = RobultClassifier(data.modalities, max_epochs=8, random_state=0).fit(*data.rows(rows))
    X, y = data.rows(held_out)
    assert (model.predict(X) == y).mean() >= 0.75
    X["image"] = np.full(len(y), None)
    assert model.predict_proba(X).shape == (12, 2)
