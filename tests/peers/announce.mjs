/**
 * Preloaded (node --import) or imported, it makes an HTTP server fit for tests, even one that is not ours:
 *
 * - it listens on a free port of the loopback interface, whatever it asked for,
 * - it prints its URL on stdout once it listens, and "DELETE 200" for each DELETE that it answered,
 * - it exits when its stdin ends.
 */
import { Server } from "node:net";

const { emit, listen } = Server.prototype;

Server.prototype.listen = function (_port, ...rest) {
  return listen.call(this, { port: 0, host: "127.0.0.1" }, ...rest);
};

Server.prototype.emit = function (event, ...args) {
  if (event === "listening") console.log(`http://127.0.0.1:${this.address().port}/mcp`);
  if (event === "request" && args[0].method === "DELETE") {
    const response = args[1];
    response.on("finish", () => console.log(`DELETE ${response.statusCode}`));
  }
  return emit.call(this, event, ...args);
};

process.stdin.on("end", () => process.exit(0)).resume();
