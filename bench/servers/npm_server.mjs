// The benchmark server on @modelcontextprotocol/sdk 1.32.2 over stdio.
// Usage: node npm_server.mjs FOLDER_HOLDING_NODE_MODULES
import { load, makeServer } from './npm132.mjs';

const { StdioServerTransport } = await load('server/stdio.js');
await makeServer().connect(new StdioServerTransport());
