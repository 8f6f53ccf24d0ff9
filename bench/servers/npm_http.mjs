// What the HTTP servers on the npm SDKs share: node:http on a free port, no framework, and sessions.
// An idle connection is kept for ten minutes instead of five seconds, so that idle sessions can be
// measured with their connections.  With the argument `parsed` the body is read and parsed here and
// handed to the SDK's transport, which otherwise does that itself, as its documentation for node:http
// has it.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

const KEEP_ALIVE_MS = 600_000;
const PARSED = process.argv[3] === 'parsed';

async function bodyOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return chunks.length > 0 ? JSON.parse(Buffer.concat(chunks).toString()) : undefined;
}

// makeServer() returns the Server of a new session; Transport is the SDK's for node:http.
export function serve(makeServer, Transport) {
  const sessions = new Map();
  const open = async () => {
    const transport = new Transport({
      sessionIdGenerator: randomUUID,
      enableJsonResponse: true,
      onsessioninitialized: (id) => sessions.set(id, transport),
      onsessionclosed: (id) => sessions.delete(id),
    });
    await makeServer().connect(transport);
    return transport;
  };
  listen(async (request, response, body) => {
    const id = request.headers['mcp-session-id'];
    const transport = id === undefined ? await open() : sessions.get(id);
    if (transport === undefined) response.writeHead(404).end();
    else await transport.handleRequest(request, response, body);
  });
}

// handle(request, response, body) answers; `body` is undefined unless it was parsed.
export function listen(handle) {
  const http = createServer(
    PARSED
      ? async (request, response) => handle(request, response, await bodyOf(request))
      : (request, response) => handle(request, response),
  );
  http.keepAliveTimeout = KEEP_ALIVE_MS;
  http.listen(0, '127.0.0.1', 2048, () => {
    console.log(`http://127.0.0.1:${http.address().port}/mcp`);
  });
}
