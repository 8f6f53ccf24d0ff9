"""The ledger is whole: every row has a check, every check a row, and what cannot be judged says why."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from conformance.coverage import checked, mutated, watched
from conformance.ledger import ERAS, load_ledger
from conformance.mutants import all_mutants
from conformance.scenario import all_scenarios

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROWS = load_ledger()


def test_every_check_has_a_row() -> None:
    assert {id for id, _ in checked()} - ROWS.keys() == set()
    assert watched() - ROWS.keys() == set()
    assert {mutant.id for mutant in all_mutants()} - ROWS.keys() == set()


def test_scenarios_judge_what_can_be_judged_in_their_leg() -> None:
    wrong = [f"{one.name}: {id}" for one in all_scenarios() for id in one.judges if one.leg not in ROWS[id].legs]
    assert wrong == []


def test_nothing_is_judged_that_is_said_not_to_be() -> None:
    said = {(id, leg) for id, row in ROWS.items() for leg in row.unjudged}
    assert said & checked() == set()
    assert (
        said
        & {
            (id, leg)
            for id, leg in mutated(ROWS)
            if leg in ROWS[id].legs and any(mutant.id == id and leg in mutant.legs for mutant in all_mutants())
        }
        == set()
    )


def test_reasons_and_sentences_are_sentences() -> None:
    for row in ROWS.values():
        assert row.says[0].isupper() or not row.says[0].isalpha(), row.id
        assert row.link.startswith("https://"), row.id
        assert row.id[:3] in ERAS
        for why in row.unjudged.values():
            assert len(why.split()) >= 4, row.id


def test_the_files_are_in_order() -> None:
    folder = Path(__file__).parents[2] / "conformance" / "ledger"
    for file in folder.glob("*.toml"):
        ids = [row["id"] for row in tomllib.loads(file.read_text())["rows"]]
        assert ids == sorted(ids), file.name
        assert all(re.fullmatch(r"[TXC]2[56]-\d{3}", id) for id in ids)
