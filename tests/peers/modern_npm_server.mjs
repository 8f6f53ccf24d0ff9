/**
 * A server on npm @modelcontextprotocol/server 2.4 for revision 2026-07-28; it serves the handshake revisions as well.
 *
 * Usage: node modern_npm_server.mjs [TRANSPORT [PEERS_DIR]]. For both, and for what it offers, see README.md. That SDK
 * has no tasks.
 */
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

import { modulesIn } from "./npm_sdk.mjs";

const [transportName = "stdio", peersDir] = process.argv.slice(2);
const load = modulesIn(peersDir, "npm24");

const { McpServer, ResourceTemplate, completable, createMcpHandler, createRequestStateCodec, fromJsonSchema, inputRequired, acceptedContent } =
  await load("@modelcontextprotocol/server");
const { serveStdio } = await load("@modelcontextprotocol/server/stdio");
const { toNodeHandler } = await load("@modelcontextprotocol/node");
const { z } = await load("zod");

const LANGUAGES = ["english", "esperanto", "french", "german"];
const RESPONSE_MODES = { http: "auto", "http-json": "json", "http-sse": "sse" };

const state = createRequestStateCodec({ key: "a key of no less than thirty-two characters" });
let withdrawn = 0; // how many calls of `wait` were cancelled: instances of servers come and go

const text = (value) => ({ content: [{ type: "text", text: value }] });

/** An object schema whose properties are all required: `object({ age: { type: "integer" } })`. */
const object = (properties = {}) => ({ type: "object", properties, required: Object.keys(properties) });

const question = (message, properties) => inputRequired.elicit({ mode: "form", message, requestedSchema: object(properties) });

const tools = {
  add: {
    input: { a: { type: "integer" }, b: { type: "integer" } },
    output: { sum: { type: "integer" } },
    run: async ({ a, b }) => ({ ...text(JSON.stringify({ sum: a + b })), structuredContent: { sum: a + b } }),
  },
  fail: { run: async () => ({ ...text("it failed"), isError: true }) },
  progress: {
    run: async (_args, { mcpReq }) => {
      const progressToken = mcpReq._meta?.progressToken;
      for (const step of [1, 2, 3]) {
        const params = { progressToken, progress: step, total: 3, message: `step ${step}` };
        if (progressToken !== undefined) await mcpReq.notify({ method: "notifications/progress", params });
      }
      return text("done");
    },
  },
  ask: {
    run: async (_args, { mcpReq }) => {
      if (!mcpReq.inputResponses) {
        return inputRequired({ inputRequests: { name: question("Your name?", { name: { type: "string" } }) } });
      }
      const answer = acceptedContent(mcpReq.inputResponses, "name");
      return text(answer ? `hi ${answer.name}` : "you would not tell");
    },
  },
  ask_twice: {
    run: async (_args, ctx) => {
      const { inputResponses, requestState } = ctx.mcpReq;
      if (!inputResponses) {
        return inputRequired({ inputRequests: { name: question("Your name?", { name: { type: "string" } }) } });
      }
      const known = requestState();
      if (known) return text(`${known.name} is ${acceptedContent(inputResponses, "age")?.age}`);
      const { name } = acceptedContent(inputResponses, "name");
      return inputRequired({
        inputRequests: { age: question(`${name}, your age?`, { age: { type: "integer" } }) },
        requestState: await state.mint({ name }, ctx),
      });
    },
  },
  sample: {
    input: { prompt: { type: "string" } },
    run: async ({ prompt }, { mcpReq }) => {
      const reply = mcpReq.inputResponses?.reply;
      if (reply) return text(reply.content.text);
      const messages = [{ role: "user", content: { type: "text", text: prompt } }];
      return inputRequired({ inputRequests: { reply: inputRequired.createMessage({ messages, maxTokens: 100 }) } });
    },
  },
  tagged: {
    input: { region: { type: "string", "x-mcp-header": "Region" } },
    run: async ({ region }) => text(`region ${region}`),
  },
  wait: {
    input: { seconds: { type: "number" } },
    run: async ({ seconds }, { mcpReq }) => {
      try {
        await sleep(seconds * 1000, undefined, { signal: mcpReq.signal });
      } catch (error) {
        withdrawn += 1;
        throw error;
      }
      return text("waited");
    },
  },
  cancelled: { run: async () => text(String(withdrawn)) },
  announce: { run: async () => (notify.toolsChanged(), text("announced")) },
  touch: { run: async () => (notify.resourceUpdated("peer://greeting"), text("touched")) },
};

/** What tells those who listen; over HTTP no instance of a server lives long enough for that. */
let notify;

/** A server: of one connection on stdio, of one request over HTTP. */
function newServer() {
  const server = new McpServer(
    { name: "mcp-tasks-modern-npm-peer", version: "1" },
    { capabilities: { tools: { listChanged: true }, resources: { listChanged: true, subscribe: true } }, requestState: { verify: state.verify } },
  );
  for (const [name, { input, output, run }] of Object.entries(tools)) {
    const inputSchema = fromJsonSchema(object(input));
    const outputSchema = output && fromJsonSchema(object(output));
    server.registerTool(name, { description: `The tool ${name}.`, inputSchema, outputSchema }, run);
  }
  const told = (uri, value) => ({ contents: [{ uri: uri.href, mimeType: "text/plain", text: value }] });
  server.registerResource("greeting", "peer://greeting", { mimeType: "text/plain" }, async (uri) => told(uri, "good day"));
  const template = new ResourceTemplate("peer://number/{number}", { list: undefined });
  server.registerResource("number", template, {}, async (uri, { number }) => told(uri, `I am ${number}`));
  const language = completable(z.string(), (value) => LANGUAGES.filter((known) => known.startsWith(value)));
  const argsSchema = z.object({ name: z.string(), language: language.optional() });
  server.registerPrompt("introduce", { argsSchema }, async ({ name, language: spoken = "english" }) => ({
    messages: [{ role: "user", content: { type: "text", text: `Introduce ${name} in ${spoken}.` } }],
  }));
  return server;
}

if (transportName === "stdio") {
  let latest;
  serveStdio(() => (latest = newServer()), { onerror: (error) => console.error(error.message) });
  notify = {
    toolsChanged: () => latest.sendToolListChanged(),
    resourceUpdated: (uri) => latest.server.sendResourceUpdated({ uri }),
  };
} else {
  const responseMode = RESPONSE_MODES[transportName];
  if (!responseMode) throw new Error(`unknown transport: ${transportName}`);
  await import("./announce.mjs");
  console.warn = () => {}; // of "json" the SDK says that progress is lost, once
  const handler = createMcpHandler(newServer, { responseMode });
  notify = handler.notify;
  createServer(toNodeHandler(handler)).listen();
}
