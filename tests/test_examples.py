from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.parametrize(
    ("script", "expected"), [("quickstart.py", "sasrec: NDCG@10"), ("training_method.py", "quiet: ndcg@10")]
)
def test_an_example_runs_on_real_data(
    script: str, expected: str, real_data: Callable[[str], Path], tmp_path: Path
) -> None:
    real_data("ml-100k")
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), "--epochs", "1", "--out", str(tmp_path / "runs")],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


def test_every_example_is_tested() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {"quickstart.py", "training_method.py"}
