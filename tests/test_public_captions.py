"""Flickr30k and COCO captions as in Karpathy's JSON files."""

import json

import numpy as np
import pytest

from pictures import write_picture
from polymodal.data import public
from polymodal.data.public import captions
from polymodal.errors import ConfigError, DataError


def sentences(first, n=5):
    return [
        {"tokens": ["a", "dog"], "raw": f"A dog, number {first + i}.", "imgid": 0, "sentid": first + i}
        for i in range(n)
    ]


def flickr(number, split):
    name = f"{1000092795 + number}.jpg"
    own = sentences(5 * number)
    return {"sentids": [s["sentid"] for s in own], "imgid": number, "sentences": own} | {
        "split": split,
        "filename": name,
    }


def coco(number, split, n_captions=5):
    folder = "train2014" if split == "train" else "val2014"
    own = sentences(10 * number, n_captions)
    return {"filepath": folder, "filename": f"COCO_{folder}_{number:012}.jpg", "cocoid": number} | {
        "sentids": [s["sentid"] for s in own],
        "imgid": number,
        "sentences": own,
        "split": split,
    }


@pytest.fixture
def flickr_folder(tmp_path):
    pictures = [flickr(n, split) for n, split in enumerate(["train", "val", "train", "test"])]
    (tmp_path / "dataset_flickr30k.json").write_text(json.dumps({"images": pictures, "dataset": "flickr30k"}))
    for picture in pictures:
        write_picture(tmp_path / "flickr30k-images" / picture["filename"])
    return tmp_path


@pytest.fixture
def coco_folder(tmp_path):
    parts = ["test", "restval", "val", "train", "test", "test"]
    pictures = [coco(n, split, n_captions=5 + n) for n, split in enumerate(parts)]
    (tmp_path / "dataset_coco.json").write_text(json.dumps({"images": pictures, "dataset": "coco"}))
    for picture in pictures:
        write_picture(tmp_path / picture["filepath"] / picture["filename"])
    return tmp_path


def test_a_picture_fills_five_rows(flickr_folder):
    data = public.read("flickr30k", flickr_folder)
    assert len(data) == 20
    assert list(data.X["text"]) == [f"A dog, number {n}." for n in range(20)]
    assert [path.name for path in data.X["image"][::5]] == [f"{1000092795 + n}.jpg" for n in range(4)]
    assert data.X["image"][0] is data.X["image"][4]
    assert np.array_equal(data.y, np.repeat(range(4), 5))
    assert np.array_equal(data.groups, data.y)


def test_the_split_is_karpathy_s(flickr_folder):
    data = public.read("flickr30k", flickr_folder)
    assert list(data.splits) == ["karpathy"]
    pictures = {part: sorted(set(data.y[rows])) for part, rows in data.splits["karpathy"].items()}
    assert pictures == {"train": [0, 2], "valid": [1], "test": [3]}


def test_coco_takes_the_first_five_captions_and_trains_on_restval(coco_folder):
    data = public.read("coco", coco_folder)
    assert list(data.X["text"][5:10]) == [f"A dog, number {n}." for n in range(10, 15)]
    pictures = {part: sorted(set(data.y[rows])) for part, rows in data.splits["karpathy"].items()}
    assert pictures == {"train": [1, 3], "valid": [2], "test": [0, 4, 5]}
    assert data.X["image"][5] == coco_folder / "val2014/COCO_val2014_000000000001.jpg"


def test_the_1k_folds_cut_the_test_part(coco_folder, monkeypatch):
    monkeypatch.setattr(captions, "N_FOLD", 2)
    data = public.read("coco", coco_folder)
    assert list(data.splits) == ["karpathy", "1k_fold1", "1k_fold2"]
    assert sorted(set(data.y[data.splits["1k_fold1"]["test"]])) == [0, 4]
    assert sorted(set(data.y[data.splits["1k_fold2"]["test"]])) == [5]
    assert np.array_equal(data.splits["1k_fold2"]["train"], data.splits["karpathy"]["train"])


def test_labels_are_not_drawn_where_there_are_none(flickr_folder):
    data = public.read("flickr30k", flickr_folder)
    train, test = data.train_test(seed=0)
    assert len(train) == 15
    assert len(test) == 5
    with pytest.raises(ConfigError, match=r"flickr30k is for retrieval"):
        data.train_test(seed=0, split="random")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"split": "extra"}, "is in 'extra' and has 5; get dataset_flickr30k.json from"),
        ({"sentences": sentences(0, 4)}, "has 5 captions or more; .* has 4"),
    ],
)
def test_a_picture_out_of_the_ordinary_is_an_error(flickr_folder, change, words):
    pictures = [flickr(0, "train") | change]
    (flickr_folder / "dataset_flickr30k.json").write_text(json.dumps({"images": pictures}))
    with pytest.raises(DataError, match=words):
        public.read("flickr30k", flickr_folder)


def test_a_file_that_is_not_karpathy_s_is_an_error(coco_folder):
    (coco_folder / "dataset_coco.json").write_text('{"annotations": []}')
    with pytest.raises(DataError, match=r"dataset_coco.json of coco holds images; 'images' is missing in"):
        public.read("coco", coco_folder)


def test_missing_pictures_are_counted_once_each(coco_folder):
    for picture in (coco_folder / "val2014").iterdir():
        picture.unlink()
    with pytest.raises(DataError, match=r"5 of 6 are not there, first val2014/COCO_val2014_0{12}.jpg"):
        public.read("coco", coco_folder)


def test_check_counts_captions(coco_folder):
    found = {finding.what: finding.is_right for finding in public.check("coco", coco_folder)}
    assert found["train2014/ is there"] is True
    assert found["test: 15 rows, 25,000 published"] is False
