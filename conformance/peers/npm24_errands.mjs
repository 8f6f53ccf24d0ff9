/**
 * An errand client on npm @modelcontextprotocol/client 2.4, of either revision.
 *
 * Usage: node npm24_errands.mjs PEERS_DIR (URL | -- SERVER COMMAND...). What it is to do stands in MCP_CONFORMANCE; see
 * README.md. That SDK has no tasks, so that a call is a call.
 */
import { setTimeout as sleep } from "node:timers/promises";

import { modulesIn } from "../../tests/peers/npm_sdk.mjs";

const [peersDir, ...words] = process.argv.slice(2);
const target = words.filter((word) => word !== "--");
const errand = JSON.parse(process.env.MCP_CONFORMANCE);
const load = modulesIn(peersDir, "npm24");

const { Client, StreamableHTTPClientTransport } = await load("@modelcontextprotocol/client");
const { StdioClientTransport } = await load("@modelcontextprotocol/client/stdio");

const SLOW = 3000;
const ANSWERS = { string: "Ada", integer: 36, number: 36, boolean: true };

function newClient() {
  const modern = errand.revision >= "2026-07-28";
  const client = new Client(
    { name: "mcp-tasks-npm24-errands", version: "1" },
    { capabilities: { roots: {}, sampling: {}, elicitation: { form: {} } }, ...(modern && { versionNegotiation: { mode: "auto" } }) },
  );
  client.setRequestHandler("elicitation/create", async ({ params }) => {
    const asked = Object.entries(params.requestedSchema?.properties ?? {});
    return { action: "accept", content: Object.fromEntries(asked.map(([name, { type }]) => [name, ANSWERS[type] ?? "Ada"])) };
  });
  client.setRequestHandler("sampling/createMessage", async ({ params }) => {
    const text = params.messages.at(-1).content.text ?? "";
    if (text === "slow") await sleep(SLOW);
    if (text === "fails") throw Object.assign(new Error("it broke"), { code: -32000, data: { reason: "on purpose" } });
    return { role: "assistant", content: { type: "text", text: `sampled: ${text}` }, model: "peer" };
  });
  client.setRequestHandler("roots/list", async () => ({ roots: [] }));
  return client;
}

const plain = ({ content, isError = false }) => ({ text: content?.find(({ type }) => type === "text")?.text ?? null, isError });

/** One call, as it was told; what is to be printed of it. */
async function call(client) {
  const options = errand.progress ? { onprogress: () => {} } : {};
  if (errand.cancel === "call") options.signal = AbortSignal.timeout(500);
  try {
    return plain(await client.callTool({ name: errand.tool, arguments: errand.arguments }, options));
  } catch (error) {
    if (options.signal?.aborted) return { cancelled: true };
    return { error: { code: error.code ?? null, message: error.message } };
  }
}

const overHttp = target[0].startsWith("http");
const transport = overHttp
  ? new StreamableHTTPClientTransport(new URL(target[0]))
  : new StdioClientTransport({ command: target[0], args: target.slice(1), env: process.env });
const client = newClient();
await client.connect(transport);
await client.listTools();
const results = await Promise.all(Array.from({ length: errand.calls ?? 1 }, () => call(client)));
if (overHttp) await transport.terminateSession?.();
await client.close();
process.stdout.write(`${JSON.stringify(results.length > 1 ? results : results[0])}\n`, () => process.exit(0));
