"""The list of peers, their profiles and findings; and a few plays with real ones, where they are installed."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from conformance.install import peers as installer
from conformance.ledger import load_ledger
from conformance.matrix import FINDINGS, Options, run_peer
from conformance.peers import HERE, PeerProgram, all_peers, profile_of
from conformance.peers.launching import launched
from conformance.peers.results import Explained, load_findings, minimal, unexplained, write_results
from conformance.report.model import Found, Judged, Played, Report, make_report
from conformance.runner import play
from conformance.scenario import all_scenarios
from conformance.verdicts import Finding, Play
from mcp_tasks.testing import Frame, Side

ROWS = load_ledger()


@pytest.fixture(scope="module")
def sdks() -> ModuleType:
    found = installer()
    found.node = lambda: "node"  # the list can be looked at without it
    return found


@pytest.fixture(scope="module")
def peers(sdks: ModuleType) -> dict[str, PeerProgram]:
    return {peer.name: peer for peer in all_peers(sdks)}


def test_every_peer_has_a_profile_that_can_be_read(peers: dict[str, PeerProgram]) -> None:
    for peer in peers.values():
        assert peer.servers or peer.clients
        for side in (*peer.servers, *peer.clients):
            assert profile_of(side).abilities


def test_every_profile_is_of_a_peer(peers: dict[str, PeerProgram]) -> None:
    used = {side.profile for peer in peers.values() for side in (*peer.servers, *peer.clients)}
    assert used == {path.stem for path in (HERE.parent / "profiles").glob("*.toml")}


def test_the_commands_name_files_that_are_there(peers: dict[str, PeerProgram]) -> None:
    for peer in peers.values():
        commands = [side.command for side in peer.clients]
        commands += [side.command(transport) for side in peer.servers for transport in side.transports]
        for command in commands:
            scripts = [word for word in command if word.startswith(str(HERE))]
            assert all((HERE / word).exists() for word in scripts)


def test_findings_are_of_requirements_and_peers_that_there_are(peers: dict[str, PeerProgram]) -> None:
    for finding in load_findings(FINDINGS):
        assert set(finding.peers) <= peers.keys(), finding.title
        assert finding.whose in ("sdk", "open", "fixture")
        for id_ in finding.rows:
            assert finding.leg in ROWS[id_].legs, f"{finding.title}: {id_}"


def _frames() -> list[Frame]:
    task = {"taskId": "t1", "status": "working"}
    return [
        Frame(Side.CLIENT, {"jsonrpc": "2.0", "id": 1, "method": "initialize"}),
        Frame(Side.SERVER, {"jsonrpc": "2.0", "id": 1, "result": {}}),
        Frame(Side.CLIENT, {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"task": {}}}),
        Frame(Side.SERVER, {"jsonrpc": "2.0", "id": 2, "result": {"task": task}}),
        Frame(Side.CLIENT, {"jsonrpc": "2.0", "id": 3, "method": "ping"}),
        Frame(Side.SERVER, {"jsonrpc": "2.0", "id": 3, "result": {}}),
        Frame(Side.CLIENT, {"jsonrpc": "2.0", "id": 4, "method": "tasks/get", "params": {"taskId": "t1"}}),
        Frame(Side.SERVER, {"jsonrpc": "2.0", "id": 4, "result": task}),
    ]


def _report(*, kept: bool) -> Report:
    frames = _frames()
    finding = Finding("T25-122", kept, "the task has ttl", frames[-1])
    made = Play("looking", "stdio", "2025-11-25", findings=[finding], frames=frames)
    return make_report("somebody", "server", ["2025-11-25"], "p", [made], ROWS, [], suite="0", whole=False)


def test_a_transcript_is_of_the_task_alone() -> None:
    report = _report(kept=False)
    lines = minimal(report.plays[0], report.plays[0].findings[0])
    assert [line[:5] for line in lines] == ["  -->", "  <--", "  -->", "> <--"]
    assert "tools/call" in lines[0]
    assert "tasks/get" in lines[2]


def test_a_transcript_without_a_frame_is_the_end() -> None:
    played: Played = _report(kept=False).plays[0]
    lines = minimal(played, Found("T25-122", False, "x", 0))
    assert len(lines) == len(_frames())
    assert not any(line.startswith(">") for line in lines)


def test_what_is_not_explained_is_told_and_what_is_no_longer_so() -> None:
    known = Explained("no ttl", "It is left out.", ("somebody",), "server", ("T25-122",))
    fresh, stale = unexplained([_report(kept=False)], [])
    assert len(fresh) == 1
    assert "T25-122" in fresh[0]
    assert unexplained([_report(kept=False)], [known]) == ([], [])
    fresh, stale = unexplained([_report(kept=True)], [known])
    assert fresh == []
    assert stale
    assert unexplained([_report(kept=True)], [known], whole=False) == ([], [])


def test_the_results_have_the_table_the_words_and_the_frames() -> None:
    report = _report(kept=False)
    known = Explained("no ttl", "It is left out.", ("somebody",), "server", ("T25-122",))
    written = write_results([report], [PeerProgram("somebody", "a program")], [known])
    assert "| 2025-11-25 tasks | **1** |" in written
    assert "### no ttl" in written
    assert "It is left out." in written
    assert "> <--" in written
    assert "Not yet explained" not in written
    assert "Not yet explained" in write_results([report], [], [])


def _failed(report: Report | None) -> list[Judged]:
    assert report is not None
    return [one for one in report.results if one.fails]


async def test_our_own_server_over_http_says_where_it_is() -> None:
    command = [sys.executable, "-m", "mcp_tasks", "serve", "conformance.fixtures.healthy:peer", "--http", "127.0.0.1:0"]
    (scenario,) = (one for one in all_scenarios() if (one.name, one.leg) == ("an_unknown_task", "server"))
    peer = all_peers(_without_node())[0]
    async with launched(command) as subject:
        for _ in range(2):
            found = await play(subject, scenario, profile_of(peer.servers[0]))
            assert found.trouble is None
            assert [finding.kept for finding in found.findings if finding.id == "T25-130"] == [True]


async def test_a_server_that_says_nothing_cannot_be_reached() -> None:
    (scenario,) = (one for one in all_scenarios() if (one.name, one.leg) == ("an_unknown_task", "server"))
    async with launched([sys.executable, "-c", "raise SystemExit('no such thing')"]) as subject:
        with pytest.raises(OSError, match="no such thing"):
            await play(subject, scenario, profile_of(all_peers(_without_node())[0].servers[0]))


async def test_our_own_client_does_errands_as_a_program() -> None:
    peer = all_peers(_without_node())[0]
    scenarios = [one for one in all_scenarios() if one.name == "a_nested_question"]
    report = await run_peer(peer, "client", scenarios, Options(("stdio",)))
    assert report is not None
    assert [play.trouble for play in report.plays] == [None]
    assert _failed(report) == []


@pytest.mark.parametrize("name", ["mcp-1.30.0", "npm-1.32.2", "mcp-2.3.0", "npm-2.4.0", "fastmcp-4.1.4"])
@pytest.mark.parametrize("leg", ["server", "client"])
async def test_a_peer_can_be_played_with(name: str, leg: str) -> None:
    sdks = installer()
    sdks.ensure()
    (peer,) = (one for one in all_peers(sdks) if one.name == name)
    some = {"an_unknown_task", "a_plain_request", "an_ordinary_result", "a_forbidden_tool"}
    scenarios = [one for one in all_scenarios() if one.name in some]
    report = await run_peer(peer, leg, scenarios, Options(("stdio",), patience=30))  # type: ignore[arg-type]
    assert report is not None
    assert report.plays
    assert [play.trouble for play in report.plays if play.trouble] == []
    fresh, _ = unexplained([report], load_findings(FINDINGS), whole=False)
    assert fresh == []


def _without_node() -> ModuleType:
    found = installer()
    found.node = lambda: "node"
    return found


def test_only_one_process_serves_unless_each_is_to_have_its_own(peers: dict[str, PeerProgram]) -> None:
    fresh = {peer.name for peer in peers.values() for side in peer.servers if side.fresh}
    assert fresh == {"stock-mcp-1.30.0"}
