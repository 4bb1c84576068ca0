"""Models by name, imported only when asked for.

Other packages add theirs by the entry point group ``rectitude.models``.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from rectitude.core.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from rectitude.models.base import Recommender

_OURS = {
    "popularity": "rectitude.models.collaborative.popularity:Popularity",
    "ease": "rectitude.models.collaborative.ease:EASE",
    "als": "rectitude.models.collaborative.als:ALS",
    "bpr": "rectitude.models.collaborative.bpr:BPR",
    "pmf": "rectitude.models.collaborative.pmf:PMF",
    "neumf": "rectitude.models.collaborative.neumf:NeuMF",
    "ngcf": "rectitude.models.collaborative.ngcf:NGCF",
    "lightgcn": "rectitude.models.collaborative.lightgcn:LightGCN",
    "multvae": "rectitude.models.collaborative.multvae:MultVAE",
    "gru4rec": "rectitude.models.sequential.gru4rec:GRU4Rec",
    "sasrec": "rectitude.models.sequential.sasrec:SASRec",
    "bert4rec": "rectitude.models.sequential.bert4rec:BERT4Rec",
    "stosa": "rectitude.models.sequential.stosa:STOSA",
    "indirec": "rectitude.models.sequential.indirec:InDiRec",
    "prism": "rectitude.models.multimodal.prism:PRISM",
    "anchorrec": "rectitude.models.multimodal.anchorrec:AnchorRec",
    "vlm4rec": "rectitude.models.multimodal.vlm4rec:VLM4Rec",
    "fused": "rectitude.models.multimodal.fused:FusedProfile",
}


def _all() -> dict[str, str]:
    others = {point.name: point.value for point in entry_points(group="rectitude.models")}
    return {**others, **_OURS}


def model_names() -> list[str]:
    """Every known model name, ours in reading order first."""
    return [*_OURS, *sorted(set(_all()) - set(_OURS))]


def model_class(name: str) -> type[Recommender]:
    """The class behind a name.

    Raises:
        ConfigError: No model has this name.
    """
    known = _all()
    if name not in known:
        raise ConfigError(f"Unknown model '{name}'", fix=did_you_mean(name, known))
    module, _, attribute = known[name].partition(":")
    found: type[Recommender] = getattr(import_module(module), attribute)
    return found
