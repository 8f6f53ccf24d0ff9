/**
 * Where the modules of the npm SDKs are: in the directories that install.py has filled.
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
  const locate = locatorIn(peersDir, "npm");
  return (name) => {
    // require.resolve finds the CommonJS build; the ES build next to it has the same layout.
    const file = locate.resolve(`@modelcontextprotocol/sdk/${name}`);
    const marker = `${path.sep}dist${path.sep}`;
    return import(pathToFileURL(file.replace(`${marker}cjs`, `${marker}esm`)).href);
  };
}

/** A function that imports modules by their full names from another folder, as PEERS_DIR/npm24/node_modules. */
export function modulesIn(peersDir, folder) {
  const locate = locatorIn(peersDir, folder);
  return (name) => import(pathToFileURL(locate.resolve(name)).href);
}

function locatorIn(peersDir, folder) {
  const peers = peersDir ?? process.env.MCP_TASKS_PEERS ?? path.resolve(here, "..", "..", ".peers");
  return createRequire(path.join(path.resolve(peers), folder, "package.json"));
}
