// The benchmark server on the npm SDK 2.4.0 (server, core and node) over HTTP; it has no tasks in
// this revision, so no `job`.  Usage: node npm24_http.mjs FOLDER_HOLDING_NODE_MODULES
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { serve } from './npm_http.mjs';
import { callTool, tools } from './npm_tools.mjs';

const packages = resolve(process.argv[2], 'node_modules/@modelcontextprotocol');
const load = (name) => import(pathToFileURL(resolve(packages, name, 'dist/index.mjs')));
const { Server } = await load('server');
const { NodeStreamableHTTPServerTransport } = await load('node');

function makeServer() {
  const server = new Server({ name: 'bench', version: '1.0' }, { capabilities: { tools: {} } });
  server.setRequestHandler('tools/list', async () => ({ tools }));
  server.setRequestHandler('tools/call', callTool);
  return server;
}

serve(makeServer, NodeStreamableHTTPServerTransport);
