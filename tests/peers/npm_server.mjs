/**
 * A server on npm @modelcontextprotocol/sdk, with its experimental tasks (2025-11-25).
 *
 * Usage: node npm_server.mjs [TRANSPORT [PEERS_DIR]]. For both, and for the tools, see README.md.
 *
 * It uses the low-level `Server`: `McpServer` turns every error of tools/call into an `isError`
 * result, so that refusals and protocol errors could not be seen on the wire.
 */
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

import { sdkIn } from "./npm_sdk.mjs";

const [transportName = "stdio", peersDir] = process.argv.slice(2);
const sdk = sdkIn(peersDir);

const { Server } = await sdk("server/index.js");
const { StdioServerTransport } = await sdk("server/stdio.js");
const { StreamableHTTPServerTransport } = await sdk("server/streamableHttp.js");
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
const RETRY_INTERVAL = 100;

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

/** What a tool may ask of the client; with a task, questions wait for its tasks/result. */
class Peer {
  constructor(server, extra, task) {
    this.server = server;
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
    const notification = { method: "notifications/progress", params };
    // The request that made a task has been answered, so that nothing can go the way its answer went.
    if (this.task) await this.server.notification(notification);
    else await this.extra.sendNotification(notification);
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
    run: async ({ prompt }, peer) => {
      const params = { messages: userSays(prompt), maxTokens: 100 };
      const options = { task: { ttl: 60000 } };
      const stream = peer.server.experimental.tasks.createMessageStream(params, options);
      return text((await outcome(stream)).content.text);
    },
  },
  drive_elicitation: {
    support: "forbidden",
    input: { message: "string" },
    run: async ({ message }, peer) => {
      const params = { mode: "form", message, requestedSchema: form({ confirm: "boolean" }) };
      const options = { task: { ttl: 60000 } };
      const stream = peer.server.experimental.tasks.elicitInputStream(params, options);
      const answer = await outcome(stream);
      return text(`${answer.action} ${JSON.stringify(answer.content ?? null)}`);
    },
  },
  announce: {
    support: "forbidden",
    run: async (_args, peer) => {
      await peer.server.sendToolListChanged();
      return text("announced");
    },
  },
  drop_stream: {
    support: "forbidden",
    input: { steps: "integer" },
    run: async ({ steps }, peer) => {
      peer.extra.closeSSEStream?.();
      for (let step = 1; step <= steps; step += 1) await peer.progress(step, steps);
      return text(peer.extra.closeSSEStream ? "dropped" : "there is nothing to drop");
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

/** The server of one session. */
function newServer() {
  const server = new Server(
    { name: "mcp-tasks-npm-peer", version: "1" },
    {
      capabilities: {
        tools: { listChanged: true },
        tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } },
      },
      taskStore: store,
      taskMessageQueue: new InMemoryTaskMessageQueue(),
    },
  );

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
    if (!asked) return tool.run(args, new Peer(server, extra));
    const task = await extra.taskStore.createTask({ ttl: asked.ttl, pollInterval: POLL_INTERVAL });
    const created = { ...task }; // the store hands out its live object, which the job changes
    setImmediate(async () => {
      try {
        await runJob(tool, args, new Peer(server, extra, task), extra.taskStore);
      } catch (error) {
        console.error(`task ${task.taskId}: ${error.message}`);
      }
    });
    return { task: created };
  });

  return server;
}

/** The events of one session; each is kept, and replayed to its own stream alone. */
class EventStore {
  events = [];

  async storeEvent(streamId, message) {
    this.events.push({ streamId, message });
    return String(this.events.length);
  }

  async getStreamIdForEventId(eventId) {
    return this.events[eventId - 1]?.streamId;
  }

  async replayEventsAfter(lastEventId, { send }) {
    const { streamId } = this.events[lastEventId - 1];
    for (const [index, event] of this.events.entries()) {
      const missed = index >= Number(lastEventId) && event.streamId === streamId;
      if (missed && event.message.jsonrpc) await send(String(index + 1), event.message);
    }
    return streamId;
  }
}

/** Serve HTTP, a transport and a server for each session; announce.mjs sees to the rest. */
async function serveHttp({ json = false, resumable = false }) {
  await import("./announce.mjs");
  const transports = new Map();

  async function transportFor(sessionId) {
    if (transports.has(sessionId)) return transports.get(sessionId);
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      enableJsonResponse: json,
      eventStore: resumable ? new EventStore() : undefined,
      retryInterval: resumable ? RETRY_INTERVAL : undefined,
      onsessioninitialized: (id) => transports.set(id, transport),
      onsessionclosed: (id) => transports.delete(id),
    });
    await newServer().connect(transport);
    return transport;
  }

  createServer(async (request, response) => {
    const sessionId = request.headers["mcp-session-id"];
    if (request.url !== "/mcp" || (sessionId && !transports.has(sessionId))) {
      response.writeHead(404).end();
      return;
    }
    const transport = await transportFor(sessionId);
    await transport.handleRequest(request, response);
  }).listen();
}

switch (transportName) {
  case "stdio":
    process.stdin.on("end", () => process.exit(0));
    await newServer().connect(new StdioServerTransport());
    break;
  case "http":
    await serveHttp({});
    break;
  case "http-json":
    await serveHttp({ json: true });
    break;
  case "http-resumable":
    await serveHttp({ resumable: true });
    break;
  default:
    throw new Error(`unknown transport: ${transportName}`);
}
