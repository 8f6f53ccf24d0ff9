// The benchmark server on the npm SDK 2.4.0 over stdio.
// Usage: node npm24_server.mjs FOLDER_HOLDING_NODE_MODULES
import { load, makeServer } from './npm24.mjs';

const { serveStdio } = await load('server', 'stdio');
serveStdio(makeServer);
