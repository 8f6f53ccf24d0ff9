// The load that the npm clients make, as load.py has it.
// Usage of the programs that import this:
// node CLIENT FOLDER_HOLDING_NODE_MODULES URL WINDOW WARM_UP SECONDS REVISION
export const [folder, url] = process.argv.slice(2);
const [window, warmUp, seconds] = process.argv.slice(4, 7).map(Number);
export const stateless = process.argv[7] === '2026-07-28';

// Connect a client, warm up, measure, print, and end the session if there is one.
export async function measure(client, transport) {
  await client.connect(transport);
  await spell(client, warmUp);
  console.log(JSON.stringify(await spell(client, seconds)));
  if (!stateless) await transport.terminateSession();
  await client.close();
}

async function spell(client, length) {
  let calls = 0;
  const used = process.cpuUsage();
  const began = performance.now();
  const until = began + length * 1000;
  const job = async () => {
    while (performance.now() < until) {
      const text = `text-${++calls}`;
      const result = await client.callTool({ name: 'echo', arguments: { text } });
      if (result.content[0].text !== text) throw new Error(`expected ${text}`);
    }
  };
  await Promise.all(Array.from({ length: window }, job));
  const { user, system } = process.cpuUsage(used);
  return { calls, seconds: (performance.now() - began) / 1000, cpu: (user + system) / 1e6 };
}
