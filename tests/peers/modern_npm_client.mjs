/**
 * A client on npm @modelcontextprotocol/client 2.4 that speaks revision 2026-07-28, plays one scenario, checks it and
 * reports what it saw.
 *
 * Usage: node modern_npm_client.mjs [OPTIONS] PEERS_DIR SCENARIO (URL | -- SERVER COMMAND...)
 *
 * It is modern_python_client.py once more: the scenarios, the options and the report are those of README.md.
 */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import { modulesIn } from "./npm_sdk.mjs";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { timeout: { type: "string", default: "30" }, mode: { type: "string", default: "auto" } },
});
const [peersDir, scenario, ...target] = positionals;
const load = modulesIn(peersDir, "npm24");

const { Client, ProtocolError, StreamableHTTPClientTransport } = await load("@modelcontextprotocol/client");
const { StdioClientTransport } = await load("@modelcontextprotocol/client/stdio");

const ANSWERS = { name: "Ada", age: 36 };
const PLACES = ["eu", "Zürich", " padded ", "=?base64?ZXU=?="];
const TOOLS = ["add", "fail", "progress", "ask", "ask_twice", "sample", "tagged", "wait", "cancelled"];

const report = { scenario, requests: [], http: [] };

/** The outcome of a request, as in modern_python_client.py. */
async function attempt(promise) {
  try {
    return { result: await promise };
  } catch (error) {
    if (!(error instanceof ProtocolError)) return { invalid: String(error) };
    const { code, message, data } = error;
    return { error: { code, message, ...(data === undefined ? {} : { data }) } };
  }
}

function textOf({ result }) {
  assert.equal(result?.content?.length, 1);
  return result.content[0].text;
}

const call = (client, name, args = {}, ...more) => attempt(client.callTool({ name, arguments: args }, ...more));

// What the client says to the server's questions ----------------------------------------------------

function newClient() {
  const mode = options.mode === "auto" ? "auto" : { pin: options.mode };
  const client = new Client(
    { name: "mcp-tasks-modern-npm-client", version: "1" },
    { capabilities: { sampling: {}, elicitation: { form: {} } }, versionNegotiation: { mode } },
  );
  client.setRequestHandler("elicitation/create", async ({ method, params }) => {
    report.requests.push({ method, params });
    if (scenario === "decline") return { action: "decline" };
    const asked = Object.keys(params.requestedSchema?.properties ?? {});
    const known = Object.entries(ANSWERS).filter(([name]) => asked.includes(name));
    return { action: "accept", content: Object.fromEntries(known) };
  });
  client.setRequestHandler("sampling/createMessage", async ({ method, params }) => {
    report.requests.push({ method, params });
    const said = params.messages.filter(({ content }) => content.type === "text");
    return { role: "assistant", content: { type: "text", text: `sampled: ${said.at(-1).content.text}` }, model: "peer" };
  });
  client.onerror = (error) => (report.complaints ??= []).push(error.message);
  return client;
}

/** `fetch`, keeping of each exchange what matters. */
async function recordingFetch(url, init = {}) {
  const sent = init.body ? JSON.parse(init.body) : {};
  const headers = Object.fromEntries([...new Headers(init.headers)].filter(([name]) => name.startsWith("mcp-")));
  const { inputResponses, requestState, _meta = {} } = sent.params ?? {};
  const exchange = {
    method: init.method ?? "GET",
    rpc: sent.method,
    id: sent.id,
    headers,
    meta: Object.keys(_meta).sort(),
    mrtr: { ...(inputResponses && { inputResponses }), ...(requestState !== undefined && { requestState }) },
  };
  report.http.push(exchange);
  const response = await fetch(url, init);
  exchange.status = response.status;
  exchange.type = (response.headers.get("content-type") ?? "").split(";")[0];
  return response;
}

// Scenarios ----------------------------------------------------------------------------------------

/** How many calls of `wait` the server has seen being cancelled. */
const withdrawn = async (client) => Number(textOf(await call(client, "cancelled")));

const scenarios = {
  discover: async (client) => {
    const discover = client.getDiscoverResult();
    assert.ok(discover.supportedVersions.includes("2026-07-28"));
    assert.ok(discover.capabilities.tools);
    return { discover, serverInfo: client.getServerVersion() };
  },
  tools: async (client) => {
    const listed = await client.listTools();
    const names = listed.tools.map(({ name }) => name);
    assert.deepEqual(TOOLS.filter((name) => !names.includes(name)), []);
    const add = await call(client, "add", { a: 1, b: 2 });
    assert.deepEqual(add.result.structuredContent, { sum: 3 });
    const fail = await call(client, "fail");
    assert.equal(fail.result.isError, true);
    assert.equal(textOf(fail), "it failed");
    return { listed, add, fail };
  },
  ask: async (client) => {
    const outcome = await call(client, "ask");
    assert.equal(textOf(outcome), "hi Ada");
    return { outcome };
  },
  ask_twice: async (client) => {
    const outcome = await call(client, "ask_twice");
    assert.equal(textOf(outcome), "Ada is 36");
    return { outcome };
  },
  decline: async (client) => {
    const outcome = await call(client, "ask");
    assert.equal(textOf(outcome), "you would not tell");
    return { outcome };
  },
  sample: async (client) => {
    const outcome = await call(client, "sample", { prompt: "hi" });
    assert.equal(textOf(outcome), "sampled: hi");
    return { outcome };
  },
  progress: async (client) => {
    const told = [];
    const onprogress = ({ progress, total, message }) => told.push([progress, total, message]);
    const outcome = await call(client, "progress", {}, { onprogress });
    assert.equal(textOf(outcome), "done");
    return { outcome, progress: told };
  },
  header: async (client) => {
    const outcomes = [];
    for (const region of PLACES) {
      outcomes.push(await call(client, "tagged", { region }));
      assert.equal(textOf(outcomes.at(-1)), `region ${region}`);
      await client.listTools();
    }
    return { outcomes };
  },
  features: async (client) => {
    const seen = {
      resources: await client.listResources(),
      templates: await client.listResourceTemplates(),
      read: await client.readResource({ uri: "peer://greeting" }),
      number: await client.readResource({ uri: "peer://number/7" }),
      prompts: await client.listPrompts(),
      prompt: await client.getPrompt({ name: "introduce", arguments: { name: "Ada", language: "french" } }),
      completion: await client.complete({
        ref: { type: "ref/prompt", name: "introduce" },
        argument: { name: "language", value: "e" },
      }),
    };
    assert.equal(seen.resources.resources[0].uri, "peer://greeting");
    assert.equal(seen.read.contents[0].text, "good day");
    assert.equal(seen.number.contents[0].text, "I am 7");
    assert.equal(seen.prompt.messages[0].content.text, "Introduce Ada in french.");
    assert.deepEqual(seen.completion.completion.values, ["english", "esperanto"]);
    return seen;
  },
  errors: async (client) => {
    const seen = {
      tool: await call(client, "nothing"),
      arguments: await call(client, "add", { a: "x" }),
      resource: await attempt(client.readResource({ uri: "peer://nothing" })),
      prompt: await attempt(client.getPrompt({ name: "nothing", arguments: {} })),
    };
    assert.equal(seen.resource.error.code, -32602);
    return seen;
  },
  cancel: async (client) => {
    const before = await withdrawn(client);
    const controller = new AbortController();
    const waiting = call(client, "wait", { seconds: 600 }, { signal: controller.signal });
    await sleep(500);
    controller.abort("enough");
    const outcome = await waiting;
    assert.ok(outcome.invalid);
    while ((await withdrawn(client)) === before) await sleep(50);
    return { withdrawn: true, outcome };
  },
  listen: async (client) => {
    const heard = [];
    const hears = (method) => new Promise((resolve) => client.setNotificationHandler(method, (said) => resolve(heard.push(said))));
    const changed = hears("notifications/tools/list_changed");
    const updated = hears("notifications/resources/updated");
    const subscription = await client.listen({ toolsListChanged: true, resourceSubscriptions: ["peer://greeting"] });
    await call(client, "announce");
    await changed;
    await call(client, "touch");
    await updated;
    await subscription.close();
    assert.equal(await subscription.closed, "local");
    const { tools } = await client.listTools();
    return { honored: subscription.honoredFilter, heard, tools: tools.length };
  },
};

async function play() {
  const overHttp = target[0].startsWith("http");
  const transport = overHttp
    ? new StreamableHTTPClientTransport(new URL(target[0]), { fetch: recordingFetch })
    : new StdioClientTransport({ command: target[0], args: target.slice(1), env: process.env });
  const client = newClient();
  await client.connect(transport);
  report.version = client.getNegotiatedProtocolVersion();
  assert.equal(report.version, "2026-07-28");
  Object.assign(report, await scenarios[scenario](client));
  await client.close();
}

const late = sleep(Number(options.timeout) * 1000).then(() => {
  throw new Error(`not over after ${options.timeout} seconds`);
});
await Promise.race([play(), late]);
process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0));
