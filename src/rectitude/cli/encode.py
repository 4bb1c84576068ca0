"""``rectitude encode``: item content to vectors."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rectitude.cli import options
from rectitude.cli.console import emit, grid, line, show, tell
from rectitude.core.errors import ConfigError

if TYPE_CHECKING:
    from rectitude.encoders.encode import Encoded, Job


def encode(
    data: options.Data,
    text: Annotated[
        str | None, typer.Option("--text", metavar="COLUMN,…", help="Item columns to encode as text, e.g. title,plot.")
    ] = None,
    image: Annotated[
        str | None, typer.Option("--image", metavar="COLUMN", help="Item column with the path of a picture.")
    ] = None,
    attributes: Annotated[
        str | None,
        typer.Option("--attributes", metavar="COLUMN,…", help="Item columns of values or lists, e.g. genres."),
    ] = None,
    caption: Annotated[
        str | None,
        typer.Option(
            "--caption",
            metavar="ADDRESS",
            help="OpenAI-compatible endpoint that describes the pictures of --image, or 'template' for a text made of "
            "the metadata of --text.",
        ),
    ] = None,
    caption_model: Annotated[
        str | None, typer.Option("--caption-model", metavar="NAME", help="Vision-language model of the endpoint.")
    ] = None,
    caption_prompt: Annotated[
        Path | None, typer.Option("--caption-prompt", metavar="FILE", help="Prompt, with {title} in it.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Folder of the vectors; content/DATA if not given.")
    ] = None,
    text_model: Annotated[
        str, typer.Option("--text-model", metavar="NAME", help="Sentence-transformers model: a name or a folder.")
    ] = "all-MiniLM-L6-v2",
    int8: Annotated[
        bool, typer.Option("--int8", help="Text in int8 by ONNX Runtime: quicker, a little different.")
    ] = False,
    image_model: Annotated[
        str,
        typer.Option("--image-model", metavar="NAME", help="efficientnet-lite0, timm:NAME or open_clip:NAME/WEIGHTS."),
    ] = "efficientnet-lite0",
    image_folder: Annotated[
        Path | None,
        typer.Option(
            "--image-folder", metavar="FOLDER", help="Where picture paths start; the data's folder if not given."
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", metavar="N", min=1, help="Texts or pictures at a time.")
    ] = 32,
    cache: Annotated[
        Path | None, typer.Option("--cache", metavar="FOLDER", help="Where vectors are kept between commands.")
    ] = None,
    device: options.Device = "auto",
    columns: options.Columns = None,
    k_core: options.KCore = None,
    as_json: options.Json = False,
) -> None:
    """Turn item text, pictures and attributes into vectors.

    Each becomes a file of the folder: text.npz, image.npz, attributes.npz, caption.npz. What was encoded before is not
    encoded again, and a command that was stopped goes on where it was. Items without text or with a broken picture are
    left out and told.

    Examples:
      rectitude encode ml-100k --attributes genres --out content/ml-100k
      rectitude encode ml-100k --text title,plot --image poster --out content/ml-100k
    """
    asked = _asked(text, image, attributes, caption, caption_model)

    from rectitude.data.readers import load
    from rectitude.encoders.cache import default_cache
    from rectitude.encoders.encode import Job

    dataset = load(data, announce=tell, content=(), **_reading(columns, k_core))
    place = out or Path("content") / dataset.name
    job = Job(dataset, place, cache or default_cache(), batch_size)
    begun, cpu = time.perf_counter(), time.process_time()
    how = {"text_model": text_model, "int8": int8, "image_model": image_model, "device": device}
    made = [
        entry
        for name in asked
        for entry in [
            _one(job, name, text, image, attributes, caption, caption_model, caption_prompt, image_folder, how)
        ]
    ]
    _result(made, place, data, time.perf_counter() - begun, time.process_time() - cpu, as_json=as_json)


def _reading(columns: list[str] | None, k_core: int | None) -> dict[str, Any]:
    return {"columns": options.parse_columns(columns), "k_core": k_core}


def _asked(
    text: str | None, image: str | None, attributes: str | None, caption: str | None, caption_model: str | None
) -> list[str]:
    """Names of what is to be made.

    Raises:
        ConfigError: Nothing is, or captions lack what they are made of.
    """
    if caption is not None and caption != "template":
        if image is None:
            raise ConfigError("Captions need pictures", where="--caption", fix="Name their column with --image")
        if caption_model is None:
            raise ConfigError("Captions need a model", where="--caption", fix="Name it with --caption-model")
    if caption == "template" and text is None:
        raise ConfigError("A template needs metadata", where="--caption", fix="Name columns with --text")
    given = {"text": text, "image": image, "attributes": attributes, "caption": caption}
    asked = [name for name, value in given.items() if value is not None]
    if not asked:
        raise ConfigError("Nothing is to be encoded", fix="Give --text, --image or --attributes with a column")
    return asked


def _one(
    job: Job,
    name: str,
    text: str | None,
    image: str | None,
    attributes: str | None,
    caption: str | None,
    caption_model: str | None,
    caption_prompt: Path | None,
    image_folder: Path | None,
    how: dict[str, Any],
) -> Encoded:
    from rectitude.encoders.caption import PROMPT, Captioner, read_prompt
    from rectitude.encoders.encode import picture_paths
    from rectitude.encoders.image import ImageEncoder
    from rectitude.encoders.text import SentenceEncoder
    from rectitude.training.trainer import pick_device

    fields = options.id_list(text or "")
    if name == "attributes":
        return job.attributes(options.id_list(attributes or ""), name)
    device = str(pick_device(how["device"]))
    if name == "image":
        paths = picture_paths(job.dataset, str(image), image_folder)
        return job.pictures(ImageEncoder(how["image_model"], device), paths, name, {"column": image})
    encoder = SentenceEncoder(how["text_model"], "int8" if how["int8"] else "float32", device)
    if name == "text":
        return job.text(encoder, job.texts(fields), name, {"fields": fields})
    if caption == "template":
        return job.text(encoder, job.metadata(fields), name, {"captions": "metadata", "fields": fields})
    captioner = Captioner(
        str(caption), str(caption_model), PROMPT if caption_prompt is None else read_prompt(caption_prompt)
    )
    texts, failed = job.captions(
        captioner, picture_paths(job.dataset, str(image), image_folder), job.out / "captions.jsonl"
    )
    for item, reason in list(failed.items())[:5]:
        tell(f"No caption of item {item}: {reason}")
    return job.text(encoder, texts, name, {"captions": captioner.identity})


def _result(made: list[Encoded], place: Path, data: str, seconds: float, cpu: float, *, as_json: bool) -> None:
    if as_json:
        emit({"content": [entry.to_dict() for entry in made], "folder": str(place), "seconds": round(seconds, 3)})
        return
    for entry in made:
        for item, reason in entry.examples:
            tell(f"{entry.name}: item {item} is left out: {reason}")
    table = grid("content", "items", "of", "width", "from cache", "left out", right=(1, 2, 3, 4), wrap=(5,))
    for entry in made:
        reasons = ", ".join(f"{count} {reason}" for reason, count in entry.left_out.items()) or "none"
        table.add_row(
            entry.name, f"{entry.items:,}", f"{entry.of:,}", str(entry.width), f"{entry.from_cache:,}", reasons
        )
    tell(f"Encoded in {seconds:.1f} s ({cpu:.1f} CPU seconds)")
    show(table, "")
    line(f"Folder  {place}")
    line(f"Next    rectitude fit {shlex.quote(data)} --model vlm4rec --content {shlex.quote(str(place))}")
