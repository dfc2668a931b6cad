"""The schemas as they were ever published: `schemas/ROLE/RECORD/N.json` and `.avsc`, one file for each version of each subject.

python -m tests.schema_files     write the next version of each that changed (`make schemas`)
"""

import sys
from pathlib import Path
from typing import Any

import orjson

from loopwright.subjects import Kind, Subject, subjects

FOLDER = Path(__file__).resolve().parents[1] / "schemas"
SUFFIXES: dict[Kind, str] = {"JSON": ".json", "AVRO": ".avsc"}
EACH = [(subject, kind) for subject in subjects() for kind in subject.kinds]
NAMES = [f"{subject.role}/{subject.type}-{kind}" for subject, kind in EACH]


def folder_of(subject: Subject) -> Path:
    return FOLDER / subject.role / subject.type


def files(subject: Subject, kind: Kind) -> list[Path]:
    """The versions of a subject, oldest first."""
    return sorted(folder_of(subject).glob(f"*{SUFFIXES[kind]}"), key=lambda file: int(file.stem))


def versions(subject: Subject, kind: Kind) -> list[dict[str, Any]]:
    return [orjson.loads(file.read_bytes()) for file in files(subject, kind)]


def write_next() -> list[Path]:
    """Write what is not the newest version of its subject; the files that were written."""
    written = []
    for subject, kind in EACH:
        known = files(subject, kind)
        if known and orjson.loads(known[-1].read_bytes()) == subject.schema(kind):
            continue
        file = folder_of(subject) / f"{int(known[-1].stem) + 1 if known else 1}{SUFFIXES[kind]}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(orjson.dumps(subject.schema(kind), option=orjson.OPT_INDENT_2) + b"\n")
        written.append(file)
    return written


if __name__ == "__main__":
    sys.stdout.write("".join(f"{file}\n" for file in write_next()) or "no schema changed\n")
