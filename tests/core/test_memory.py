from __future__ import annotations

import os
import resource

import numpy as np
import pytest

from rectitude.core import memory
from rectitude.core.errors import RectitudeError
from rectitude.core.memory import readable, reserve, reusing_freed_memory, total_memory

GIB = 2**30


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1.5 * GIB, "1.5 GiB"),
        (5 * 2**20, "5.0 MiB"),
        (2048 * GIB, "2048.0 GiB"),
    ],
)
def test_sizes_are_readable(n_bytes: float, text: str) -> None:
    assert readable(n_bytes) == text


def test_total_memory_is_at_most_the_machines() -> None:
    assert 0 < total_memory() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.fixture
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "total_memory", lambda: 8 * GIB)


@pytest.mark.usefixtures("small_machine")
def test_what_cannot_fit_is_refused_before_it_is_built() -> None:
    with pytest.raises(RectitudeError, match=r"EASE needs about 8\.0 GiB, and this machine has 8\.0 GiB\. Use ALS"):
        reserve(8 * GIB + 1, "EASE", fix="Use ALS")


@pytest.mark.usefixtures("small_machine")
def test_more_than_half_is_announced_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    reserve(5 * GIB, "EASE", fix="Use ALS")
    printed = capsys.readouterr()
    assert "EASE needs about 5.0 GiB of 8.0 GiB" in printed.err
    assert printed.out == ""


@pytest.mark.usefixtures("small_machine")
def test_less_than_half_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    reserve(4 * GIB, "EASE", fix="Use ALS")
    assert capsys.readouterr() == ("", "")


def test_freed_memory_is_taken_again_without_page_faults() -> None:
    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(20):
            np.ones(2**20)  # 8 MiB, taken and given back
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    with reusing_freed_memory():
        faults()
        again = faults()
    assert again < 100  # 2048 pages each, if they came from the system
