// Every call of the older JSON-RPC that the unmodified @polkadot/api knows and the node lists, with what is true.
import { load, report, within } from './installed.mjs';

const [endpoint, told] = process.argv.slice(2);
const { peer } = JSON.parse(told);
const { ApiPromise, WsProvider } = await load('@polkadot/api');
const { Keyring } = await load('@polkadot/keyring');
const { blake2AsHex, cryptoWaitReady } = await load('@polkadot/util-crypto');
const { stringToHex, u8aToHex } = await load('@polkadot/util');

const UNIT = 10n ** 18n;
const CHILD = stringToHex(':child_storage:default:of tests');
await cryptoWaitReady();
const provider = new WsProvider(endpoint);
const api = await ApiPromise.create({ provider, noInitWarn: true });
const raw = (method, ...params) => provider.send(method, params);

const called = new Set();
function ask(name, ...args) {
  const [section, method] = name.split('.');
  called.add(name);
  return api.rpc[section][method](...args);
}

const keyring = new Keyring({ type: 'sr25519' });
const [alice, bob, charlie] = ['//Alice', '//Bob', '//Charlie'].map((uri) => keyring.addFromUri(uri));
const transfer = (value) => api.tx.balances.transferKeepAlive(charlie.address, value);

/** A finalised block with a transfer, its parent, and two keys of their states. */
const past = await (async () => {
  const { at } = await submitted(transfer(2n * UNIT), alice);
  const header = await api.rpc.chain.getHeader(at);
  const keys = [api.query.system.number.key(), api.query.system.account.key(charlie.address)];
  return { at, parent: header.parentHash.toHex(), number: header.number.toNumber(), keys };
})();

const flows = {
  async knowsTheNode() {
    const [name, version, chain, type, roles, properties] = await Promise.all(
      ['name', 'version', 'chain', 'chainType', 'nodeRoles', 'properties'].map((fact) => ask(`system.${fact}`)),
    );
    const [id, addresses, health] = await Promise.all(
      ['localPeerId', 'localListenAddresses', 'health'].map((fact) => ask(`system.${fact}`)),
    );
    return {
      name: name.toString(), version: version.toString(), chain: chain.toString(), type: type.type,
      roles: roles.map((role) => role.type), properties: properties.toJSON(), id: id.toString(),
      addresses: addresses.map(String), health: health.toJSON(),
      methods: (await ask('rpc.methods')).methods.map(String),
    };
  },

  async knowsItsPeers() {
    const before = (await api.rpc.chain.getHeader()).number.toNumber();
    const sync = (await ask('system.syncState')).toJSON();
    const after = (await api.rpc.chain.getHeader()).number.toNumber();
    const [other] = await ask('system.peers');
    const hash = await api.rpc.chain.getBlockHash(other.bestNumber.toNumber());
    const state = await ask('system.networkState');
    await ask('system.addReservedPeer', peer.address);
    const reserved = (await ask('system.reservedPeers')).map(String);
    await ask('system.removeReservedPeer', peer.id);
    return {
      before, sync, after, hash: hash.toHex(),
      other: { id: other.peerId.toString(), roles: other.roles.toString(), best: other.bestHash.toHex() },
      state: {
        id: state.peerId.toString(), addresses: state.listenedAddresses.map(String),
        peers: [...state.connectedPeers].map(([id, { versionString }]) => [String(id), String(versionString)]),
      },
      reserved, left: (await ask('system.reservedPeers')).map(String),
    };
  },

  async changesTheLog() {
    const [added, reset] = [await ask('system.addLogFilter', 'rpc=debug'), await ask('system.resetLogFilter')];
    return { added: added.toJSON(), reset: reset.toJSON(), wrong: await refusal(ask('system.addLogFilter', '=:=')) };
  },

  async readsBlocks() {
    const { block } = await ask('chain.getBlock', past.at);
    const [header, hash, finalized] = await Promise.all([
      ask('chain.getHeader', past.at), ask('chain.getBlockHash', past.number), ask('chain.getFinalizedHead'),
    ]);
    const last = await api.rpc.chain.getHeader(finalized);
    return {
      wanted: past.at, hashes: [hash.toHex(), header.hash.toHex(), block.header.hash.toHex()],
      number: header.number.toNumber(), finalized: last.number.toNumber(),
      calls: block.extrinsics.map(({ method }) => `${method.section}.${method.method}`),
      unknown: await refusal(ask('chain.getHeader', blake2AsHex('none'))),
    };
  },

  async followsHeads() {
    return Promise.all(['New', 'Finalized', 'All'].map((kind) => (
      three(`chain.subscribe${kind}Heads`, [], (header) => header.number.toNumber())
    )));
  },

  async readsStorage() {
    const [key] = past.keys;
    const typed = [api.query.system.number.creator, [api.query.system.account.creator, [charlie.address]]];
    const then = await api.at(past.at);
    const [value, bytes, hash, size] = await Promise.all([
      ask('state.getStorage', typed[0], past.at), raw('state_getStorage', key, past.at),
      ask('state.getStorageHash', key, past.at), ask('state.getStorageSize', key, past.at),
    ]);
    const [number, account] = await ask('state.queryStorageAt', typed, past.at);
    const range = await ask('state.queryStorage', typed, past.parent, past.at);
    const [before, after] = range.map(([, values]) => values[1].data.free.toBigInt());
    return {
      numbers: [past.number, (await then.query.system.number()).toNumber(), value.toNumber(), number.toNumber()],
      hashes: [hash.toHex(), blake2AsHex(bytes)], size: size.toNumber(),
      nothing: (await ask('state.getStorage', '0x1234', past.at)).isEmpty,
      free: [(await then.query.system.account(charlie.address)).data.free.toBigInt(), account.data.free.toBigInt()],
      range: { received: after - before, blocks: range.map(([block]) => block.toHex()), wanted: [past.parent, past.at] },
    };
  },

  async listsKeys() {
    const prefix = api.query.system.account.keyPrefix();
    const accounts = (await api.query.system.account.entriesAt(past.at)).map(([key]) => key.toHex());
    const all = (await ask('state.getKeys', prefix, past.at)).map((key) => key.toHex());
    const pairs = await ask('state.getPairs', prefix, past.at);
    const first = (await ask('state.getKeysPaged', prefix, 2, null, past.at)).map((key) => key.toHex());
    const second = (await ask('state.getKeysPaged', prefix, 2, first[1], past.at)).map((key) => key.toHex());
    const values = await Promise.all(all.map((key) => raw('state_getStorage', key, past.at)));
    return {
      accounts: accounts.sort(), all, paged: [...first, ...second],
      pairs: pairs.map(([key, value]) => [key.toHex(), value.toHex()]), wanted: all.map((key, at) => [key, values[at]]),
    };
  },

  async provesStorage() {
    const { validateProofs } = await load('@polkadot-api/substrate-bindings', 'polkadot-api');
    const { stateRoot } = await api.rpc.chain.getHeader(past.at);
    const proof = await ask('state.getReadProof', past.keys, past.at);
    const none = await ask('state.getChildReadProof', CHILD, ['0x00'], past.at);
    const valid = ({ proof }) => validateProofs(proof.map((node) => node.toHex())).rootHash;
    return { wanted: [past.at, stateRoot.toHex()], seen: [proof, none].map((p) => [p.at.toHex(), valid(p)]) };
  },

  async readsTheRules() {
    const [version, metadata, core] = await Promise.all([
      ask('state.getRuntimeVersion', past.at), ask('state.getMetadata', past.at),
      ask('state.call', 'Core_version', '0x', past.at),
    ]);
    const called = api.registry.createType('RuntimeVersion', core.toU8a(true));
    const pushed = await first('state.subscribeRuntimeVersion');
    return {
      versions: [version, called, pushed].map((one) => [one.specName, one.specVersion, one.transactionVersion].map(String)),
      constant: [api.consts.system.version.specName, api.consts.system.version.specVersion].map(String),
      metadata: metadata.version, pallets: metadata.asLatest.pallets.map(({ name }) => String(name)),
      newest: api.runtimeMetadata.asLatest.pallets.map(({ name }) => String(name)),
    };
  },

  async watchesStorage() {
    return three('state.subscribeStorage', [[api.query.system.number.creator]], ([number]) => number.toNumber());
  },

  async tracesABlock() {
    const trace = (await ask('state.traceBlock', past.at, 'state,frame', '', 'Put')).asBlockTrace;
    const written = past.keys.map((key) => {
      const events = trace.events.map(({ data }) => Object.fromEntries([...data.stringValues].map((pair) => pair.map(String))));
      return events.filter((event) => event.key === key.slice(2)).at(-1).value;
    });
    const values = await Promise.all(past.keys.map((key) => raw('state_getStorage', key, past.at)));
    return {
      hashes: [trace.blockHash, trace.parentHash].map((hash) => `0x${hash}`), wanted: [past.at, past.parent],
      spans: trace.spans.map(({ name }) => String(name)), written, values: values.map((value) => `Some(${value.slice(2)})`),
    };
  },

  async findsNoChildTries() {
    const at = past.at;
    return {
      keys: (await ask('childstate.getKeys', CHILD, '0x', at)).toJSON(),
      page: (await ask('childstate.getKeysPaged', CHILD, '0x', 10, null, at)).toJSON(),
      value: (await ask('childstate.getStorage', CHILD, '0x00', at)).isNone,
      entries: (await ask('childstate.getStorageEntries', CHILD, ['0x00', '0x01'], at)).map((entry) => entry.isNone),
      hash: (await ask('childstate.getStorageHash', CHILD, '0x00', at)).isNone,
      size: (await ask('childstate.getStorageSize', CHILD, '0x00', at)).isNone,
      wrong: await refusal(ask('childstate.getStorage', '0x00', '0x00', at)),
    };
  },

  async tellsFees() {
    const { block } = await api.rpc.chain.getBlock(past.at);
    const index = block.extrinsics.findIndex(({ method }) => method.section === 'balances');
    const extrinsic = block.extrinsics[index].toHex();
    const { inclusionFee } = await ask('payment.queryFeeDetails', extrinsic, past.parent);
    const fee = inclusionFee.unwrap();
    const then = await api.at(past.parent);
    const info = await then.call.transactionPaymentApi.queryInfo(block.extrinsics[index].toU8a(), block.extrinsics[index].encodedLength);
    const events = await (await api.at(past.at)).query.system.events();
    const { event } = events.find(({ event }) => event.method === 'TransactionFeePaid');
    return {
      // The client still reads the weight as one number here, as no node has it: it says so itself and calls it deprecated.
      unread: await ask('payment.queryInfo', extrinsic, past.parent).catch(({ message }) => message),
      raw: await raw('payment_queryInfo', extrinsic, past.parent),
      info: {
        weight: { ref_time: info.weight.refTime.toNumber(), proof_size: info.weight.proofSize.toNumber() },
        class: info.class.type.toLowerCase(), partialFee: info.partialFee.toString(),
      },
      details: fee.baseFee.add(fee.lenFee).add(fee.adjustedWeightFee).toString(), paid: event.data.actualFee.toString(),
    };
  },

  async triesWithoutDoing() {
    const nonce = (await api.query.system.account(bob.address)).nonce;
    const signed = async (call, how = nonce) => (await call.signAsync(bob, { nonce: how, era: 0 })).toHex();
    const [done, poor, old] = await Promise.all([
      ask('system.dryRun', await signed(transfer(UNIT))), ask('system.dryRun', await signed(transfer(10n ** 30n))),
      ask('system.dryRun', await signed(transfer(UNIT), 99)),
    ]);
    return {
      done: done.asOk.isOk, poor: poor.asOk.asErr.toJSON(), future: old.asErr.toJSON(),
      nonce: [nonce, (await api.query.system.account(bob.address)).nonce].map(Number),
    };
  },

  async fillsThePool() {
    const next = async () => (await ask('system.accountNextIndex', bob.address)).toNumber();
    const first = await next();
    const later = await transfer(UNIT).signAsync(bob, { nonce: first + 1, era: 0 });
    const hash = await ask('author.submitExtrinsic', later);
    const waiting = (await ask('author.pendingExtrinsics')).map((extrinsic) => extrinsic.hash.toHex());
    const again = await refusal(ask('author.submitExtrinsic', later));
    const removed = (await ask('author.removeExtrinsic', [{ hash }])).map((one) => one.toHex());
    const left = (await ask('author.pendingExtrinsics')).map((extrinsic) => extrinsic.hash.toHex());
    const banned = await refusal(ask('author.submitExtrinsic', later));
    const garbage = await refusal(ask('author.submitExtrinsic', '0x0c040000'));
    const statuses = await watched(await transfer(UNIT).signAsync(bob, { nonce: first }));
    const stale = await refusal(ask('author.submitExtrinsic', await transfer(UNIT).signAsync(bob, { nonce: first })));
    const nobody = keyring.addFromUri('//Nobody');
    const poor = await refusal(ask('author.submitExtrinsic', await transfer(UNIT).signAsync(nobody, { nonce: 0 })));
    return {
      wanted: later.hash.toHex(), hash: hash.toHex(), waiting, again, removed, left, banned, garbage, stale, poor, statuses,
      nonces: [first, await next()],
    };
  },

  async keepsKeys() {
    const owner = new Keyring({ type: 'ed25519' }).addFromUri('//Charlie//consensus');
    const account = u8aToHex(keyring.addFromUri('//of the node').publicKey);
    const before = (await ask('author.hasKey', account, 'account')).isTrue;
    const inserted = await ask('author.insertKey', 'account', '//of the node', account);
    const rotated = (await ask('author.rotateKeys')).toHex();
    return {
      before, inserted: inserted.toJSON(), after: (await ask('author.hasKey', account, 'account')).isTrue,
      rotated: (await ask('author.hasSessionKeys', rotated)).isTrue, length: rotated.length,
      foreign: (await ask('author.hasSessionKeys', u8aToHex(owner.publicKey))).isTrue,
      wrong: await refusal(ask('author.insertKey', 'account', '//another', account)),
    };
  },

  async keepsNotes() {
    const key = stringToHex('of tests');
    const read = async () => (await ask('offchain.localStorageGet', 'PERSISTENT', key)).toJSON();
    const before = await read();
    await ask('offchain.localStorageSet', 'PERSISTENT', key, '0x010203');
    const kept = await read();
    await ask('offchain.localStorageClear', 'PERSISTENT', key);
    return { before, kept, after: await read(), local: await refusal(ask('offchain.localStorageGet', 'LOCAL', key)) };
  },

  async derivesAccounts() {
    const { derive } = api;
    const { data, nonce } = await api.query.system.account(charlie.address);
    const [account, all] = await Promise.all([derive.balances.account(charlie.address), derive.balances.all(charlie.address)]);
    const info = await derive.accounts.info(charlie.address);
    const signing = await derive.tx.signingInfo(charlie.address);
    return {
      wanted: [charlie.address, data.free.toString(), nonce.toNumber()],
      account: [account.accountId.toString(), account.freeBalance.toString(), account.accountNonce.toNumber()],
      all: [all.accountId.toString(), all.freeBalance.toString(), all.accountNonce.toNumber()],
      locked: all.lockedBalance.toString(), transferable: all.transferable.toString(),
      info: info.accountId.toString(), signing: [signing.nonce.toNumber(), signing.mortalLength, signing.header.number.toNumber() > 0],
      sudo: [(await derive.accounts.flags(alice.address)).isSudo, (await derive.accounts.flags(charlie.address)).isSudo],
    };
  },

  async derivesBlocks() {
    const { chain, tx } = api.derive;
    const [header, block, byNumber] = await Promise.all([
      chain.getHeader(past.at), chain.getBlock(past.at), chain.getBlockByNumber(past.number),
    ]);
    const paid = block.extrinsics.find(({ extrinsic }) => extrinsic.isSigned);
    const { events } = await tx.events(past.at);
    const [finalized, lag] = await Promise.all([chain.bestNumberFinalized(), chain.bestNumberLag()]);
    const best = await chain.bestNumber(); // asked last: both rise while they are asked for
    const found = await tx.extrinsicInfo(past.at, paid.extrinsic.hash.toHex());
    const heads = await Promise.all(['NewHeads', 'FinalizedHeads', 'NewBlocks', 'FinalizedBlocks'].map((kind) => (
      told3(chain[`subscribe${kind}`], (one) => (one.number ?? one.block.header.number).toNumber())
    )));
    return {
      wanted: past.at, hashes: [header.hash.toHex(), block.block.header.hash.toHex(), byNumber.block.header.hash.toHex()],
      signer: paid.extrinsic.signer.toString(), fails: paid.dispatchError ?? null, pays: paid.dispatchInfo.paysFee.type,
      events: paid.events.map((event) => `${event.section}.${event.method}`), count: events.length, success: found.success,
      numbers: [best, finalized, lag].map((number) => number.toNumber()), heads,
    };
  },

  async derivesSessions() {
    const { session } = api.derive;
    const index = async () => (await api.query.session.currentIndex()).toNumber();
    const [current, info, indexes, progress] = await within(index, () => (
      Promise.all([index(), session.info(), session.indexes(), session.progress()])
    ));
    const validators = await api.query.session.validators();
    return {
      current,
      derived: [info, indexes, progress].map(({ currentIndex }) => currentIndex.toNumber()), isEpoch: info.isEpoch,
      validators: validators.map(String),
    };
  },

  async wasAskedEverything() {
    const decorated = Object.entries(api.rpc).flatMap(([section, methods]) => (
      Object.keys(methods).map((method) => `${section}.${method}`)
    ));
    return { left: decorated.filter((name) => !called.has(name)), count: decorated.length };
  },
};

function refusal(asked) {
  return asked.then(() => null, ({ code, message, data }) => ({ code, message, data }));
}

/** Listen for three values. */
function told3(subscribe, seen) {
  const found = [];
  return new Promise((resolve, reject) => {
    let stop;
    subscribe((value) => {
      found.push(seen(value));
      if (found.length === 3) { stop?.(); resolve(found); }
    }).then((unsubscribe) => { stop = unsubscribe; }, reject);
  });
}

function three(name, args, seen) {
  return told3((listen) => ask(name, ...args, listen), seen);
}

function first(name) {
  return new Promise((resolve, reject) => {
    let stop;
    ask(name, (value) => { stop?.(); resolve(value); }).then((unsubscribe) => { stop = unsubscribe; }, reject);
  });
}

function watched(extrinsic) {
  const statuses = [];
  return new Promise((resolve, reject) => {
    ask('author.submitAndWatchExtrinsic', extrinsic, (status) => {
      statuses.push(status.type);
      if (status.isFinalized) resolve(statuses);
      if (status.isError) reject(new Error(`${status}`));
    }).catch(reject);
  });
}

function submitted(call, signer) {
  return new Promise((resolve, reject) => {
    call.signAndSend(signer, { nonce: -1 }, ({ status }) => {
      if (status.isFinalized) resolve({ at: status.asFinalized.toHex() });
      if (status.isError) reject(new Error(`${status}`));
    }).catch(reject);
  });
}

await report(flows);
