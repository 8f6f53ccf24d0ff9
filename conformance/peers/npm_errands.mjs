/**
 * An errand client on npm @modelcontextprotocol/sdk 1.32 (revision 2025-11-25).
 *
 * Usage: node npm_errands.mjs PEERS_DIR (URL | -- SERVER COMMAND...). What it is to do stands in MCP_CONFORMANCE; see
 * README.md. Tasks of the server are driven by the SDK's own callToolStream. Tasks for the server are of the SDK's own
 * store, and the SDK answers for them.
 */
import { setTimeout as sleep } from "node:timers/promises";

import { sdkIn } from "../../tests/peers/npm_sdk.mjs";

const [peersDir, ...words] = process.argv.slice(2);
const target = words.filter((word) => word !== "--");
const errand = JSON.parse(process.env.MCP_CONFORMANCE);
const sdk = sdkIn(peersDir);

const { Client } = await sdk("client/index.js");
const { StdioClientTransport } = await sdk("client/stdio.js");
const { StreamableHTTPClientTransport } = await sdk("client/streamableHttp.js");
const { InMemoryTaskStore } = await sdk("experimental/tasks");
const { CallToolResultSchema, CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema } =
  await sdk("types.js");

const SLOW = 3000;
const ANSWERS = { string: "Ada", integer: 36, number: 36, boolean: true };

/** What the last text of a conversation says, which is how the answer is to go. */
const said = ({ messages }) => messages.at(-1).content.text ?? "";

const model = (params) => ({ role: "assistant", content: { type: "text", text: `sampled: ${said(params)}` }, model: "peer" });

function fillIn({ requestedSchema }) {
  const asked = Object.entries(requestedSchema?.properties ?? {});
  return { action: "accept", content: Object.fromEntries(asked.map(([name, { type }]) => [name, ANSWERS[type] ?? "Ada"])) };
}

/** A handler that answers, or makes a task of it if it is asked to. */
function handler(answer, kind) {
  return async ({ params }, { taskStore }) => {
    if (!params.task) {
      if (kind(params) === "slow") await sleep(SLOW);
      if (kind(params) === "fails") throw Object.assign(new Error("it broke"), { code: -32000, data: { reason: "on purpose" } });
      return answer(params);
    }
    const task = await taskStore.createTask({ ttl: params.task.ttl, pollInterval: 50 });
    const work = async () => {
      if (kind(params) === "slow") await sleep(SLOW);
      if (kind(params) === "fails") await taskStore.updateTaskStatus(task.taskId, "failed", "it broke");
      else await taskStore.storeTaskResult(task.taskId, "completed", answer(params));
    };
    setImmediate(() => work().catch((error) => console.error(error.message))); // it may have been cancelled
    return { task };
  };
}

function newClient() {
  const requests = { sampling: { createMessage: {} }, elicitation: { create: {} } };
  const client = new Client(
    { name: "mcp-tasks-npm-errands", version: "1" },
    {
      capabilities: { roots: {}, sampling: {}, elicitation: { form: {} }, tasks: { list: {}, cancel: {}, requests } },
      taskStore: new InMemoryTaskStore(),
    },
  );
  client.setRequestHandler(CreateMessageRequestSchema, handler(model, said));
  client.setRequestHandler(ElicitRequestSchema, handler(fillIn, () => "quick"));
  client.setRequestHandler(ListRootsRequestSchema, async () => ({ roots: [] }));
  return client;
}

const plain = ({ content, isError = false }) => ({ text: content?.find(({ type }) => type === "text")?.text ?? null, isError });

/** What the server can do with tasks. */
const tasksOf = (client) => client.getServerCapabilities()?.tasks ?? {};

/** Whether the call is to be a task: what the server and the tool say goes before the errand. */
function wantsTask(client, tools) {
  if (!tasksOf(client).requests?.tools?.call) return false;
  const support = tools.find(({ name }) => name === errand.tool)?.execution?.taskSupport;
  return support === "required" || (support === "optional" && Boolean(errand.task));
}

async function listTasks(tasks) {
  let cursor;
  do ({ nextCursor: cursor } = await tasks.listTasks(cursor));
  while (cursor);
}

/** One call, as it was told; what is to be printed of it. */
async function call(client, asTask) {
  const params = { name: errand.tool, arguments: errand.arguments };
  const options = errand.progress ? { onprogress: () => {} } : {};
  try {
    if (!asTask) {
      if (errand.cancel === "call") options.signal = AbortSignal.timeout(500);
      return plain(await client.callTool(params, CallToolResultSchema, options));
    }
    const { tasks } = client.experimental;
    options.task = { ttl: errand.ttl ?? 60000 };
    for await (const event of tasks.callToolStream(params, CallToolResultSchema, options)) {
      if (event.type === "taskCreated" && errand.list_tasks && tasksOf(client).list) await listTasks(tasks);
      if (tasksOf(client).cancel && event.type === (errand.cancel === "task" ? "taskCreated" : "taskStatus") && errand.cancel) {
        await tasks.cancelTask(event.task.taskId);
        return { cancelled: true };
      }
      if (event.type === "result") return plain(event.result);
      if (event.type === "error") throw event.error;
    }
  } catch (error) {
    if (options.signal?.aborted) return { cancelled: true };
    return { error: { code: error.code ?? null, message: error.message } };
  }
  return { error: { code: null, message: "the stream ended without a result" } };
}

const overHttp = target[0].startsWith("http");
const transport = overHttp
  ? new StreamableHTTPClientTransport(new URL(target[0]))
  : new StdioClientTransport({ command: target[0], args: target.slice(1), env: process.env });
const client = newClient();
await client.connect(transport);
const asTask = wantsTask(client, (await client.listTools()).tools);
const results = await Promise.all(Array.from({ length: errand.calls ?? 1 }, () => call(client, asTask)));
if (overHttp) await transport.terminateSession();
await client.close();
// The SDK's store has timers that would keep the process for as long as its tasks are kept.
process.stdout.write(`${JSON.stringify(results.length > 1 ? results : results[0])}\n`, () => process.exit(0));
