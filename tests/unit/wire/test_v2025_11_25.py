"""The method tables of the handshake revisions agree with each other, and with the schema's four unions."""

from __future__ import annotations

import itertools

import attrs
import pytest

from mcp_tasks.wire import v2025_11_25 as v


def test_every_request_has_params_and_a_result() -> None:
    assert v.REQUEST_PARAMS.keys() == v.RESULTS.keys() == v.CLIENT_REQUESTS | v.SERVER_REQUESTS


def test_every_notification_has_params() -> None:
    assert v.NOTIFICATION_PARAMS.keys() == v.CLIENT_NOTIFICATIONS | v.SERVER_NOTIFICATIONS


def test_notifications_are_named_as_such() -> None:
    assert all(method.startswith("notifications/") for method in v.NOTIFICATION_PARAMS)
    assert not any(method.startswith("notifications/") for method in v.REQUEST_PARAMS)


def test_sizes_of_the_sets() -> None:
    """Counted in schema.ts: ClientRequest, ServerRequest, ClientNotification, ServerNotification."""
    sizes = {
        revision: tuple(len(members) for members in attrs.astuple(vocabulary))
        for revision, vocabulary in v.VOCABULARIES.items()
    }
    assert sizes == {
        "2025-11-25": (17, 8, 5, 9),
        "2025-06-18": (13, 4, 4, 7),
        "2025-03-26": (13, 3, 4, 7),
        "2024-11-05": (13, 3, 4, 7),
    }


def test_newest_first_and_each_contains_the_one_before() -> None:
    assert list(v.VOCABULARIES) == sorted(v.VOCABULARIES, reverse=True)
    newest_first = [attrs.astuple(vocabulary, recurse=False) for vocabulary in v.VOCABULARIES.values()]
    for newer, older in itertools.pairwise(newest_first):
        assert all(old <= new for new, old in zip(newer, older, strict=True))


@pytest.mark.parametrize("revision", ["2025-06-18", "2025-03-26", "2024-11-05"])
def test_older_revisions_have_no_tasks(revision: str) -> None:
    for members in attrs.astuple(v.VOCABULARIES[revision], recurse=False):
        assert not any("tasks/" in method for method in members)


def test_this_revision_is_the_four_sets() -> None:
    assert v.VOCABULARIES[v.REVISION] == v.Vocabulary(
        v.CLIENT_REQUESTS, v.SERVER_REQUESTS, v.CLIENT_NOTIFICATIONS, v.SERVER_NOTIFICATIONS
    )


@pytest.mark.parametrize("table", [v.RENAMES, v.NARROWED])
def test_the_codec_tables_name_fields(table: dict[type, dict[str, object]]) -> None:
    for shape, fields in table.items():
        assert fields.keys() <= attrs.fields_dict(shape).keys()


def test_task_status_is_its_wire_word() -> None:
    assert [str(status) for status in v.TaskStatus] == ["working", "input_required", "completed", "failed", "cancelled"]
    assert v.TaskStatus("working") == "working"
