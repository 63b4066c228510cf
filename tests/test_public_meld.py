"""MELD in the files of its repository: three tables and three folders of clips."""

from dataclasses import replace

import numpy as np
import pytest

from polymodal.data import public, readers
from polymodal.data.public import meld
from polymodal.errors import DataError

HEADER = (
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"
)
END = '4,7,"00:20:57,256","00:21:00,049"\n'
TABLES = {
    "train_sent_emo.csv": [
        f"1,also I was the point person on my company\x92s transition,Chandler,neutral,neutral,0,0,{END}",
        f"2,NA,Interviewer,surprise,positive,0,1,{END}",
        f'3,"So, let\u2019s talk",Chandler,anger,negative,125,3,{END}',
    ],
    "dev_sent_emo.csv": [
        f'1,"Oh my God, he\u2019s lost it. He\u2019s totally lost it.",Phoebe,sadness,negative,0,0,{END}',
        f"1153,What?,Monica,surprise,negative,110,7,{END}",
    ],
    "test_sent_emo.csv": [f"1,Why do all you\u2019re mugs have numbers?,Mark,disgust,negative,0,0,{END}"],
}
CLIPS = {
    "train_splits": ["dia0_utt0", "dia0_utt1", "dia125_utt3"],
    "dev_splits_complete": ["dia0_utt0", "dia66_utt9"],
    "output_repeated_splits_test": ["dia0_utt0", "final_videos_testdia101_utt0"],
}


@pytest.fixture
def folder(tmp_path):
    for name, lines in TABLES.items():
        (tmp_path / name).write_text(HEADER + "".join(lines), encoding="utf-8")
    for name, clips in CLIPS.items():
        (tmp_path / name).mkdir()
        for clip in clips:
            (tmp_path / name / f"{clip}.mp4").write_bytes(b"a clip")
    return tmp_path


def test_texts_come_as_published_and_emotions_by_name(folder):
    data = public.read("meld", folder, "text")
    assert list(data.X["text"][:3]) == [
        "also I was the point person on my company\x92s transition",
        "NA",
        "So, let\u2019s talk",
    ]
    assert [data.classes[code] for code in data.y] == [
        *("neutral", "surprise", "anger", "sadness", "surprise", "disgust")
    ]
    assert list(data.modalities) == list(data.X) == ["text"]


def test_the_published_parts_are_the_split_and_dialogues_are_groups(folder):
    data = public.read("meld", folder, "text")
    parts = {part: list(rows) for part, rows in data.splits["published"].items()}
    assert parts == {"train": [0, 1, 2], "valid": [3, 4], "test": [5]}
    assert list(data.groups) == ["train-0", "train-0", "train-125", "valid-0", "valid-110", "test-0"]


def test_the_two_clips_that_are_known_to_be_missing_are_absent(folder):
    data = public.read("meld", folder)
    assert [clip if clip is None else clip.relative_to(folder).as_posix() for clip in data.X["video"]] == [
        "train_splits/dia0_utt0.mp4",
        "train_splits/dia0_utt1.mp4",
        None,
        "dev_splits_complete/dia0_utt0.mp4",
        None,
        "output_repeated_splits_test/dia0_utt0.mp4",
    ]


def test_a_clip_put_where_none_was_published_is_taken(folder):
    (folder / meld.NEVER_PUBLISHED).write_bytes(b"a clip")
    assert public.read("meld", folder).X["video"][4] == folder / meld.NEVER_PUBLISHED


def test_any_other_missing_clip_is_an_error(folder):
    (folder / "train_splits/dia0_utt1.mp4").unlink()
    with pytest.raises(DataError, match=r"1 of 4 are not there, first train_splits/dia0_utt1.mp4; get them"):
        public.read("meld", folder)


def test_a_missing_folder_of_clips_is_named(folder):
    (folder / "train_splits").rename(folder / "train")
    with pytest.raises(DataError, match=r"meld is read from the folder .*train_splits; there is none"):
        public.read("meld", folder)


def test_an_emotion_that_there_is_not_is_an_error(folder):
    text = (folder / "test_sent_emo.csv").read_text(encoding="utf-8")
    (folder / "test_sent_emo.csv").write_text(text.replace("disgust", "boredom"), encoding="utf-8")
    with pytest.raises(DataError, match=r"emotions of meld are anger, .*; 'boredom' came in"):
        public.read("meld", folder, "text")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"Utterance,Emotion,Dialogue_ID\nHey,joy,0\n", "holds .*; 'Utterance_ID' is missing"),
        (HEADER.encode() + b"1,don\x92t,Ross,joy,positive,0,0\n", "is a CSV in UTF-8; .* is not"),
        (b"", "is a CSV in UTF-8; .* is not"),
    ],
)
def test_a_damaged_table_is_one_sentence(folder, content, words):
    (folder / "train_sent_emo.csv").write_bytes(content)
    with pytest.raises(DataError, match=words):
        public.read("meld", folder, "text")


def test_check_compares_the_published_numbers(folder, monkeypatch):
    found = {finding.what: finding.is_right for finding in public.check("meld", folder)}
    assert found["train: 3 rows, 9,989 published"] is False
    tiny = replace(meld.MELD, n_rows={"train": 3, "valid": 2, "test": 1})
    monkeypatch.setattr(meld, "MELD", tiny)
    assert all(finding.is_right for finding in public.check("meld", folder))


def test_load_finds_the_set_in_the_folder_of_its_name(folder, tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    (data / "meld").symlink_to(folder)
    assert np.array_equal(readers.load("meld", data, variant="text").y, public.read("meld", folder, "text").y)
