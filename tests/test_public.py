"""What is known of published sets, how a folder is judged, and the reader of their pickles."""

import hashlib
import os
import pickle
import re
import struct
import subprocess
import sys
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest

from old_pickles import dumps
from polymodal.data import public, readers
from polymodal.data.public import base, unpickle
from polymodal.data.readers import Dataset, load
from polymodal.errors import ConfigError, DataError
from polymodal.metrics import METRICS
from polymodal.schema import Vector

# --- every set -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", public.names())
def test_every_set_is_described(name):
    known = public.get(name)
    assert known.name == name
    assert all([known.title, known.source, known.licence, known.citation, known.modalities])
    assert all(":" in modality for modality in known.modalities)
    assert "http" in known.source
    assert "\n" not in known.title + known.source + known.licence + known.citation + known.notes
    kinds = [METRICS[metric].kinds for metric in known.metrics if known.task != "retrieval"]
    assert all(known.task in kind for kind in kinds)
    assert set(known.n_rows) <= {"train", "valid", "test", base.ALL}
    assert set(known.layouts) <= set(known.variants)
    for checksum in known.checksums.values():
        algorithm, _, digest = checksum.partition(":")
        assert len(digest) == 2 * hashlib.new(algorithm, usedforsecurity=False).digest_size
    assert all(known.paths(variant) for variant in known.variants or (None,))


@pytest.mark.parametrize("name", public.names())
def test_an_empty_folder_is_a_sentence_and_findings(name, tmp_path):
    known = public.get(name)
    for variant in known.variants or (None,):
        with pytest.raises(DataError, match=rf"^{name} .*; get ") as error:
            public.read(name, tmp_path, variant)
        assert "\n" not in str(error.value)
        findings = public.check(name, tmp_path, variant)
        assert [finding.what for finding in findings] == [
            f"{path} is missing" for path in known.paths(variant)
        ]


def test_names_do_not_clash():
    assert len(set(readers.available())) == len(readers.available())
    assert set(public.names()) < set(readers.available())


def test_a_set_is_imported_when_it_is_asked_for():
    code = (
        "import sys; from polymodal.data import public; public.names(); public.get('wesad_raw')\n"
        "print(sorted(name for name in sys.modules if name.startswith('polymodal.data.public.')), "
        "'torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "wesad" in found
    assert "mmsa" not in found
    assert found.strip().endswith("False")


# --- the door to them ------------------------------------------------------------------------------------


def read_toy(folder, variant):
    values = np.loadtxt(TOY.path(folder, f"{variant}.txt"), ndmin=2)
    n = len(values)
    return Dataset(
        name="toy",
        X={"x": values},
        y=np.arange(n) % 2,
        modalities={"x": Vector()},
        classes=("even", "odd"),
        groups=None,
        splits={"published": {"train": np.arange(n - 2), "test": np.arange(n - 2, n)}},
        **{
            fact: getattr(TOY, fact) for fact in ("task", "metrics", "notes", "licence", "source", "citation")
        },
    )


TOY = base.PublicSet(
    name="toy",
    title="Numbers",
    task="multiclass",
    modalities=("x: Vector",),
    metrics=("accuracy",),
    n_rows={"train": 4, "test": 2},
    source="https://toys.example",
    licence="none",
    citation="nobody",
    layout=("extra/",),
    layouts={"small": ("small.txt",), "large": ("large.txt",)},
    variants=("small", "large"),
    checksums={"small.txt": "sha256:" + hashlib.sha256(b"1 2\n" * 6).hexdigest(), "extra.zip": "md5:00"},
    read=read_toy,
)


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """The folder of a set called toy."""
    monkeypatch.setattr(sys.modules[__name__], "TOY", TOY)
    monkeypatch.setitem(sys.modules, "polymodal.data.public.toys", sys.modules[__name__])
    monkeypatch.setitem(public._SETS, "toy", "toys:TOY")
    (tmp_path / "toy" / "extra").mkdir(parents=True)
    (tmp_path / "toy" / "small.txt").write_text("1 2\n" * 6)
    return tmp_path / "toy"


def test_a_set_is_read_by_load_from_the_folder_of_its_name(toy, monkeypatch):
    assert load("toy", toy.parent).X["x"].shape == (6, 2)
    monkeypatch.setenv("POLYMODAL_DATA", str(toy.parent))
    assert "toy" in readers.available()
    assert load("toy").X["x"].shape == (6, 2)
    (toy / "large.txt").write_text("1 2\n" * 9)
    assert len(load("toy", variant="large")) == 9


def test_no_folder_given(toy, monkeypatch):
    monkeypatch.delenv("POLYMODAL_DATA", raising=False)
    with pytest.raises(DataError, match=r"toy is not bundled .*none was given; pass --data DIR"):
        load("toy")


def test_names_and_variants_are_judged(toy):
    with pytest.raises(ConfigError, match=r"'mosi_mmas' came; did you mean 'mosi_mmsa'\?"):
        public.get("mosi_mmas")
    with pytest.raises(ConfigError, match=r"'cifar' came; name one of them"):
        public.check("cifar", toy)
    with pytest.raises(
        ConfigError, match=r"toy has the variants small, large; 'huge' came; name one of them"
    ):
        public.read("toy", toy, "huge")
    with pytest.raises(ConfigError, match=r"toy has no variants; 'huge' came; leave it out"):
        replace(TOY, variants=()).variant("huge")
    with pytest.raises(ConfigError, match=r"data sets are mfeat, .*, toy; 'cifar' came"):
        load("cifar", toy)


def test_a_folder_that_is_not_there(tmp_path, toy):
    with pytest.raises(
        DataError, match=r"toy is read from the folder .*nowhere; there is none; get extra/, small"
    ):
        public.read("toy", tmp_path / "nowhere")
    assert public.check("toy", tmp_path / "nowhere") == [
        base.Finding(False, f"{tmp_path / 'nowhere'} is no folder")
    ]


def test_a_missing_file_names_it_the_set_and_where_to_get_it(toy):
    with pytest.raises(
        DataError,
        match=r"toy is read from the file .*large\.txt; there is none; get it from https://toys\.example",
    ):
        public.read("toy", toy, "large")
    with pytest.raises(DataError, match=r"toy is read from the folder .*else; there is none"):
        TOY.path(toy, "else/")


def test_check_finds_everything_right(toy):
    assert public.check("toy", toy) == [
        base.Finding(True, "extra/ is there"),
        base.Finding(True, "small.txt is there"),
        base.Finding(True, "small.txt has the published sha256"),
        base.Finding(True, "train: 4 rows, 4 published"),
        base.Finding(True, "test: 2 rows, 2 published"),
    ]


def test_check_finds_what_is_wrong(toy):
    (toy / "small.txt").write_text("1 2\n" * 7)
    (toy / "extra.zip").write_text("")
    wrong = [finding.what for finding in public.check("toy", toy) if not finding.is_right]
    assert wrong == [
        "small.txt has not the published sha256",
        "extra.zip has not the published md5",
        "train: 5 rows, 4 published",
    ]
    (toy / "small.txt").write_text("1 2\n3\n")
    wrong = [finding.what for finding in public.check("toy", toy) if not finding.is_right]
    assert wrong[-1].startswith("it cannot be read: ValueError(")
    (toy / "extra").rmdir()
    findings = public.check("toy", toy)
    assert findings[0] == base.Finding(False, "extra/ is missing")
    assert not any("rows" in finding.what for finding in findings)


def test_rows_without_parts_are_counted_in_all(toy, monkeypatch):
    def whole(folder, variant):
        return replace(read_toy(folder, variant), splits={})

    for n_rows, what in ({base.ALL: 6}, "all: 6 rows, 6 published"), ({}, "6 rows; no number is published"):
        monkeypatch.setattr(sys.modules[__name__], "TOY", replace(TOY, read=whole, n_rows=n_rows))
        assert public.check("toy", toy)[-1] == base.Finding(True, what)


def test_a_set_for_retrieval_has_no_labels_to_draw(toy):
    data = replace(load("toy", toy.parent), task="retrieval")
    assert [len(rows) for rows in data.train_test(0)] == [4, 2]
    with pytest.raises(ConfigError, match=r"toy is for retrieval; take its published splits and a retriever"):
        data.train_test(0, "random")


# --- pickles ---------------------------------------------------------------------------------------------

random = np.random.default_rng(0)
HELD = {
    "matrix": random.normal(size=(3, 4)),
    "turned": np.asfortranarray(random.normal(size=(3, 4)).astype(np.float32)),
    "swapped": np.arange(5, dtype=">i4"),
    "swapped again": np.arange(3, dtype=">i4"),
    "empty": np.zeros((0, 7)),
    "single": np.array(2.5),
    "bool": np.array([True, False]),
    "texts": np.array(["a", "ümlaut"]),
    "bytes": np.array([b"a", b"bcd"]),
    "objects": np.array(["a", None, [1.5], random.normal(size=2)], dtype=object),
    "scalars": [np.float32(1.5), np.int64(-3), np.str_("x"), np.bool_(True), np.complex128(1j)],
    "plain": [
        1,
        -(2**70),
        1.5,
        1j,
        True,
        None,
        "text",
        b"bytes",
        bytearray(b"x"),
        (1, 2),
        {3},
        frozenset({4}),
    ],
    "ordered": OrderedDict(a=1),
    "dtype": np.dtype("float32"),
}


def same(found, wanted):
    assert type(found) is type(wanted)
    if isinstance(wanted, np.ndarray):
        assert found.dtype == wanted.dtype
        assert found.shape == wanted.shape
        wanted, found = wanted.tolist(), found.tolist()
    if isinstance(wanted, dict):
        assert list(found) == list(wanted)
        found, wanted = list(found.values()), list(wanted.values())
    if isinstance(wanted, list | tuple):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            same(one, other)
    else:
        assert found == wanted


def saved(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("core", [b"numpy._core.", b"numpy.core."])
def test_what_is_admitted_reads_as_pickle_reads_it(protocol, core, tmp_path):
    content = pickle.dumps(HELD, protocol)
    wanted = pickle.loads(content)
    if protocol < 4:  # later ones count the letters of a name
        content = re.sub(rb"numpy\._?core\.", core, content)
    same(unpickle.read(saved(tmp_path / "held.pkl", content)), wanted)


def test_pickles_of_python_2_are_read(tmp_path):
    held = {
        "signal": {"EDA": random.normal(size=(4, 1))},
        "label": np.arange(4, dtype=np.int32),
        "subject": "S2",
    }
    found = unpickle.read(saved(tmp_path / "S2.pkl", dumps(held)))
    same(found, held)
    assert b"cnumpy.core." in dumps(held)
    assert unpickle.read(saved(tmp_path / "bytes.pkl", dumps(b"\xe9"))) == "\xe9"


class Calls:
    """Pickled as the call of a function."""

    def __init__(self, function, *args, state=None):
        self.reduced = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.reduced


class Own:
    """A class of somebody's own."""


class Kin(np.ndarray):
    """An array of a class of somebody's own."""


DOUBLE = np.dtype("f8").__reduce__()
OBJECT = np.dtype("O").__reduce__()
_, EMPTY, _ = np.zeros(1).__reduce__()
RECONSTRUCT = np.zeros(1).__reduce__()[0]
SCALAR = np.float64(1).__reduce__()[0]


def array_of(shape, dtype, values):
    return Calls(RECONSTRUCT, *EMPTY, state=(1, shape, dtype, False, values))


HOSTILE = {
    "a call": (Calls(os.system, "true"), r"holds (posix|nt)\.system;"),
    "an evaluation": (Calls(eval, "1"), r"holds (builtins|__builtin__)\.eval;"),
    "an import": (Calls(__import__, "os"), r"holds \S+__import__;"),
    "an attribute": (Calls(getattr, "a", "upper"), r"holds \S+getattr;"),
    "a loader": (Calls(np.load, "x.npy"), r"holds numpy\S*\.load;"),
    "a class": (Own(), r"holds (copyreg|copy_reg|test_public)\."),
    "a type": (int, r"holds \S+\.(int|long);"),
    "an array's class": (np.zeros(2).view(Kin), r"holds test_public\.Kin;"),
    "a structured type": (np.zeros(2, dtype=[("a", "f8"), ("b", "O")]), r"holds values of the type 'V16'"),
    "objects in bytes": (array_of((1,), np.dtype("O"), b"12345678"), "fewer or more than its shape says"),
    "too few objects": (array_of((9,), np.dtype("O"), [None]), "fewer or more than its shape says"),
    "a negative shape": (array_of((-1,), np.dtype("f8"), b""), r"an array of shape \(-1,\)"),
    "no type": (array_of((1,), "f8", b"12345678"), r"an array of shape \(1,\) and type 'f8'"),
    "an object scalar": (
        Calls(SCALAR, np.dtype("O"), b"12345678"),
        "a number of the type object that is none",
    ),
    "a long scalar": (Calls(SCALAR, np.dtype("f8"), b"1234567890123456"), "a number of the type float64"),
    "a type of types": (
        Calls(DOUBLE[0], *DOUBLE[1], state=(3, "<", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 8, 0)),
        "values of a type made of others",
    ),
    "a codec": (Calls(__import__("_codecs").encode, "a", "punycode"), "a text coded as 'punycode'"),
    "a list's state": (Calls(list, state={"a": 1}), "a state for a list"),
}


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("what", HOSTILE)
def test_anything_else_is_refused_by_name(what, protocol, tmp_path):
    held, text = HOSTILE[what]
    path = saved(tmp_path / "hostile.pkl", pickle.dumps({"text": [held]}, protocol))
    with pytest.raises(DataError, match=text) as error:
        unpickle.read(path)
    assert re.match(
        r"a data set's pickle holds arrays, .* alone; .*hostile\.pkl holds .*; do not open it",
        str(error.value),
    )


RAW = {
    "an old instance": (b"(S'true'\nios\nsystem\n.", r"holds os\.system"),
    "an object": (b"(cos\nsystem\nS'true'\no.", r"holds os\.system"),
    "a stack name": (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.", r"holds os\.system"),
    "a dotted name": (
        b"\x80\x04\x8c\x05numpy\x8c\x0ff2py.os.system\x93.".replace(b"\x0f", b"\x0e"),
        r"f2py\.os",
    ),
    "an outside reference": (b"P42\n.", "a reference to something outside it, '42'"),
    "a registered class": (b"\x80\x02\x82\x07.", "the registered class 7"),
}


@pytest.mark.parametrize("what", RAW)
def test_other_ways_to_name_things_are_refused(what, tmp_path):
    content, text = RAW[what]
    with pytest.raises(DataError, match=text):
        unpickle.read(saved(tmp_path / "raw.pkl", content))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x1f\x8b\x08",
        b"not a pickle",
        pickle.dumps(HELD)[:-300],
        b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
        b"\x80\x02]q\x00h\x07.",
        b"cnumpy\nndarray\n(I1\ntR.",
    ],
    ids=["empty", "gzip", "text", "cut", "huge", "memo", "no call"],
)
def test_a_damaged_pickle_is_one_sentence(content, tmp_path):
    with pytest.raises(
        DataError, match=r"a pickle is read to its end; .*x\.pkl breaks off or is none \("
    ) as error:
        unpickle.read(saved(tmp_path / "x.pkl", content))
    assert "\n" not in str(error.value)


def test_nothing_has_run(tmp_path):
    mark = tmp_path / "mark"
    path = saved(tmp_path / "x.pkl", pickle.dumps([np.zeros(2), Calls(os.mkdir, str(mark))]))
    with pytest.raises(DataError, match="mkdir"):
        unpickle.read(path)
    assert not mark.exists()
