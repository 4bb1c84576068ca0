"""``encode``: the content of a dataset's items to files of vectors that ``load`` reads.

What has been encoded before, by whatever command, is taken from the cache; what a stopped command had encoded is there
too. An item whose text is empty or whose picture is missing or broken is left out of the file, counted and named: a
model then fills it with the mean and a flag.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from rectitude.core.errors import ConfigError, DataError, did_you_mean
from rectitude.core.progress import progress_bar
from rectitude.data.content import write_content
from rectitude.data.dataset import Dataset
from rectitude.encoders.attributes import encode_attributes
from rectitude.encoders.cache import VectorCache
from rectitude.encoders.caption import Captioner, CaptionFile, caption_pictures
from rectitude.encoders.image import ImageEncoder
from rectitude.encoders.text import SentenceEncoder, metadata_texts, texts_of

_KEEP_EVERY = 20
"""Batches between writes to the cache."""


@dataclass
class Encoded:
    """What became of one modality.

    Attributes:
        name: Of the modality.
        file: Where its vectors are.
        items: Items with a vector.
        of: Items in all.
        width: Of a vector.
        from_cache: Vectors that were there already.
        left_out: Reason to number of items without a vector.
        examples: Some of them, item id and reason.
    """

    name: str
    file: str
    items: int
    of: int
    width: int
    from_cache: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    examples: list[tuple[str, str]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Job:
    """Where an encoding reads and writes.

    Attributes:
        dataset: Its items are encoded.
        out: Folder of the files.
        cache: Folder of what was encoded before.
        batch_size: Texts or pictures at a time.
        progress: Show bars.
    """

    dataset: Dataset
    out: Path
    cache: Path
    batch_size: int = 32
    progress: bool = True

    def text(self, encoder: SentenceEncoder, texts: Sequence[str], name: str, about: dict[str, Any]) -> Encoded:
        """Encode one text per item.

        Raises:
            DataError: All texts are empty.
        """
        faults = {row: "no text" for row, text in enumerate(texts) if not text}
        if len(faults) == len(texts):
            raise DataError(f"No item has any text for '{name}'", where=self.dataset.name, fix="Name other columns")
        cache = VectorCache(self.cache, encoder.identity)
        keys = [encoder.key(text) for text in texts]
        todo = {key: text for key, text in zip(keys, texts, strict=True) if text and key not in cache}
        found = sum(bool(text) and key in cache for key, text in zip(keys, texts, strict=True))
        waiting = sorted(todo.items(), key=lambda entry: len(entry[1]))  # batches of like length waste little

        def work(batch: list[tuple[str, str]]) -> None:
            cache.add([key for key, _ in batch], encoder.encode([text for _, text in batch]))

        self._batches(name, waiting, work, cache)
        return self._write(name, keys, faults, cache, found, {"encoder": encoder.identity, **about})

    def pictures(
        self, encoder: ImageEncoder, paths: Sequence[Path | None], name: str, about: dict[str, Any]
    ) -> Encoded:
        """Encode one picture per item.

        Raises:
            DataError: None of the pictures is there, or none can be read.
        """
        faults = missing_pictures(paths)
        cache = VectorCache(self.cache, encoder.identity)
        keys = [""] * len(paths)
        waiting: list[tuple[int, Path]] = []
        for row, path in enumerate(paths):
            if row in faults or path is None:
                continue
            keys[row] = encoder.key(path.read_bytes())
            if keys[row] not in cache:
                waiting.append((row, path))
        found = len(paths) - len(faults) - len(waiting)

        def work(batch: list[tuple[int, Path]]) -> None:
            vectors, said = encoder.encode([(path.read_bytes(), path.name) for _, path in batch])
            faults.update({row: fault for (row, _), fault in zip(batch, said, strict=True) if fault})
            cache.add([keys[row] for (row, _), fault in zip(batch, said, strict=True) if not fault], vectors)

        self._batches(name, waiting, work, cache)
        if len(faults) == len(paths):
            raise DataError(f"None of the {len(paths)} pictures can be read: {faults[0]}", where=self.dataset.name)
        return self._write(name, keys, faults, cache, found, {"encoder": encoder.identity, **about})

    def attributes(self, fields: Sequence[str], name: str, width: int = 64) -> Encoded:
        """Encode values of columns."""
        vectors, unknown = encode_attributes(self.dataset.items, fields, width)
        ids = self.dataset.item_ids.external.filter(pl.Series(~unknown)).to_list()
        path = self.out / f"{name}.npz"
        write_content(path, ids, vectors[~unknown], {"encoder": "attributes", "fields": list(fields)})
        left_out = {"no value": int(unknown.sum())} if unknown.any() else {}
        return Encoded(name, str(path), len(ids), len(vectors), vectors.shape[1], left_out=left_out)

    def captions(
        self, captioner: Captioner, paths: Sequence[Path | None], file: Path
    ) -> tuple[list[str], dict[str, str]]:
        """A caption per item after its title, empty for those without, and what went wrong by item id."""
        faults = missing_pictures(paths)
        ids, titles = self.dataset.item_ids, self.dataset.titles()
        asked = [
            (ids[row], path.read_bytes(), titles[row] or "")
            for row, path in enumerate(paths)
            if path is not None and row not in faults
        ]
        with progress_bar(visible=self.progress) as bars:
            task = bars.add_task("captions", total=len(asked), note="")
            captions, failed = caption_pictures(
                captioner, asked, CaptionFile(file, captioner), lambda: bars.advance(task)
            )
        texts = [
            ". ".join(part for part in (titles[row] or "", captions[ids[row]]) if part) if ids[row] in captions else ""
            for row in range(len(paths))
        ]
        return texts, failed

    def metadata(self, fields: Sequence[str]) -> list[str]:
        """A text per item from its metadata, in place of captions."""
        return metadata_texts(self.dataset.items, self.dataset.titles(), fields)

    def texts(self, fields: Sequence[str]) -> list[str]:
        """A text per item from columns."""
        return texts_of(self.dataset.items, fields)

    def _batches(self, name: str, waiting: list[Any], work: Callable[[list[Any]], None], cache: VectorCache) -> None:
        """Work in batches; what is done is kept now and then, and when something stops the work."""
        with progress_bar(visible=self.progress) as bars:
            task = bars.add_task(name, total=len(waiting), note="")
            try:
                for number, start in enumerate(range(0, len(waiting), self.batch_size), 1):
                    batch = waiting[start : start + self.batch_size]
                    work(batch)
                    bars.advance(task, len(batch))
                    if number % _KEEP_EVERY == 0:
                        cache.keep()
            finally:
                cache.keep()

    def _write(
        self,
        name: str,
        keys: list[str],
        faults: dict[int, str],
        cache: VectorCache,
        found: int,
        about: dict[str, Any],
    ) -> Encoded:
        kept = [row for row in range(len(keys)) if row not in faults]
        vectors = cache.gather([keys[row] for row in kept])
        path = self.out / f"{name}.npz"
        ids = self.dataset.item_ids
        write_content(path, ids.take(np.array(kept)), vectors, about)
        examples = [(ids[row], fault) for row, fault in list(faults.items())[:5]]
        reasons = Counter(fault.partition(":")[0] for fault in faults.values())
        return Encoded(name, str(path), len(kept), len(keys), vectors.shape[1], found, dict(reasons), examples)


def missing_pictures(paths: Sequence[Path | None]) -> dict[int, str]:
    """Row to what is wrong, for items without a picture.

    Raises:
        DataError: None of the pictures named is there.
    """
    faults = {}
    for row, path in enumerate(paths):
        if path is None:
            faults[row] = "no picture is named"
        elif not path.is_file():
            faults[row] = "the picture is not there"
    named = [path for path in paths if path is not None]
    if not named:
        raise DataError("No item names a picture", fix="Name another column with --image")
    if len(faults) == len(paths):
        raise DataError(
            f"None of the {len(named)} pictures is there",
            where=str(named[0]),
            fix="Give the folder that the column's paths start from: --image-folder FOLDER",
        )
    return faults


def picture_paths(dataset: Dataset, column: str, folder: Path | None = None) -> list[Path | None]:
    """Where each item's picture is: the column's paths, from the data's own folder or the one given.

    Raises:
        ConfigError: There is no such column, or no folder to start from.
    """
    if column not in dataset.items.columns:
        raise ConfigError(f"The items have no column '{column}'", fix=did_you_mean(column, dataset.items.columns))
    if folder is None:
        location = dataset.source.get("location")
        if not location:
            raise ConfigError("The data have no folder that pictures could lie in", fix="Give --image-folder")
        folder = Path(location) if Path(location).is_dir() else Path(location).parent
    elif not folder.is_dir():
        raise ConfigError("There is no such folder of pictures", where=str(folder), fix="Check --image-folder")
    return [folder / str(value) if value else None for value in dataset.items[column].to_list()]
