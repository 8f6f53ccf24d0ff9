// The benchmark server on @modelcontextprotocol/sdk 1.32.2 over HTTP.
// Usage: node npm132_http.mjs FOLDER_HOLDING_NODE_MODULES
import { load, makeServer } from './npm132.mjs';
import { serve } from './npm_http.mjs';

const { StreamableHTTPServerTransport } = await load('server/streamableHttp.js');
serve(makeServer, StreamableHTTPServerTransport);
