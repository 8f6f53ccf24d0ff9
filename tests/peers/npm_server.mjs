/**
 * A stdio server on npm @modelcontextprotocol/sdk, with its experimental tasks (2025-11-25).
 *
 * Usage: node npm_server.mjs [PEERS_DIR]. The packages are taken from PEERS_DIR/npm/node_modules;
 * the default is $MCP_TASKS_PEERS, then .peers below the repository root. Tools: see README.md.
 *
 * It uses the low-level `Server`: `McpServer` turns every error of tools/call into an `isError`
 * result, so that refusals and protocol errors could not be seen on the wire.
 */
import { createRequire } from "node:module";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const peers =
  process.argv[2] ?? process.env.MCP_TASKS_PEERS ?? path.resolve(here, "..", "..", ".peers");
const locate = createRequire(path.join(path.resolve(peers), "npm", "package.json"));

/** Import a module of the SDK from the peers directory. */
function sdk(name) {
  // require.resolve finds the CommonJS build; the ES build next to it has the same layout.
  const file = locate.resolve(`@modelcontextprotocol/sdk/${name}`);
  const marker = `${path.sep}dist${path.sep}`;
  return import(pathToFileURL(file.replace(`${marker}cjs`, `${marker}esm`)).href);
}

const { Server } = await sdk("server/index.js");
const { StdioServerTransport } = await sdk("server/stdio.js");
const { InMemoryTaskMessageQueue, InMemoryTaskStore } = await sdk("experimental/tasks");
const {
  CallToolRequestSchema,
  CreateMessageResultSchema,
  ElicitResultSchema,
  ErrorCode,
  ListToolsRequestSchema,
  McpError,
} = await sdk("types.js");

const POLL_INTERVAL = 100;

/** The SDK's store, plus tasks that end in a JSON-RPC error and work that stops when cancelled. */
class Store extends InMemoryTaskStore {
  jobs = new Map();
  errors = new Map();

  async getTaskResult(taskId, sessionId) {
    if (this.errors.has(taskId)) throw this.errors.get(taskId);
    return super.getTaskResult(taskId, sessionId);
  }

  async updateTaskStatus(taskId, status, message, sessionId) {
    await super.updateTaskStatus(taskId, status, message, sessionId);
    if (status === "cancelled") this.jobs.get(taskId)?.abort();
  }
}

const store = new Store();
const server = new Server(
  { name: "mcp-tasks-npm-peer", version: "1" },
  {
    capabilities: {
      tools: {},
      tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } },
    },
    taskStore: store,
    taskMessageQueue: new InMemoryTaskMessageQueue(),
  },
);

/** What a tool may ask of the client; with a task, questions wait for its tasks/result. */
class Peer {
  constructor(extra, task) {
    this.extra = extra;
    this.task = task;
    this.questions = 0;
    this.abort = new AbortController();
    this.signal = task ? this.abort.signal : extra.signal;
  }

  async ask(method, params, schema) {
    if (!this.task) return this.extra.sendRequest({ method, params }, schema);
    const { taskId } = this.task;
    this.questions += 1;
    const options = { relatedTask: { taskId } }; // also makes the SDK set "input_required"
    const answer = await this.extra.sendRequest({ method, params }, schema, options);
    this.questions -= 1;
    if (this.questions === 0) await this.extra.taskStore.updateTaskStatus(taskId, "working");
    return answer;
  }

  elicit(message, requestedSchema) {
    const params = { mode: "form", message, requestedSchema };
    return this.ask("elicitation/create", params, ElicitResultSchema);
  }

  async sample(prompt) {
    const params = { messages: userSays(prompt), maxTokens: 100 };
    const reply = await this.ask("sampling/createMessage", params, CreateMessageResultSchema);
    return reply.content.text;
  }

  async progress(progress, total) {
    const progressToken = this.extra._meta?.progressToken;
    if (progressToken === undefined) return;
    const params = { progressToken, progress, total, message: `step ${progress}` };
    await this.extra.sendNotification({ method: "notifications/progress", params });
  }
}

const userSays = (text) => [{ role: "user", content: { type: "text", text } }];
const text = (value) => ({ content: [{ type: "text", text: value }] });

/** An object schema whose properties are all required: `form({ confirm: "boolean" })`. */
function form(properties = {}) {
  const described = Object.entries(properties).map(([name, type]) => [name, { type }]);
  return {
    type: "object",
    properties: Object.fromEntries(described),
    required: Object.keys(properties),
  };
}

/** Run a client-hosted task to its end and return the result. */
async function outcome(stream) {
  for await (const event of stream) {
    if (event.type === "result") return event.result;
    if (event.type === "error") throw event.error;
  }
  throw new Error("the stream ended without a result");
}

const tools = {
  greet: {
    support: "forbidden",
    input: { name: "string" },
    run: async ({ name }) => text(`hello ${name}`),
  },
  slow_compute: {
    support: "optional",
    input: { seconds: "number" },
    run: async ({ seconds }, peer) => {
      await sleep(seconds * 1000, undefined, { signal: peer.signal });
      return text("done");
    },
  },
  failing_job: {
    support: "required",
    run: async () => ({ ...text("the job failed"), isError: true }),
  },
  protocol_error_job: {
    support: "optional",
    run: async () => {
      // Not an McpError: that one puts "MCP error -32000: " in front of its message.
      const details = { code: -32000, data: { reason: "broken on purpose" } };
      throw Object.assign(new Error("the job broke"), details);
    },
  },
  confirm_delete: {
    support: "optional",
    input: { filename: "string" },
    run: async ({ filename }, peer) => {
      const answer = await peer.elicit(`Delete ${filename}?`, form({ confirm: "boolean" }));
      const confirmed = answer.action === "accept" && answer.content?.confirm;
      return text(`${confirmed ? "deleted" : "kept"} ${filename}`);
    },
  },
  multi_input: {
    support: "optional",
    run: async (_args, peer) => {
      const ask = async (key, type) => {
        const answer = await peer.elicit(`Your ${key}?`, form({ [key]: type }));
        return answer.content?.[key] ?? answer.action;
      };
      const [name, age] = await Promise.all([ask("name", "string"), ask("age", "integer")]);
      return text(`${name} is ${age}`);
    },
  },
  sample_job: {
    support: "optional",
    input: { prompt: "string" },
    run: async ({ prompt }, peer) => {
      await sleep(20);
      return text(await peer.sample(prompt));
    },
  },
  progress_job: {
    support: "optional",
    input: { steps: "integer" },
    run: async ({ steps }, peer) => {
      for (let step = 1; step <= steps; step += 1) {
        await sleep(20);
        await peer.progress(step, steps);
      }
      return text(`${steps} steps`);
    },
  },
  drive_sampling: {
    support: "forbidden",
    input: { prompt: "string" },
    run: async ({ prompt }) => {
      const params = { messages: userSays(prompt), maxTokens: 100 };
      const options = { task: { ttl: 60000 } };
      const stream = server.experimental.tasks.createMessageStream(params, options);
      return text((await outcome(stream)).content.text);
    },
  },
  drive_elicitation: {
    support: "forbidden",
    input: { message: "string" },
    run: async ({ message }) => {
      const params = { mode: "form", message, requestedSchema: form({ confirm: "boolean" }) };
      const options = { task: { ttl: 60000 } };
      const stream = server.experimental.tasks.elicitInputStream(params, options);
      const answer = await outcome(stream);
      return text(`${answer.action} ${JSON.stringify(answer.content ?? null)}`);
    },
  },
};

/** Run a tool in the background and file its outcome, unless the task is over by then. */
async function runJob(tool, args, peer, tasks) {
  const { taskId } = peer.task;
  store.jobs.set(taskId, peer.abort);
  try {
    const result = await tool.run(args, peer);
    await tasks.storeTaskResult(taskId, result.isError ? "failed" : "completed", result);
  } catch (error) {
    if (peer.signal.aborted) return;
    store.errors.set(taskId, error);
    await tasks.updateTaskStatus(taskId, "failed", error.message);
  } finally {
    store.jobs.delete(taskId);
  }
}

server.setRequestHandler(ListToolsRequestSchema, async () => ({
  tools: Object.entries(tools).map(([name, { support, input }]) => ({
    name,
    inputSchema: form(input),
    execution: { taskSupport: support },
  })),
}));

server.setRequestHandler(CallToolRequestSchema, async (request, extra) => {
  const { name, arguments: args = {}, task: asked } = request.params;
  if (!Object.hasOwn(tools, name)) {
    throw new McpError(ErrorCode.InvalidParams, `Unknown tool: ${name}`);
  }
  const tool = tools[name];
  const missing = Object.keys(tool.input ?? {}).filter((key) => !(key in args));
  if (missing.length > 0) {
    throw new McpError(ErrorCode.InvalidParams, `Missing arguments: ${missing.join(", ")}`);
  }
  if (tool.support === (asked ? "forbidden" : "required")) {
    const message = `Tool ${name}: task support is ${tool.support}`;
    throw new McpError(ErrorCode.MethodNotFound, message);
  }
  if (!asked) return tool.run(args, new Peer(extra));
  const task = await extra.taskStore.createTask({ ttl: asked.ttl, pollInterval: POLL_INTERVAL });
  const created = { ...task }; // the store hands out its live object, which the job changes
  setImmediate(async () => {
    try {
      await runJob(tool, args, new Peer(extra, task), extra.taskStore);
    } catch (error) {
      console.error(`task ${task.taskId}: ${error.message}`);
    }
  });
  return { task: created };
});

process.stdin.on("end", () => process.exit(0));
await server.connect(new StdioServerTransport());
