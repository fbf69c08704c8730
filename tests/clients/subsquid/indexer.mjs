// An indexer with the unmodified @subsquid/substrate-processor, that reads blocks from the node alone.
// It prints what it has indexed, one block in a line: up to a block, or until it has caught up with the newest one.
import { createRequire } from 'node:module';

const packages = createRequire(`${process.cwd()}/package.json`);
const { SubstrateBatchProcessor } = packages('@subsquid/substrate-processor');

const [endpoint, first, last] = process.argv.slice(2);
const follows = last === undefined;
const wanted = 5;
let indexed = 0;

const processor = new SubstrateBatchProcessor()
  .setRpcEndpoint(endpoint)
  .setRpcDataIngestionSettings({ headPollInterval: 200 })
  .setBlockRange({ from: Number(first), ...(follows ? {} : { to: Number(last) }) })
  .includeAllBlocks()
  .setFields({
    block: { timestamp: true, parentHash: true },
    extrinsic: { hash: true, fee: true, tip: true, success: true, error: true, signature: true },
    call: { name: true, args: true, origin: true, success: true, error: true },
    event: { name: true, args: true, phase: true },
  })
  .addEvent({ extrinsic: true, call: true, stack: true })
  .addCall({ events: true, extrinsic: true, stack: true });

/** What the processor asks of a database; the blocks are printed, not stored. */
const database = {
  supportsHotBlocks: follows,
  async connect() {
    return { height: -1, hash: '0x', top: [] };
  },
  async transact(_, handle) {
    await handle({ final: true });
  },
  async transactHot2({ newBlocks }, handle) {
    await handle({ final: false }, 0, newBlocks.length);
  },
};

/** Print a line. What a slow reader has not yet taken is lost if the process ends before it is written. */
function print(line) {
  return new Promise((resolve) => { process.stdout.write(`${line}\n`, resolve); });
}

processor.run(database, async ({ blocks, store, isHead }) => {
  for (const { header, calls, events, extrinsics } of blocks) {
    await print(JSON.stringify({
      number: header.height, hash: header.hash, parent: header.parentHash, time: header.timestamp, final: store.final, isHead,
      extrinsics: extrinsics.map((one) => ({
        hash: one.hash, fee: one.fee, tip: one.tip, success: one.success, error: one.error, signer: one.signature?.address.value,
      })),
      calls: calls.map((one) => ({
        extrinsic: one.extrinsicIndex, path: one.address, name: one.name, args: one.args, success: one.success,
        error: one.error, origin: one.origin?.value,
      })),
      events: events.map((one) => ({
        name: one.name, args: one.args, phase: one.phase, extrinsic: one.extrinsicIndex, call: one.call?.name, path: one.callAddress,
      })),
    }, (_, value) => (typeof value === 'bigint' ? value.toString() : value)));
    indexed += 1;
  }
  if (follows && isHead && indexed >= wanted) process.exit(0);
});
