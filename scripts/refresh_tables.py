"""The tables of the documentation that are made from the code: configs, measures, options, formats, worlds.

    python scripts/refresh_tables.py            write them anew
    python scripts/refresh_tables.py --check    only say which are not up to date; exit code 1 if any is

A table stands between two marks, of which the first says what it is of:

    <!-- table: config kintrack.config:TrackerConfig tracker. -->
    <!-- end of table -->

The words come from the text under each field of a config: code and documentation cannot say different things.
"""

import importlib
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_MARKED = re.compile(r"(<!-- table: (?P<what>[^\n]+?) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def config_table(path: str, prefix: str = "") -> str:
    """Each key of a config class, what it is by default, and what it means; parts that are configs are left out.

    Args:
        path: ``module:Class``.
        prefix: what stands before the keys where they are given, like ``tracker.``.
    """
    module, name = path.split(":")
    config: type[BaseModel] = getattr(importlib.import_module(module), name)
    rows = [
        (f"`{prefix}{key}`", _default(field), " ".join((field.description or "").split()))
        for key, field in config.model_fields.items()
        if not isinstance(field.get_default(call_default_factory=True), BaseModel)
    ]
    return _table(("key", "default", "meaning"), rows)


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if isinstance(value, tuple) and len(value) > 4:
        return f"all {len(value)}"
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, width=1000).removesuffix("...\n").strip()
    return f"`{text}`"


def measures_table() -> str:
    """Each measure by the name under which it is found, and what it says."""
    from kintrack.metrics import MEASURES

    return _table(("name", "what it says"), [(f"`{name}`", meaning) for name, meaning in MEASURES.items()])


def formats_table() -> str:
    """Each format, how it is told from the others, and which columns survive being written and read."""
    from kintrack.io import FORMATS

    rows = [
        (f"`{f.name}`", f.about, ", ".join(f"`{s}`" for s in f.suffixes) or "a folder", ", ".join(sorted(f.carries)))
        for f in FORMATS.values()
    ]
    return _table(("name", "what it is", "suffix", "what it carries"), rows)


def options_table(command: str) -> str:
    """Each option of a command, what it is by default, and what it means."""
    from typer.main import get_command

    from kintrack.cli import app

    found = get_command(app).commands[command]  # type: ignore[attr-defined]
    rows = []
    for option in found.params:
        is_argument = option.param_type_name == "argument"
        names = [option.metavar or option.name.upper()] if is_argument else [*option.opts, *option.secondary_opts]
        name = ", ".join(names)
        value = getattr(option.default, "value", option.default)
        value = option.opts[0] if value is True else value
        default = "" if is_argument or value in (None, False) else f"`{value}`"
        rows.append((f"`{name}`", default, option.help or ""))
    return _table(("option", "default", "meaning"), [row for row in rows if row[0] != "`--help`"])


def worlds_table() -> str:
    """The worlds that have a name."""
    from kintrack.sim import PRESETS

    rows = [
        (f"`{name}`", f"`{w.family}`", str(w.n_individuals), w.body, f"{w.arena[0]} × {w.arena[1]}", w.border)
        for name, w in PRESETS.items()
    ]
    return _table(("world", "family", "individuals", "body", "arena", "border"), rows)


def dreem_table(part: str) -> str:
    """Each key of a part of DREEM's configs, and what becomes of it in our commands."""
    from kintrack.from_dreem.keys import SECTIONS

    rows = []
    for row in SECTIONS[part]:
        keys = ", ".join(f"`{key}`" if i == 0 else f"`{key.split('.')[-1]}`" for i, key in enumerate(row.keys))
        rows.append((keys, str(row.train), "the same" if row.track == row.train else str(row.track)))
    return _table(("key", "in `train`", "in `track` and `eval`"), rows)


TABLES: dict[str, Callable[..., str]] = {
    "config": config_table,
    "measures": measures_table,
    "formats": formats_table,
    "options": options_table,
    "worlds": worlds_table,
    "dreem": dreem_table,
}


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def refreshed(text: str) -> str:
    """A page with its tables written anew."""

    def anew(found: re.Match[str]) -> str:
        kind, *arguments = found["what"].split()
        return f"{found[1]}\n{TABLES[kind](*arguments)}\n\n{found[3]}"

    return _MARKED.sub(anew, text)


def main() -> int:
    """Refreshes or checks every page."""
    stale = []
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        if (after := refreshed(before)) != before:
            stale.append(page.relative_to(ROOT).as_posix())
            if "--check" not in sys.argv:
                page.write_text(after, encoding="utf-8")
    print(f"not up to date: {', '.join(stale)}" if stale else "all tables are up to date")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
