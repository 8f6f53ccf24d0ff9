// The load made by @modelcontextprotocol/sdk 1.32.2.
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { folder, measure, url } from './load.mjs';

const sdk = pathToFileURL(resolve(folder, 'node_modules/@modelcontextprotocol/sdk/dist/esm/client') + '/');
const { Client } = await import(new URL('index.js', sdk));
const { StreamableHTTPClientTransport } = await import(new URL('streamableHttp.js', sdk));

const client = new Client({ name: 'bench', version: '1.0' });
await measure(client, new StreamableHTTPClientTransport(new URL(url)));
