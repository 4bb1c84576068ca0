"""From a data set to a judged recommender that answers strangers.

python examples/quickstart.py                     # MovieLens-100K, from wherever it can be had
python examples/quickstart.py ratings.csv --out runs/mine
"""

from __future__ import annotations

import argparse
from pathlib import Path

import rectitude


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="ml-100k", help="name of a known set, table file or folder")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("runs/quickstart"))
    arguments = parser.parse_args()

    data = rectitude.load(arguments.data, announce=print)
    ease = rectitude.fit(data, "ease", out=arguments.out / "ease", overwrite=True)
    sasrec = rectitude.fit(
        data, "sasrec", settings={"epochs": arguments.epochs}, seed=1, out=arguments.out / "sasrec", overwrite=True
    )

    for run in (ease, sasrec):
        ndcg = rectitude.evaluate(run).summary()["ndcg@10"]
        print(f"{run.name}: NDCG@10 {ndcg.value:.4f} ({ndcg.low:.4f} to {ndcg.high:.4f})")
    for test in rectitude.compare([sasrec, ease], metrics=["ndcg@10"]).to_dict()["tests"]:
        print(test)

    # Nobody the models were trained with: only what they did, oldest first.
    history = [data.item_ids[item] for item in data.histories()[0][-5:]]
    answer = sasrec.recommend(history=history, k=5)
    print(f"Because of {', '.join(history)}, {answer.answered_by} shows:")
    for item in answer.items:
        print(f"  {item.rank}. {item.title or item.item_id}")
    print(f"The report: {sasrec.path / 'report.html'}")


if __name__ == "__main__":
    main()
