// The benchmark server on the npm SDK 2.4.0 over HTTP, without sessions.
// Usage: node npm24_stateless.mjs FOLDER_HOLDING_NODE_MODULES [parsed]
import { load, makeServer } from './npm24.mjs';
import { listen } from './npm_http.mjs';

const { createMcpHandler } = await load('server');
const { toNodeHandler } = await load('node');
listen(toNodeHandler(createMcpHandler(makeServer, { responseMode: 'json' })));
