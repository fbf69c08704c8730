// The flow of an application with the unmodified polkadot-api: what it saw goes out as one JSON object.
// `own` is the client as it comes: it speaks the newer API where a node serves it. `legacy` turns on its
// middleware that speaks the older API instead, whatever the node serves.
import { load, report, within } from './installed.mjs';

const [endpoint, facts, mode] = process.argv.slice(2);
const settled = JSON.parse(facts);
const { createClient, Binary } = await load('polkadot-api');
const { getWsProvider, getWsRawProvider } = await load('polkadot-api/ws');
const { getPolkadotSigner } = await load('polkadot-api/signer');
const plain = await load('@polkadot-api/ws-provider', 'polkadot-api');
const { withLegacy } = await load('@polkadot-api/ws-middleware', 'polkadot-api');
const { createClient: createRaw } = await load('@polkadot-api/substrate-client', 'polkadot-api');
const {
  validateProofs, trieNodeDec, blockHeader, Blake2256, unifyMetadata, decAnyMetadata, compact,
} = await load('@polkadot-api/substrate-bindings', 'polkadot-api');
const { Keyring } = await load('@polkadot/keyring');
const { cryptoWaitReady } = await load('@polkadot/util-crypto');
const { default: WebSocket } = await load('ws');

const UNIT = 10n ** 18n;
const sent = new Set();
const options = {
  websocketClass: WebSocket,
  logger: ({ type, msg }) => { if (type === 'OUT') sent.add(JSON.parse(msg).method); },
};
const older = () => plain.getWsProvider(endpoint, { ...options, middleware: withLegacy });

await cryptoWaitReady();
const client = createClient(mode === 'legacy' ? older() : getWsProvider(endpoint, options));
// The lower half of the client, without the middleware that mends what nodes do wrong.
const raw = createRaw(mode === 'legacy' ? older() : getWsRawProvider(endpoint, options));
const api = client.getUnsafeApi();
const request = client._request;

const hex = (bytes) => `0x${Buffer.from(bytes).toString('hex')}`;
const bytes = (text) => Uint8Array.from(Buffer.from(text.slice(2), 'hex'));
const name = (event) => `${event.type}.${event.value.type}`;

/** A key of the development phrase, and the client's signer over it. */
function key(uri, type = 'sr25519') {
  const pair = new Keyring({ type }).addFromUri(uri);
  const scheme = { sr25519: 'Sr25519', ed25519: 'Ed25519', ecdsa: 'Ecdsa' }[type];
  const signer = getPolkadotSigner(pair.addressRaw, scheme, (message) => pair.sign(message));
  return { address: pair.address, signer };
}

/** Submit and watch until it is final. */
function submit(call, { signer }, settings) {
  const statuses = [];
  return new Promise((resolve, reject) => {
    call.signSubmitAndWatch(signer, settings).subscribe({
      next(status) {
        statuses.push(status.type === 'txBestBlocksState' ? `${status.type} ${status.found}` : status.type);
        if (status.type !== 'finalized') return;
        resolve({
          statuses, ok: status.ok, block: status.block, error: status.dispatchError ?? null,
          events: status.events.map(({ event }) => name(event)), found: status.events.map(({ event }) => event),
        });
      },
      error: reject,
    });
  });
}

const summary = ({ statuses, ok, error, events }) => ({ statuses, ok, error, events });

/** What an event of a finished transaction tells. */
const fields = ({ found }, pallet, kind) => (
  found.find((event) => event.type === pallet && event.value.type === kind).value.value
);

/** The first `count` different values of an observable. */
function first(observable, count) {
  return new Promise((resolve, reject) => {
    const values = [];
    const subscription = observable.subscribe({
      next(value) {
        if (values.length < count && value !== values.at(-1)) values.push(value);
        if (values.length === count) { resolve(values); setTimeout(() => subscription.unsubscribe()); }
      },
      error: reject,
    });
  });
}

const numbers = (observable, pick) => first({
  subscribe: ({ next, error }) => observable.subscribe({ next: (value) => next(pick(value).number), error }),
}, 4);

/** Follow a key's nibbles from the root through proven nodes: the node below which all its keys are. */
function descend({ rootHash, proofs }, key) {
  const nibbles = key.slice(2);
  let [hash, at, node] = [rootHash, 0, proofs[rootHash]];
  while (at + node.partialKey.length < nibbles.length) {
    if (!nibbles.startsWith(node.partialKey, at)) throw new Error('the key is not in the proof');
    at += node.partialKey.length;
    const child = node.children[nibbles[at]];
    at += 1;
    [hash, node] = [child, child.length < 66 ? trieNodeDec(child) : proofs[child]];
  }
  return { hash, node };
}

/** The value of a key that a proof proves. */
function proven(proof, key) {
  const { node } = descend(proof, key);
  if (node.type.endsWith('WithHash')) return proof.proofs[node.value].value;
  if (node.type === 'BranchWithVal') return node.value;
  return hex(bytes(node.value).slice(compact.enc(compact.dec(node.value)).length));
}

const flows = {
  async connects() {
    const { name: chain, genesisHash, properties } = await client.getChainSpecData();
    const { hash } = await client.getFinalizedBlock();
    const metadata = decAnyMetadata(await client.getMetadata(hash));
    const { pallets, apis } = unifyMetadata(metadata);
    const version = await api.constants.System.Version();
    return {
      chain, genesis: genesisHash, properties, spec: version.spec_name, metadata: metadata.metadata.tag,
      pallets: pallets.map((pallet) => pallet.name), apis: apis.map((found) => found.name),
    };
  },

  async readsAnAccount() {
    const { address } = key('//Alice');
    const at = (block) => api.query.System.Account.getValue(address, { at: block });
    const [best, final] = await Promise.all([at('best'), at('finalized')]);
    return { address, free: final.data.free, nonce: final.nonce, best: best.data.free };
  },

  async estimatesAFee() {
    const [alice, bob] = [key('//Alice'), key('//Bob')];
    const call = api.tx.Balances.transfer_keep_alive({ dest: { type: 'Id', value: bob.address }, value: UNIT });
    const signed = await call.sign(alice.signer);
    const extrinsic = signed.slice(compact.enc(compact.dec(signed)).length);
    const { TransactionPaymentApi: whole, TransactionPaymentCallApi: callAlone } = api.apis;
    const [info, details, unsigned] = await within(
      async () => (await client.getFinalizedBlock()).hash,
      () => Promise.all([
        call.getPaymentInfo(alice.address), whole.query_fee_details(extrinsic, signed.length),
        callAlone.query_call_info(call.decodedCall, signed.length),
      ]),
    );
    return { fee: info.partial_fee, class: info.class.type, details, unsigned: unsigned.partial_fee };
  },

  async transfersWithEveryScheme() {
    const schemes = ['sr25519', 'ed25519', 'ecdsa'];
    const transfer = (to, amount) => (
      api.tx.Balances.transfer_allow_death({ dest: { type: 'Id', value: to.address }, value: amount })
    );
    const signers = schemes.map((type) => key(`//Alice//papi//${mode}`, type));
    const calls = signers.map((to) => transfer(to, 10n * UNIT).decodedCall);
    await submit(api.tx.Utility.batch_all({ calls }), key('//Alice'));
    const results = await Promise.all(signers.map(async (from, position) => {
      const target = key(`//Bob//${Date.now()}`, schemes[position]);
      const done = await submit(transfer(target, 3n * UNIT), from);
      const { data } = await api.query.System.Account.getValue(target.address);
      return { received: data.free, ...summary(done) };
    }));
    return Object.fromEntries(schemes.map((type, position) => [type, results[position]]));
  },

  async decodesAFailure() {
    const [bob, charlie] = [key('//Bob'), key('//Charlie')];
    const tooMuch = { dest: { type: 'Id', value: bob.address }, value: 10n ** 30n };
    const remark = api.tx.System.remark({ remark: Binary.fromText('') }).decodedCall;
    const [token, pallet] = await Promise.all([
      submit(api.tx.Balances.transfer_keep_alive(tooMuch), charlie), submit(api.tx.Sudo.sudo({ call: remark }), bob),
    ]);
    return { token: summary(token), pallet: summary(pallet) };
  },

  async isToldWhyATransactionIsRefused() {
    const stale = await api.tx.System.remark({ remark: Binary.fromText('') }).sign(key('//Alice').signer, { nonce: 0 });
    return client.submit(stale).then(() => null, (error) => ({ kind: error.name, error: error.error }));
  },

  async followsHeads() {
    const [best, finalized, all] = await Promise.all([
      numbers(client.bestBlocks$, ([newest]) => newest), numbers(client.finalizedBlock$, (block) => block),
      numbers(client.blocks$, (block) => block),
    ]);
    return { best, finalized, all };
  },

  async watchesStorage() {
    const watched = (at) => first(told(api.query.System.Number.watchValue({ at })), 3);
    const [best, finalized] = await Promise.all([watched('best'), watched('finalized')]);
    return { best, finalized };
  },

  async readsAnOldBlock() {
    const [hash] = await request('archive_v1_hashByHeight', [1]);
    const header = await client.getBlockHeader(hash);
    const body = await client.getBlockBody(hash);
    const extrinsic = body[0].slice(compact.enc(compact.dec(body[0])).length);
    const { decodedCall } = await api.txFromCallData(extrinsic.slice(1), { at: hash });
    const events = await api.query.System.Events.getValue({ at: hash });
    return {
      requested: hash, recomputed: hex(Blake2256(blockHeader[0](header))), number: header.number,
      parent: header.parentHash, extrinsics: body.length, version: extrinsic[0],
      call: name(decodedCall), stateNumber: await api.query.System.Number.getValue({ at: hash }),
      events: events.map(({ event }) => name(event)),
    };
  },

  async readsEntriesOfMaps() {
    const entries = await api.query.System.Account.getEntries();
    const firstOf = await api.query.Datanets.Contributors.getEntries(settled.datanet);
    const all = await api.query.Datanets.Contributors.getEntries();
    const some = entries.slice(0, 3).map(({ keyArgs }) => keyArgs);
    const values = await api.query.System.Account.getValues(some);
    return {
      accounts: entries.map(({ keyArgs: [account] }) => account),
      same: values.every(({ nonce }, position) => nonce === entries[position].value.nonce),
      contributors: firstOf.map(({ keyArgs: [datanet, account], value: { records } }) => (
        { datanet, account, records }
      )),
      datanets: [...new Set(all.map(({ keyArgs: [datanet] }) => datanet))],
    };
  },

  async pagesThroughAMapOfAnOldBlock() {
    const [prefix, hash] = [await api.query.System.Account.getKey(), settled.block];
    const all = await raw.archive.storage(hash, 'descendantsValues', prefix, null);
    const after = (paginationStartKey) => new Promise((resolve, reject) => {
      const found = [];
      raw.archive.storageSubscription(
        hash, [{ key: prefix, type: 'descendantsValues', paginationStartKey }], null,
        (item) => found.push(item), reject, () => resolve(found),
      );
    });
    const keys = all.map((item) => item.key);
    const rest = await after(keys[2]);
    const whole = rest.every(({ value }) => value.length === 2 + 2 * 80);
    return { all: keys, after: rest.map((item) => item.key), whole };
  },

  async callsTheRuntime() {
    const { address } = key('//Alice');
    const version = await api.apis.Core.version();
    const [old] = await request('archive_v1_hashByHeight', [1]);
    return {
      atFirst: await api.apis.AccountNonceApi.account_nonce(address, { at: old }),
      spec: version.spec_version, transaction: version.transaction_version,
      nonce: await api.apis.AccountNonceApi.account_nonce(address),
      stored: (await api.query.System.Account.getValue(address)).nonce,
      lengthFee: await api.apis.TransactionPaymentApi.query_length_to_fee(100),
    };
  },

  async callsRuntimeApisOfOurOwn() {
    const batch = BigInt(settled.batch);
    const [{ keyArgs: [, account] }] = await api.query.Datanets.Contributors.getEntries(settled.datanet);
    const found = await api.apis.AttributionApi.attribution(batch);
    const why = await api.apis.AttributionApi.why_not_paid(batch, account);
    const none = await api.apis.AttributionApi.attribution(2n ** 60n);
    const { model_name: model, clusters, duty } = found;
    return { model, clusters, duty: duty.stage, why: why.reason, none: none ?? null };
  },

  async asksForManyAtOnce() {
    const prefix = await api.query.System.Account.getKey();
    const keys = Array.from({ length: 300 }, (_, position) => `${prefix}${position.toString(16).padStart(96, '0')}`);
    const { hash } = await client.getFinalizedBlock();
    const number = await api.query.System.Number.getKey();
    const found = await Promise.all([...keys, number].map((wanted) => client.rawQuery(wanted, { at: hash })));
    return { asked: found.length, absent: found.filter((value) => value === null).length, last: found.at(-1) };
  },

  async checksProofsItself() {
    const { hash } = await client.getFinalizedBlock();
    const { stateRoot } = await client.getBlockHeader(hash);
    const { address } = key('//Alice');
    const keys = await Promise.all([
      api.query.System.Account.getKey(address), api.query.System.Number.getKey(), api.query.Datanets.Names.getKey(
        Binary.fromText(settled.name),
      ),
    ]);
    const { at, proof } = await request('state_getReadProof', [keys, hash]);
    const checked = validateProofs(proof);
    const values = await Promise.all(keys.map((found) => client.rawQuery(found, { at: hash })));
    const spoilt = [...proof];
    const [longest] = [...proof].sort((a, b) => b.length - a.length);
    spoilt[proof.indexOf(longest)] = `${longest.slice(0, -1)}${longest.endsWith('0') ? '1' : '0'}`;
    return {
      sameBlock: at === hash, root: stateRoot, proven: checked?.rootHash, nodes: proof.length,
      values, provenValues: checked && keys.map((found) => proven(checked, found)),
      spoilt: validateProofs(spoilt)?.rootHash === stateRoot,
    };
  },

  async checksMerkleValuesItself() {
    const pallet = (await api.query.System.Account.getKey()).slice(0, 2 + 32);
    const result = await new Promise((resolve, reject) => {
      const head = raw.chainHead(true, async (event) => {
        if (event.type !== 'initialized') return;
        try {
          const hash = event.finalizedBlockHashes.at(-1);
          const closest = (found) => head.storage(hash, 'closestDescendantMerkleValue', found, null);
          const { stateRoot } = blockHeader[1](await head.header(hash));
          const whole = await api.query.System.Account.getKey(key('//Alice').address);
          const { proof } = await raw.request('state_getReadProof', [[whole], hash]);
          const checked = validateProofs(proof);
          resolve({
            root: stateRoot, proven: checked?.rootHash, ofAll: await closest('0x'),
            ofPallet: await closest(pallet), provenOfPallet: checked && descend(checked, pallet).hash,
            ofNothing: await closest(`0x${'00'.repeat(16)}`),
          });
        } catch (error) {
          reject(error);
        } finally {
          head.unfollow();
        }
      }, reject);
    });
    return result;
  },

  async readsASettlement() {
    const [paid, done] = await Promise.all([
      api.event.Inference.Paid.get(settled.block), api.event.Inference.Settled.get(settled.block),
    ]);
    return {
      paid: paid.map(({ payload: { role, ...rest } }) => ({ role: role.type, ...rest })),
      settled: done.map(({ payload }) => payload),
    };
  },

  async readsOurStorage() {
    const { datanet, model } = settled;
    const [session, batch] = [BigInt(settled.session), BigInt(settled.batch)];
    return {
      datanet: await api.query.Datanets.Datanets.getValue(datanet),
      version: await api.query.Datanets.Versions.getValue(datanet, 0),
      model: await api.query.Models.Models.getValue(model),
      session: await api.query.Inference.Sessions.getValue(session),
      batch: await api.query.Inference.Batches.getValue(batch),
      duty: await api.query.Attribution.Duties.getValue(batch),
      deposit: await api.constants.Datanets.CreationDeposit(),
    };
  },

  async contributesToADatanet() {
    const ferdie = key('//Ferdie');
    const policy = { open: true, bond_per_record: UNIT / 10n, min_bond: UNIT };
    const create = (text) => api.tx.Datanets.create({
      name: Binary.fromText(text), schema: ['title', 'text'].map(Binary.fromText), policy,
    });
    const text = `papi ${mode} ${Date.now()}`;
    const created = await submit(create(text), ferdie);
    const { datanet } = fields(created, 'Datanets', 'Created');
    const again = await submit(create(settled.name), ferdie);
    const { licence, bytes: size, ...records } = settled.records;
    const submitted = await submit(api.tx.Datanets.submit_batch({
      datanet, ...records, bytes: BigInt(size), licence: Binary.fromText(licence), bond: UNIT,
    }), ferdie);
    const { batch } = fields(submitted, 'Datanets', 'BatchSubmitted');
    const uploaded = await request('openledger_blob_put', [records.blob, 0, settled.data]);
    const accepted = await submit(api.tx.Utility.batch_all({ calls: [
      api.tx.Datanets.accept({ datanet, batch }).decodedCall, api.tx.Datanets.publish_version({ datanet }).decodedCall,
    ] }), ferdie);
    return {
      name: text, created: summary(created), again: summary(again), submitted: summary(submitted), uploaded,
      accepted: summary(accepted), stored: await api.query.Datanets.Datanets.getValue(datanet),
      batch: await api.query.Datanets.Batches.getValue(datanet, batch),
      contributor: await api.query.Datanets.Contributors.getValue(datanet, ferdie.address),
    };
  },

  async stakesAndOpensASession() {
    const [ferdie, bob, eve] = [key('//Ferdie'), key('//Bob'), key('//Eve')];
    const [proposed, backed, opened] = await Promise.all([
      submit(api.tx.Models.propose({
        name: Binary.fromText(`papi ${mode}`), base: 0, parent: undefined, royalty: 0,
        datanets: [{ datanet: settled.datanet, version: 0 }], stake: 10n * UNIT,
      }), ferdie),
      submit(api.tx.Models.back({ model: settled.model, amount: UNIT }), bob),
      submit(api.tx.Inference.open_session({
        model: settled.model, executor: settled.executor, voucher_key: key('//Eve//voucher').address,
        escrow: 5n * UNIT, max_fee: UNIT, ttl: 1000,
      }), eve),
    ]);
    const { model } = fields(proposed, 'Models', 'Proposed');
    const { session } = fields(opened, 'Inference', 'SessionOpened');
    return {
      proposed: { ...summary(proposed), stored: await api.query.Models.Models.getValue(model) },
      backed: { ...summary(backed), stored: await api.query.Models.Models.getValue(settled.model) },
      opened: { ...summary(opened), stored: await api.query.Inference.Sessions.getValue(session) },
    };
  },

  async spoke() {
    return [...sent].sort();
  },
};

/** The values of watched storage, each with the number of the block that it was read at. */
function told(observable) {
  return {
    subscribe: ({ next, error }) => observable.subscribe({ next: ({ block, value }) => next(`${value} in ${block.number}`), error }),
  };
}

await report(flows);
