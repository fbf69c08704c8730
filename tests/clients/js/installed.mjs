// The pinned packages live where npm put them, not beside the scripts: they are loaded from the working folder.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const packages = createRequire(`${process.cwd()}/package.json`);

/** Load a package; one that only another package depends on is found from that one, `via`. */
export async function load(name, via) {
  const from = via ? createRequire(packages.resolve(via)) : packages;
  return import(pathToFileURL(from.resolve(name)).href);
}

/** Ask until no block came in between: fees, for one, change from block to block. */
export async function within(head, ask) {
  for (;;) {
    const before = await head();
    const answer = await ask();
    if (await head() === before) return answer;
  }
}

/** Run flows one after the other, print what they saw as one JSON object, and end the process. */
export async function report(flows, seen = {}) {
  for (const [name, run] of Object.entries(flows)) {
    try {
      seen[name] = await run();
    } catch (error) {
      console.error(`${name} failed`);
      throw error;
    }
  }
  const text = JSON.stringify(seen, (_, value) => {
    if (typeof value === 'bigint') return value.toString();
    return value instanceof Uint8Array ? Buffer.from(value).toString() : value;
  });
  // What a slow reader has not yet taken is lost if the process ends before it is written.
  process.stdout.write(`${text}\n`, () => process.exit(0));
}
