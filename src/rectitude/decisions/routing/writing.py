"""A catalogue written as a table that people can edit."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from rectitude.core.files import write_text
from rectitude.decisions.routing.catalogue import Catalogue


def write_catalogue(catalogue: Catalogue, path: str | Path) -> None:
    """Write ``.json`` (a list of objects) or CSV; unknown cells are null or empty.

    Raises:
        RectitudeError: The file cannot be written.
    """
    records, path = catalogue.records(), Path(path)
    if path.suffix == ".json":
        write_text(path, json.dumps(records, indent=1, ensure_ascii=False) + "\n")
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in record.items()} for record in records)
    write_text(path, text.getvalue())


def _cell(value: Any) -> Any:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else value
