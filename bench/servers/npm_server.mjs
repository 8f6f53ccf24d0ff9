// The benchmark server on @modelcontextprotocol/sdk 1.32.2: the low-level Server with the
// SDK's in-memory task store.  Usage: node npm_server.mjs FOLDER_HOLDING_NODE_MODULES
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const sdk = pathToFileURL(
  resolve(process.argv[2], 'node_modules/@modelcontextprotocol/sdk/dist/esm') + '/',
);
const load = (name) => import(new URL(name, sdk));
const { Server } = await load('server/index.js');
const { StdioServerTransport } = await load('server/stdio.js');
const { CallToolRequestSchema, ListToolsRequestSchema } = await load('types.js');
const { InMemoryTaskStore, InMemoryTaskMessageQueue } = await load(
  'experimental/tasks/stores/in-memory.js',
);

const BIG = 'x'.repeat(1_000_000);
const textArgument = {
  type: 'object',
  properties: { text: { type: 'string' } },
  required: ['text'],
};
const tools = [
  { name: 'echo', description: 'Return the text.', inputSchema: textArgument },
  {
    name: 'big',
    description: 'Return a million characters.',
    inputSchema: { type: 'object', properties: {} },
  },
  {
    name: 'job',
    description: 'Return the text, as a task when asked to.',
    inputSchema: textArgument,
    execution: { taskSupport: 'optional' },
  },
];
const textResult = (text) => ({ content: [{ type: 'text', text }] });

const server = new Server(
  { name: 'bench', version: '1.0' },
  {
    capabilities: {
      tools: {},
      tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } },
    },
    taskStore: new InMemoryTaskStore(),
    taskMessageQueue: new InMemoryTaskMessageQueue(),
  },
);

server.setRequestHandler(ListToolsRequestSchema, async () => ({ tools }));

server.setRequestHandler(CallToolRequestSchema, async (request, extra) => {
  const { name, arguments: args, task: asked } = request.params;
  if (name === 'echo') return textResult(args.text);
  if (name === 'big') return textResult(BIG);
  if (name === 'job') {
    if (!asked) return textResult(args.text);
    const task = await extra.taskStore.createTask({ ttl: asked.ttl });
    // The answer shows the task as it was created; the work itself is done in the background,
    // before the next message is read, so tasks/result never falls back to the poll interval.
    const created = { task: { ...task } };
    void extra.taskStore.storeTaskResult(task.taskId, 'completed', textResult(args.text));
    return created;
  }
  throw new Error(`unknown tool ${name}`);
});

await server.connect(new StdioServerTransport());
