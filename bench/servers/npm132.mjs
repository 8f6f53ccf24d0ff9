// A low-level Server of @modelcontextprotocol/sdk 1.32.2 with the SDK's in-memory task store.
// FOLDER holds node_modules and is the first argument of the programs that import this.
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { callTool, job, tools } from './npm_tools.mjs';

const sdk = pathToFileURL(
  resolve(process.argv[2], 'node_modules/@modelcontextprotocol/sdk/dist/esm') + '/',
);
export const load = (name) => import(new URL(name, sdk));
const { Server } = await load('server/index.js');
const { CallToolRequestSchema, ListToolsRequestSchema } = await load('types.js');
const { InMemoryTaskStore, InMemoryTaskMessageQueue } = await load(
  'experimental/tasks/stores/in-memory.js',
);

const taskStore = new InMemoryTaskStore();
const taskMessageQueue = new InMemoryTaskMessageQueue();

// A Server serves one session; all of them share the store.
export function makeServer() {
  const server = new Server(
    { name: 'bench', version: '1.0' },
    {
      capabilities: {
        tools: {},
        tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } },
      },
      taskStore,
      taskMessageQueue,
    },
  );
  server.setRequestHandler(ListToolsRequestSchema, async () => ({ tools: [...tools, job] }));
  server.setRequestHandler(CallToolRequestSchema, callTool);
  return server;
}
