// The benchmark server on the npm SDK 2.4.0 over HTTP, with sessions.
// Usage: node npm24_http.mjs FOLDER_HOLDING_NODE_MODULES [parsed]
import { load, makeServer } from './npm24.mjs';
import { serve } from './npm_http.mjs';

const { NodeStreamableHTTPServerTransport } = await load('node');
serve(makeServer, NodeStreamableHTTPServerTransport);
