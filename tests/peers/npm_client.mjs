/**
 * A client on npm @modelcontextprotocol/sdk that plays one scenario against a server and reports what it saw.
 *
 * Usage: node npm_client.mjs [OPTIONS] PEERS_DIR SCENARIO (URL | -- SERVER COMMAND...)
 *
 * It is python_client.py once more: the scenarios, the options and the report are those of README.md.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import { sdkIn } from "./npm_sdk.mjs";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    timeout: { type: "string", default: "30" },
    "no-get-stream": { type: "boolean", default: false },
    "await-push": { type: "boolean", default: false },
    token: { type: "string" },
  },
});
const [peersDir, scenario, ...target] = positionals;
const sdk = sdkIn(peersDir);

const { Client } = await sdk("client/index.js");
const { StdioClientTransport } = await sdk("client/stdio.js");
const { StreamableHTTPClientTransport } = await sdk("client/streamableHttp.js");
const { InMemoryTaskStore } = await sdk("experimental/tasks");
const {
  CallToolResultSchema,
  CreateMessageRequestSchema,
  CreateTaskResultSchema,
  ElicitRequestSchema,
  McpError,
} = await sdk("types.js");

const RELATED_TASK = "io.modelcontextprotocol/related-task";
const STATUS = "notifications/tasks/status";
const ANSWERS = { confirm: true, name: "Ada", age: 36, answer: "of course" };
const MANY = 120;
const POLL = 50;
const PING = { jsonrpc: "2.0", id: "afterwards", method: "ping" };

const isTerminal = (status) => ["completed", "failed", "cancelled"].includes(status);

/** The outcome of a request, as in python_client.py; the SDK's prefix is taken off its error messages. */
async function attempt(promise) {
  try {
    return { result: await promise };
  } catch (error) {
    if (!(error instanceof McpError)) return { invalid: String(error) };
    const { code, data } = error;
    const message = error.message.replace(/^MCP error -?\d+: /, "");
    return { error: { code, message, ...(data === undefined ? {} : { data }) } };
  }
}

// What the client says to the server's questions ----------------------------------------------------

const fillIn = ({ requestedSchema }) => {
  const asked = Object.keys(requestedSchema?.properties ?? {});
  const known = Object.entries(ANSWERS).filter(([name]) => asked.includes(name));
  return { action: "accept", content: Object.fromEntries(known) };
};

const playModel = ({ messages }) => {
  const said = messages.filter(({ role, content }) => role === "user" && content.type === "text");
  const text = `sampled: ${said.at(-1)?.content.text ?? ""}`;
  return { role: "assistant", content: { type: "text", text }, model: "peer" };
};

/** A handler that answers at once or, if a task is asked for, in the background. */
function handler(answer, ...statuses) {
  return async ({ params }, { taskStore }) => {
    if (!params.task) return answer(params);
    const task = await taskStore.createTask({ ttl: params.task.ttl, pollInterval: POLL });
    const created = { ...task }; // the store hands out its live object
    (async () => {
      for (const status of statuses) {
        await sleep(2 * POLL);
        await taskStore.updateTaskStatus(task.taskId, status);
      }
      await sleep(2 * POLL);
      await taskStore.storeTaskResult(task.taskId, "completed", answer(params));
    })().catch((error) => console.error(error));
    return { task: created };
  };
}

function newClient() {
  const hosts = scenario.startsWith("receive-");
  const requests = { sampling: { createMessage: {} }, elicitation: { create: {} } };
  const tasks = hosts ? { tasks: { list: {}, cancel: {}, requests } } : {};
  const client = new Client(
    { name: "mcp-tasks-npm-client", version: "1" },
    {
      capabilities: { sampling: {}, elicitation: { form: {} }, ...tasks },
      taskStore: hosts ? new InMemoryTaskStore() : undefined,
    },
  );
  client.setRequestHandler(CreateMessageRequestSchema, handler(playModel));
  client.setRequestHandler(ElicitRequestSchema, handler(fillIn, "input_required"));
  return client;
}

// What is seen -------------------------------------------------------------------------------------

const report = { scenario, requests: [], notifications: [] };
const listeners = new Set();

/** Keep the server's requests and notifications as they come from the wire. */
function watch(transport) {
  let deliver;
  Object.defineProperty(transport, "onmessage", {
    get: () => deliver,
    set: (onmessage) => {
      deliver = onmessage && ((message, extra) => (note(message), onmessage(message, extra)));
    },
  });
}

function note(message) {
  if (message.result?.protocolVersion) report.initialize = message.result;
  if (!("method" in message)) return;
  const { method, params = {} } = message;
  if (!("id" in message)) report.notifications.push(message);
  else {
    const related = params._meta?.[RELATED_TASK];
    report.requests.push({ method, params, ...(related ? { relatedTask: related } : {}) });
  }
  for (const listener of listeners) listener();
}

/** Wait for a notification. */
function told(something) {
  return new Promise((resolve) => {
    const listener = () => report.notifications.some(something) && resolve();
    listeners.add(listener);
    listener();
  });
}

/** Wait until a notification has told that a task is over. */
const toldTheEnd = (taskId) =>
  told(({ method, params }) => method === STATUS && params.taskId === taskId && isTerminal(params.status));

const authorization = options.token ? { authorization: `Bearer ${options.token}` } : {};
let lastHeaders = {};

/** `fetch`, keeping what matters of each exchange; may answer GET with 405 by itself. */
async function recordingFetch(url, init) {
  const method = init.method ?? "GET";
  if (method === "GET" && options["no-get-stream"]) return new Response(null, { status: 405 });
  const response = await fetch(url, init);
  const headers = new Headers(init.headers);
  for (const [name, value] of headers) if (name.startsWith("mcp-")) lastHeaders[name] = value;
  const type = response.headers.get("content-type")?.split(";")[0];
  const lastEventId = headers.get("last-event-id") ?? undefined;
  (report.http ??= []).push({ method, status: response.status, type, lastEventId });
  return response;
}

/** How the server answers to the session that has been deleted. */
async function statusAfterwards() {
  const headers = {
    ...lastHeaders,
    ...authorization,
    accept: "application/json, text/event-stream",
    "content-type": "application/json",
  };
  const response = await fetch(target[0], { method: "POST", headers, body: JSON.stringify(PING) });
  await response.body?.cancel();
  return response.status;
}

// Scenarios ----------------------------------------------------------------------------------------

const callTask = (client, name, args, meta) =>
  client.request(
    { method: "tools/call", params: { name, arguments: args, ...(meta ? { _meta: meta } : {}) } },
    CreateTaskResultSchema,
    { task: { ttl: 60000 } },
  );

const resultOf = (client, taskId) =>
  attempt(client.experimental.tasks.getTaskResult(taskId, CallToolResultSchema));

/** Drive a tool as a task to its end, looking at its status all the while. */
async function runTask(client, name, args = {}, meta = undefined) {
  const created = await callTask(client, name, args, meta);
  const { taskId } = created.task;
  const statuses = [created.task.status];
  const poll = async () => {
    const task = await client.experimental.tasks.getTask(taskId);
    if (task.status !== statuses.at(-1)) statuses.push(task.status);
    return task;
  };
  for (;;) {
    const { status } = await poll();
    if (isTerminal(status) || status === "input_required") break;
    await sleep(POLL);
  }
  const outcome = await resultOf(client, taskId);
  const task = await poll();
  return { created, statuses, outcome, task };
}

const call = (client, name, args = {}, requestOptions = undefined) =>
  attempt(client.request({ method: "tools/call", params: { name, arguments: args } }, CallToolResultSchema, requestOptions));

async function callWithProgress(client, name) {
  const values = [];
  const onprogress = ({ progress }) => values.push(progress);
  return { plain: await call(client, name, { steps: 3 }, { onprogress }), plain_progress: values };
}

const scenarios = {
  plain: async (client) => {
    const { tools } = await client.listTools();
    const support = tools.map(({ name, execution }) => [name, execution?.taskSupport ?? null]);
    return { tools: Object.fromEntries(support), greet: await call(client, "greet", { name: "Ada" }) };
  },
  features: async (client) => {
    const level = await attempt(client.setLoggingLevel("debug"));
    const [resources, read] = [[], []];
    let [cursor, pages] = [undefined, 0];
    do {
      const page = await client.listResources({ cursor });
      resources.push(...page.resources.map(({ uri }) => uri));
      cursor = page.nextCursor;
      pages += 1;
    } while (cursor);
    for (const uri of [...resources.slice(0, 2), "peer://nothing"]) {
      read.push(await attempt(client.readResource({ uri })));
    }
    const { resourceTemplates } = await client.listResourceTemplates();
    const { prompts } = await client.listPrompts();
    const ref = { type: "ref/prompt", name: "introduce" };
    const args = { name: "Ada", language: "french" };
    const argument = { name: "language", value: "e" };
    return {
      level,
      resources,
      read,
      pages,
      templates: resourceTemplates.map(({ uriTemplate }) => uriTemplate),
      prompts: prompts.map(({ name }) => name),
      prompt: await attempt(client.getPrompt({ name: "introduce", arguments: args })),
      completion: await attempt(client.complete({ ref, argument })),
      logged: await call(client, "progress_job", { steps: 2 }),
    };
  },
  "plain-questions": async (client) => ({
    confirm: await call(client, "confirm_delete", { filename: "a.txt" }),
    multi: await call(client, "multi_input"),
    sampling: await call(client, "sample_job", { prompt: "hi" }),
  }),
  "plain-errors": async (client) => ({
    error: await call(client, "protocol_error_job"),
    unknown: await call(client, "nothing"),
    missing: await call(client, "greet"),
  }),
  "plain-progress": (client) => callWithProgress(client, "progress_job"),
  "dropped-stream": (client) => callWithProgress(client, "drop_stream"),
  announced: async (client) => {
    const outcome = await call(client, "announce");
    await told(({ method }) => method === "notifications/tools/list_changed");
    return { outcome };
  },
  withdrawn: async (client) => {
    const abort = new AbortController();
    const seen = { signal: abort.signal, onprogress: () => abort.abort("enough") };
    const args = { steps: 10000, seconds_per_step: 0.02 };
    const withdrawn = await call(client, "progress_job", args, seen);
    return { withdrawn, greet: await call(client, "greet", { name: "Ada" }) };
  },
  driven: async (client) => {
    const events = { statuses: [] };
    const params = { name: "confirm_delete", arguments: { filename: "a.txt" } };
    const stream = client.experimental.tasks.callToolStream(params, CallToolResultSchema, { task: { ttl: 60000 } });
    for await (const event of stream) {
      if (event.type === "taskCreated") events.created = { task: event.task };
      else if (event.type === "taskStatus") events.statuses.push(event.task.status);
      else events.outcome = event.type === "result" ? { result: event.result } : await attempt(Promise.reject(event.error));
    }
    return events;
  },
  pages: async (client) => {
    const [made, listed] = [[], []];
    for (let number = 0; number < MANY; number += 1) {
      const created = await callTask(client, "slow_compute", { seconds: 0 });
      made.push(created.task.taskId);
    }
    let [cursor, pages] = [undefined, 0];
    do {
      const page = await client.experimental.tasks.listTasks(cursor);
      listed.push(...page.tasks.map(({ taskId }) => taskId));
      cursor = page.nextCursor;
      pages += 1;
    } while (cursor);
    return { made, listed, pages };
  },
  lifecycle: async (client) => {
    const { tasks } = client.experimental;
    const created = await callTask(client, "slow_compute", { seconds: 0.05 });
    const { taskId } = created.task;
    const first = await tasks.getTask(taskId);
    const outcome = await resultOf(client, taskId);
    const task = await tasks.getTask(taskId);
    const statuses = [created.task.status, first.status, task.status];
    return { created, statuses, outcome, task, listed: await attempt(tasks.listTasks()) };
  },
  cancel: async (client) => {
    const { tasks } = client.experimental;
    const created = await callTask(client, "slow_compute", { seconds: 60 });
    const { taskId } = created.task;
    return {
      created,
      cancel: await attempt(tasks.cancelTask(taskId)),
      get: await attempt(tasks.getTask(taskId)),
      cancel_again: await attempt(tasks.cancelTask(taskId)),
      outcome: await resultOf(client, taskId),
    };
  },
  question: (client) => runTask(client, "confirm_delete", { filename: "a.txt" }),
  multi: (client) => runTask(client, "multi_input"),
  sampling: (client) => runTask(client, "sample_job", { prompt: "hi" }),
  "is-error": (client) => runTask(client, "failing_job"),
  "protocol-error": (client) => runTask(client, "protocol_error_job"),
  progress: async (client) => {
    const plain = await callWithProgress(client, "progress_job");
    return { ...plain, ...(await runTask(client, "progress_job", { steps: 3 }, { progressToken: "of-the-task" })) };
  },
  "unknown-task": async (client) => ({
    get: await attempt(client.experimental.tasks.getTask("no-such-task")),
    result: await resultOf(client, "no-such-task"),
    cancel: await attempt(client.experimental.tasks.cancelTask("no-such-task")),
  }),
  "receive-sampling-task": async (client) => ({ outcome: await call(client, "drive_sampling", { prompt: "hi" }) }),
  "receive-elicitation-task": async (client) => ({
    outcome: await call(client, "drive_elicitation", { message: "ok?" }),
  }),
};

async function play() {
  const overHttp = target[0].startsWith("http");
  const transport = overHttp
    ? new StreamableHTTPClientTransport(new URL(target[0]), {
        fetch: recordingFetch,
        requestInit: { headers: authorization },
      })
    : new StdioClientTransport({ command: target[0], args: target.slice(1), env: process.env });
  const client = newClient();
  watch(transport);
  await client.connect(transport);
  Object.assign(report, await scenarios[scenario](client));
  if (options["await-push"] && report.created) await toldTheEnd(report.created.task.taskId);
  if (overHttp) await transport.terminateSession();
  await client.close();
  if (overHttp) report.afterwards = await statusAfterwards();
}

const late = sleep(Number(options.timeout) * 1000).then(() => {
  throw new Error(`not over after ${options.timeout} seconds`);
});
await Promise.race([play(), late]);
// The SDK's store has timers that would keep the process for as long as its tasks are kept.
process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0));
