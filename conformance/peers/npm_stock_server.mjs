/**
 * A server on npm @modelcontextprotocol/sdk 1.32 as that SDK's own documentation has one made.
 *
 * Usage: node npm_stock_server.mjs [stdio|http [PEERS_DIR]]
 *
 * McpServer and registerToolTask, with the SDK's own store and queue, and nothing of ours in between; tests/peers has a
 * server on the same SDK's low-level Server. Its tools are called like the abilities of a profile.
 */
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

import { sdkIn } from "../../tests/peers/npm_sdk.mjs";

const [transportName = "stdio", peersDir] = process.argv.slice(2);
const sdk = sdkIn(peersDir);

const { McpServer } = await sdk("server/mcp.js");
const { StdioServerTransport } = await sdk("server/stdio.js");
const { StreamableHTTPServerTransport } = await sdk("server/streamableHttp.js");
const { InMemoryTaskMessageQueue, InMemoryTaskStore } = await sdk("experimental/tasks");
const { CreateMessageResultSchema, ElicitResultSchema, ErrorCode, McpError } = await sdk("types.js");

const text = (value, isError = false) => ({ content: [{ type: "text", text: value }], ...(isError && { isError }) });
const FORM = { type: "object", properties: { name: { type: "string" } }, required: ["name"] };

/** Ask as part of a task: the SDK keeps the question until the client asks for the result. */
async function elicit(extra, taskId) {
  const params = { mode: "form", message: "Your name?", requestedSchema: FORM };
  const { action } = await extra.sendRequest({ method: "elicitation/create", params }, ElicitResultSchema, { relatedTask: { taskId } });
  return action;
}

async function sample(extra, taskId) {
  const params = { messages: [{ role: "user", content: { type: "text", text: "Say something" } }], maxTokens: 20 };
  const { model } = await extra.sendRequest({ method: "sampling/createMessage", params }, CreateMessageResultSchema, { relatedTask: { taskId } });
  return model;
}

const jobs = {
  quick: async () => text("done"),
  slow: async () => (await sleep(3000), text("slept")),
  fails: async () => {
    throw new McpError(ErrorCode.InternalError, "it broke", { reason: "on purpose" });
  },
  is_error: async () => text("it went wrong", true),
  asks: async (extra, taskId) => text(await elicit(extra, taskId)),
  asks_twice: async (extra, taskId) => text(`${await elicit(extra, taskId)} ${await elicit(extra, taskId)}`),
  samples: async (extra, taskId) => text(await sample(extra, taskId)),
  required: async () => text("done"),
};
const REQUIRED = ["asks", "asks_twice", "samples", "required"];

function newServer() {
  const server = new McpServer(
    { name: "stock-npm", version: "1" },
    {
      capabilities: { tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } } },
      taskStore: new InMemoryTaskStore(),
      taskMessageQueue: new InMemoryTaskMessageQueue(),
    },
  );
  for (const [name, job] of Object.entries(jobs)) {
    const taskSupport = REQUIRED.includes(name) ? "required" : "optional";
    server.experimental.tasks.registerToolTask(name, { description: name, execution: { taskSupport } }, {
      createTask: async (extra) => {
        const task = await extra.taskStore.createTask({ ttl: extra.taskRequestedTtl, pollInterval: 100 });
        const work = async () => {
          try {
            const result = await job(extra, task.taskId);
            await extra.taskStore.storeTaskResult(task.taskId, result.isError ? "failed" : "completed", result);
          } catch (error) {
            await extra.taskStore.updateTaskStatus(task.taskId, "failed", error.message);
          }
        };
        work().catch((error) => console.error(error.message)); // it has been cancelled meanwhile
        return { task };
      },
      getTask: async (extra) => extra.taskStore.getTask(extra.taskId),
      getTaskResult: async (extra) => extra.taskStore.getTaskResult(extra.taskId),
    });
  }
  server.registerTool("forbidden", { description: "no task" }, async () => text("done"));
  return server;
}

/** Serve HTTP, a transport and a server for each session; announce.mjs sees to the rest. */
async function serveHttp() {
  await import("../../tests/peers/announce.mjs");
  const transports = new Map();
  createServer(async (request, response) => {
    const sessionId = request.headers["mcp-session-id"];
    let transport = transports.get(sessionId);
    if (sessionId && !transport) {
      response.writeHead(404).end();
      return;
    }
    if (!transport) {
      transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID,
        onsessioninitialized: (id) => transports.set(id, transport),
        onsessionclosed: (id) => transports.delete(id),
      });
      await newServer().connect(transport);
    }
    await transport.handleRequest(request, response);
  }).listen();
}

if (transportName === "http") await serveHttp();
else {
  process.stdin.on("end", () => process.exit(0));
  await newServer().connect(new StdioServerTransport());
}
