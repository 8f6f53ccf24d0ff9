/**
 * Where the modules of npm @modelcontextprotocol/sdk are: in the directory that install.py has filled.
 */
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));

/**
 * A function that imports modules of the SDK from PEERS_DIR/npm/node_modules; the default is
 * $MCP_TASKS_PEERS, then .peers below the repository root.
 */
export function sdkIn(peersDir) {
  const peers = peersDir ?? process.env.MCP_TASKS_PEERS ?? path.resolve(here, "..", "..", ".peers");
  const locate = createRequire(path.join(path.resolve(peers), "npm", "package.json"));
  return (name) => {
    // require.resolve finds the CommonJS build; the ES build next to it has the same layout.
    const file = locate.resolve(`@modelcontextprotocol/sdk/${name}`);
    const marker = `${path.sep}dist${path.sep}`;
    return import(pathToFileURL(file.replace(`${marker}cjs`, `${marker}esm`)).href);
  };
}
