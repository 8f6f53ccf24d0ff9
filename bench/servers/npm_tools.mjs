// The tools of the benchmark servers on the npm SDKs, whatever their transport and generation.
const BIG = 'x'.repeat(1_000_000);
const textArgument = {
  type: 'object',
  properties: { text: { type: 'string' } },
  required: ['text'],
};
const textResult = (text) => ({ content: [{ type: 'text', text }] });

export const tools = [
  { name: 'echo', description: 'Return the text.', inputSchema: textArgument },
  {
    name: 'big',
    description: 'Return a million characters.',
    inputSchema: { type: 'object', properties: {} },
  },
];

export const ask = {
  name: 'ask',
  description: 'Ask for a word, and return the text and the word.',
  inputSchema: textArgument,
};

export const job = {
  name: 'job',
  description: 'Return the text, as a task when asked to.',
  inputSchema: textArgument,
  execution: { taskSupport: 'optional' },
};

export async function callTool(request, extra) {
  const { name, arguments: args, task: asked } = request.params;
  if (name === 'echo') return textResult(args.text);
  if (name === 'big') return textResult(BIG);
  if (name === 'job') {
    if (!asked) return textResult(args.text);
    const task = await extra.taskStore.createTask({ ttl: asked.ttl });
    // The answer shows the task as it was created; the work itself is done in the background,
    // before the next message is read, so tasks/result never falls back to the poll interval.
    const created = { task: { ...task } };
    void extra.taskStore.storeTaskResult(task.taskId, 'completed', textResult(args.text));
    return created;
  }
  throw new Error(`unknown tool ${name}`);
}
