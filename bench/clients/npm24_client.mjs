// The load made by @modelcontextprotocol/client 2.4.0, opening with the initialize handshake (its default) where
// there is one, and told to ask what the server speaks where there is none.
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { folder, measure, stateless, url } from './load.mjs';

const packages = resolve(folder, 'node_modules/@modelcontextprotocol');
const { Client, StreamableHTTPClientTransport } = await import(
  pathToFileURL(resolve(packages, 'client/dist/index.mjs'))
);

const client = new Client(
  { name: 'bench', version: '1.0' },
  stateless ? { versionNegotiation: { mode: 'auto' } } : {},
);
await measure(client, new StreamableHTTPClientTransport(new URL(url)));
