"""What the page's script shows: every row of every run, as one object for JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, zip_longest
from typing import Any

from mfim_bench.bench.parts import Row
from mfim_bench.bench.record import Record
from mfim_bench.bench.summary import finite
from mfim_bench.report.grid import source_paths
from mfim_bench.report.pictures import Pictures
from mfim_bench.report.table import Table


def rows_of(records: Sequence[Record], table: Table, pictures: Pictures) -> dict[str, Any]:
    """The rows as columns, which are smaller than an object a row.

    Args:
        records: the runs; the pairs are those of any of them, in the order of the first that has them.
        table: whose measures are shown.
        pictures: filled here: of the rows of most interest first, methods before references.

    Returns:
        measures: name, unit, digits, lower (whether lower is better).
        people: the identities.
        pairs: ids; of each its source, target and further sources as indices of `people`.
        roles: headings of the frames that runs share, before the swap and after it.
        shared: role → index of each pair's picture in `addresses`, or null.
        texts: reasons and notes, each once.
        runs: of each the name, whether it is a reference, and a value a pair of: each measure (null where there is
            none), reason (index in `texts`; -1 scored; null not of this run), note, swap (index of the picture).
        addresses: of the pictures.
    """
    entries: dict[str, Mapping[str, Any]] = {}
    sides: dict[str, Row] = {}
    for record in records:
        for entry, row in zip(record.manifest["pairs"], record.rows, strict=True):
            entries.setdefault(entry["id"], entry)
            sides.setdefault(entry["id"], row)
    before = list(dict.fromkeys(chain.from_iterable(source_paths(entry) for entry in entries.values())))
    files = {
        **{head: [source_paths(entry).get(head) for entry in entries.values()] for head in before},
        "target": [entry["target_path"] for entry in entries.values()],
        "truth": [entry["truth_path"] for entry in entries.values()],
    }
    files = {role: paths for role, paths in files.items() if any(paths)}
    swaps = [_swaps(record, entries) for record in records]
    _add_pictures(records, table, pictures, entries, files, swaps)
    people = _Once(who for row in sides.values() for who in (row["source_identity"], row["target_identity"]))
    texts = _Once([])
    return {
        "measures": [
            {"name": name, "unit": m["unit"], "digits": m["digits"], "lower": m["lower_is_better"]}
            for name, m in table.of_pairs.items()
        ],
        "pairs": list(entries),
        "sources": [people[row["source_identity"]] for row in sides.values()],
        "targets": [people[row["target_identity"]] for row in sides.values()],
        "others": [[people[who] for who in row["other_identities"]] for row in sides.values()],
        "before": [*before, "target"],
        "after": ["truth"] if "truth" in files else [],
        "shared": {role: [pictures[path] for path in paths] for role, paths in files.items()},
        "runs": [
            _run(record, table, [pictures[path] for path in paths], entries, texts)
            for record, paths in zip(records, swaps, strict=True)
        ],
        "people": people.items,
        "texts": texts.items,
        "addresses": pictures.addresses,
    }


class _Once:
    """Texts, each once, and their places."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._places: dict[str, int] = {}
        for text in texts:
            self[text]

    def __getitem__(self, text: str) -> int:
        return self._places.setdefault(text, len(self._places))

    @property
    def items(self) -> list[str]:
        return list(self._places)


def _run(
    record: Record, table: Table, swap: list[int | None], entries: Mapping[str, Mapping[str, Any]], texts: _Once
) -> dict[str, Any]:
    by_pair = {row["pair"]: row for row in record.rows}
    rows = [by_pair.get(pair) for pair in entries]

    def value(row: Row | None, name: str, digits: int) -> float | None:
        if row is None or row["reason"] is not None:
            return None
        exact = finite(row[name])
        # Two digits more than the tables print: enough to sort by, a third of the bytes.
        return None if exact is None else round(exact, digits + 2)

    def place(row: Row | None, field: str) -> int | None:
        if row is None:
            return None
        return -1 if row[field] is None else texts[row[field]]

    return {
        "name": record.method,
        "reference": record.reference,
        "values": [[value(row, name, m["digits"]) for row in rows] for name, m in table.of_pairs.items()],
        "reason": [place(row, "reason") for row in rows],
        "note": [place(row, "note") for row in rows],
        "swap": swap,
    }


def _swaps(record: Record, pairs: Iterable[str]) -> list[str | None]:
    made = {row["pair"] for row in record.rows}
    return [str(record.folder / "images" / f"{pair}.png") if pair in made else None for pair in pairs]


def _add_pictures(
    records: Sequence[Record],
    table: Table,
    pictures: Pictures,
    pairs: Iterable[str],
    files: Mapping[str, Sequence[str | None]],
    swaps: Sequence[Sequence[str | None]],
) -> None:
    """Whole rows in order of interest, with the swaps of all methods; then the references' swaps of the same rows."""
    place = {pair: i for i, pair in enumerate(pairs)}
    main = [k for k, record in enumerate(records) if not record.reference] or [0]
    turns = zip_longest(*(_interest(records[k], list(table.of_pairs)) for k in main))
    order = dict.fromkeys(place[pair] for turn in turns for pair in turn if pair is not None) | dict.fromkeys(
        place.values()
    )
    first = (column[i] for i in order for column in (*files.values(), *(swaps[k] for k in main)))
    later = (column[i] for i in order for k, column in enumerate(swaps) if k not in main)
    pictures.add(path for path in chain(first, later) if path is not None)
    pictures.finish()


def _interest(record: Record, measures: Sequence[str]) -> Iterator[str]:
    """All pairs: some failures, then the worst and the best by each measure in turn, then what is left."""
    failed = [row["pair"] for row in record.rows if row["reason"] is not None]
    scored = [row for row in record.rows if row["reason"] is None]
    yield from failed[:40]
    rankings = [[row["pair"] for row in sorted(scored, key=lambda row: row[name])] for name in measures]
    rankings = rankings or [[row["pair"] for row in scored]]
    for i in range(len(scored)):
        for ranking in rankings:
            yield from (ranking[-1 - i], ranking[i])
    yield from failed[40:]
