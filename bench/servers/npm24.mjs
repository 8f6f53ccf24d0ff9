// A low-level Server of the npm SDK 2.4.0 (server, core and node), for either revision; it has no
// tasks, so no `job` and no `work`.  FOLDER holds node_modules and is the first argument of the
// programs that import this.
import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ask as askTool, callTool, tools } from './npm_tools.mjs';

const packages = resolve(process.argv[2], 'node_modules/@modelcontextprotocol');
export const load = (name, part = 'index') =>
  import(pathToFileURL(resolve(packages, name, `dist/${part}.mjs`)));
const { Server, createRequestStateCodec, inputRequired } = await load('server');

const state = createRequestStateCodec({ key: randomBytes(32) });
const requestedSchema = {
  type: 'object',
  properties: { word: { type: 'string' } },
  required: ['word'],
};

// Asks for a word; the text goes back and forth in the state, signed.
async function ask({ text }, context) {
  const { inputResponses, requestState } = context.mcpReq;
  if (inputResponses === undefined) {
    const word = inputRequired.elicit({ message: 'Which word?', requestedSchema });
    return inputRequired({
      inputRequests: { word },
      requestState: await state.mint(text, context),
    });
  }
  const answer = `${requestState()} ${inputResponses.word.content.word}`;
  return { content: [{ type: 'text', text: answer }] };
}

// A Server serves one session or, without sessions, one connection over stdio and one request over HTTP.
export function makeServer() {
  const server = new Server(
    { name: 'bench', version: '1.0' },
    { capabilities: { tools: {} }, requestState: { verify: state.verify } },
  );
  server.setRequestHandler('tools/list', async () => ({ tools: [...tools, askTool] }));
  server.setRequestHandler('tools/call', async (request, context) =>
    request.params.name === 'ask'
      ? ask(request.params.arguments, context)
      : callTool(request, context),
  );
  return server;
}
