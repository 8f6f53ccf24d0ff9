"""`serve --store` and `store`: real servers on a file, killed and started again, and the file looked into meanwhile."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from mcp_tasks import Connection, Peer, RequestFailed, open_http, open_stdio
from mcp_tasks.cli.exits import Exit

from ._run import COMMAND, SECONDS, json_lines, run

SHOP = """
import os
from mcp_tasks import Context, Limits, Peer

peer = Peer("shop", "1.0", limits=Limits(poll_interval_ms=10))

@peer.tool(task="required", restartable=True)
async def order(ctx: Context, what: str) -> str:
    async def pay() -> int:
        with open("payments", "a") as file:
            file.write("paid\\n")
        return 1
    await ctx.once("pay", pay)
    form = await ctx.elicit("For whom?", {"name": str})
    return f"{what} for {form['name']}"

@peer.tool(task="required")
async def fragile(ctx: Context) -> str:
    await ctx.elicit("Sure?", {"name": str})
    return "sure"
"""
LAMP = {"name": "order", "arguments": {"what": "a lamp"}}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


def client(answers: bool) -> Peer:
    peer = Peer("client", "1.0")

    @peer.elicitation
    async def answer(ctx: Any, form: Any) -> dict[str, str]:
        if not answers:
            await trio.sleep_forever()
        return {"name": "Ada"}

    return peer


SERVE = [*COMMAND, "serve", "shop:peer", "--store", "tasks.db"]


@asynccontextmanager
async def over_stdio(
    shop: Path, revision: str, *options: str, answers: bool = True
) -> AsyncIterator[tuple[Connection, int]]:
    async with (
        open_stdio([*SERVE, "--stdio", *options], cwd=shop) as transport,
        client(answers).connect(transport, revision=revision) as connection,
    ):
        yield connection, transport.pid


@asynccontextmanager
async def over_http(
    shop: Path, revision: str, *options: str, answers: bool = True
) -> AsyncIterator[tuple[Connection, int]]:
    command = [*SERVE, "--http", "127.0.0.1:0", *options]
    server = await trio.lowlevel.open_process(command, cwd=shop, stderr=subprocess.PIPE)
    assert server.stderr is not None
    async with server.stderr:
        try:
            said = b""
            while b"\n" not in said:
                said += await server.stderr.receive_some()
            url = said.split()[-1].decode()
            async with open_http(url) as transport, client(answers).connect(transport, revision=revision) as connection:
                yield connection, server.pid
        finally:
            server.kill()
            with trio.CancelScope(shield=True):
                await server.wait()


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
@pytest.mark.parametrize("served", [over_stdio, over_http])
@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
async def test_a_handle_goes_on_with_the_server_that_comes_after(
    shop: Path, served: Any, revision: str, sealed: bool
) -> None:
    options = []
    if sealed:
        (shop / "key").write_bytes(base64.b64encode(os.urandom(32)) + b"\n")
        options = ["--store-key", "key"]
    with trio.fail_after(SECONDS):
        async with served(shop, revision, *options, answers=False) as (connection, pid):
            async with connection.start("tools/call", LAMP, ttl=3600) as task:
                saved = task.detach()
            async with connection.start("tools/call", {"name": "fragile"}, ttl=3600) as task:
                other = task.detach()
            while (await connection.look_at(saved.id)).task.status != "input_required":
                pass
            os.kill(pid, signal.SIGKILL)
        async with served(shop, revision, *options) as (connection, _), connection.resume(saved) as task:
            assert (await task.value()).text == "a lamp for Ada"
            async with connection.resume(other) as task:
                with pytest.raises(RequestFailed, match="The task was interrupted"):
                    await task.result()
    assert (shop / "payments").read_text() == "paid\n"
    kept = b"".join((shop / name).read_bytes() for name in os.listdir(shop) if name.startswith("tasks.db"))
    assert (b"lamp" in kept) is not sealed


async def test_an_orderly_end_leaves_it_for_the_next(shop: Path) -> None:
    with trio.fail_after(SECONDS):
        async with over_http(shop, "2026-07-28") as (connection, pid):
            async with connection.start("tools/call", LAMP) as task:
                saved = task.detach()
            os.kill(pid, signal.SIGTERM)
            await trio.to_thread.run_sync(_wait_for_file_to_be_free, shop)
        [listed] = json_lines(run("store", "inspect", str(shop / "tasks.db"), "--json").stdout)
        assert listed["state"] in ("working", "input required")
        async with over_http(shop, "2026-07-28") as (connection, _), connection.resume(saved) as task:
            assert (await task.value()).text == "a lamp for Ada"


def _wait_for_file_to_be_free(shop: Path) -> None:
    while run("store", "vacuum", str(shop / "tasks.db")).returncode == Exit.SERVER:
        pass


async def test_a_file_is_looked_into_while_it_is_served(shop: Path) -> None:
    file = str(shop / "tasks.db")
    with trio.fail_after(SECONDS):
        async with over_http(shop, "2026-07-28") as (connection, pid):
            async with connection.start("tools/call", LAMP) as task:
                id = task.detach().id
            assert (await connection.call_tool("order", {"what": "a chair"}, task=True)).text == "a chair for Ada"
            while (await connection.look_at(id)).task.status != "input_required":
                pass

            listed = run("store", "inspect", file)
            assert listed.returncode == Exit.OK, listed.stderr
            lines = listed.stdout.splitlines()
            assert [line.split()[:2] for line in lines] == [
                ["task", "state"],
                [id, "input"],
                [lines[2].split()[0], "returned"],
            ]
            assert [
                line["id"] for line in json_lines(run("store", "inspect", file, "--unfinished", "--json").stdout)
            ] == [id]
            assert run("store", "inspect", file, "--principal", "nobody", "--json").stdout == ""

            [whole] = json_lines(run("store", "inspect", file, id, "--json").stdout)
            assert (whole["journal"], list(whole["questions"])) == ({"pay": 1}, ["elicit-1"])
            assert whole["origin"]["params"]["arguments"] == {"what": "a lamp"}
            assert "elicit-1" in run("store", "inspect", file, id).stdout
            exported = json_lines(run("store", "export", file).stdout)
            assert exported[0] == whole
            assert exported[1]["outcome"][1]["content"][0]["text"] == "a chair for Ada"

            [stats] = json_lines(run("store", "stats", file, "--json").stdout)
            assert (stats["tasks"], stats["unfinished"], stats["waiting"], stats["principals"]) == (2, 1, 1, 1)
            assert "file_bytes" in run("store", "stats", file).stdout

            for refused in (
                run("store", "vacuum", file),
                run("serve", "shop:peer", "--stdio", "--store", file, cwd=shop),
            ):
                assert refused.returncode == Exit.SERVER
                assert refused.stderr.endswith(f"tasks.db is in use by process {pid}\n")
    tidied = run("store", "vacuum", file)
    assert tidied.stdout.startswith("0 expired tasks removed; "), tidied.stderr


def test_what_has_expired_is_removed(shop: Path) -> None:
    program = """
import trio
from mcp_tasks import *
with SQLiteTaskStore("tasks.db") as store:
    for name, ttl_ms in (("old", 1), ("new", None)):
        record = TaskRecord(id=name, principal="p", method="m", created_at=1.0, updated_at=1.0, ttl_ms=ttl_ms,
                            poll_interval_ms=None, answers={"k": "x" * 1000000})
        trio.run(store.create, record)
"""
    subprocess.run([sys.executable, "-c", program], cwd=shop, check=True)
    done = run("store", "vacuum", str(shop / "tasks.db"))
    assert done.stdout.startswith("1 expired tasks removed; "), done.stderr
    assert [line["id"] for line in json_lines(run("store", "inspect", str(shop / "tasks.db"), "--json").stdout)] == [
        "new"
    ]


@pytest.mark.parametrize("command", ["inspect", "stats", "vacuum", "export"])
def test_a_file_that_is_not_there(tmp_path: Path, command: str) -> None:
    done = run("store", command, str(tmp_path / "no.db"))
    assert (done.returncode, done.stdout) == (Exit.SERVER, "")
    assert done.stderr == f"mcp-tasks: there is no file {tmp_path / 'no.db'}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["inspect", "stats", "vacuum", "export"])
def test_a_file_that_is_something_else(tmp_path: Path, command: str) -> None:
    (tmp_path / "x.db").write_text(json.dumps({"not": "a database", "but": "something longer"}) * 20)
    done = run("store", command, str(tmp_path / "x.db"))
    assert done.returncode == Exit.SERVER
    assert "not a database" in done.stderr
    (tmp_path / "empty.db").write_bytes(b"")
    done = run("store", command, str(tmp_path / "empty.db"))
    assert (done.returncode, done.stderr) == (Exit.SERVER, f"mcp-tasks: {tmp_path / 'empty.db'} is empty\n")


def test_wrong_use(shop: Path) -> None:
    (shop / "short").write_bytes(b"short")
    for options, said in (
        (["--store-key", "short"], "--store-key is for a --store"),
        (["--store", "t.db", "--store-key", "short"], "short is no key: 32 random bytes"),
        (["--store", "t.db", "--store-key", "missing"], "missing: No such file"),
    ):
        done = run("serve", "shop:peer", "--stdio", *options, cwd=shop)
        assert done.returncode == Exit.USAGE
        assert said in done.stderr
    done = run("store", "inspect", str(shop / "shop.py"), "nothing")
    assert done.returncode == Exit.SERVER
