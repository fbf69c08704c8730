// The flow of an application with the unmodified dedot: what it saw goes out as one JSON object. `v2` is what the
// client chooses where a node serves the newer API, `legacy` its client for the older one.
import { load, report, within } from './installed.mjs';

const [endpoint, told, mode] = process.argv.slice(2);
const settled = JSON.parse(told);
const { Archive, ChainHead, DedotClient, JsonRpcClient, WsProvider } = await load('dedot');
const { $Header } = await load('dedot/codecs');
const { blake2AsU8a, hexToU8a, u8aToHex } = await load('dedot/utils');
const { Keyring } = await load('@polkadot/keyring');
const { cryptoWaitReady } = await load('@polkadot/util-crypto');

const UNIT = 10n ** 18n;
const sent = new Set();
class Provider extends WsProvider {
  send(method, ...rest) {
    sent.add(method);
    return super.send(method, ...rest);
  }
}

await cryptoWaitReady();
const provider = new Provider(endpoint);
const client = await (mode === 'legacy' ? DedotClient.legacy(provider) : DedotClient.new(provider));

const text = (bytes) => Buffer.from(hexToU8a(bytes)).toString();
const key = (uri, type = 'sr25519') => new Keyring({ type }).addFromUri(uri);
const name = ({ event: { pallet, palletEvent } }) => `${pallet}.${palletEvent.name ?? palletEvent}`;
const call = (tx) => tx.call;

/** Submit and watch until it is final. */
function submit(tx, signer) {
  const statuses = [];
  return new Promise((resolve, reject) => {
    tx.signAndSend(signer, ({ status, events, dispatchError }) => {
      statuses.push(status.type);
      if (status.type === 'Invalid' || status.type === 'Drop') reject(new Error(JSON.stringify(status)));
      if (status.type !== 'Finalized') return;
      let error = null;
      if (dispatchError?.type === 'Module') {
        const { pallet, name: named, docs } = client.registry.findErrorMeta(dispatchError);
        error = { pallet, name: named, docs: docs.join(' ') };
      } else if (dispatchError) {
        error = { pallet: dispatchError.type, name: dispatchError.value };
      }
      resolve({ statuses, error, events: events.map(name), found: events });
    }).catch(reject);
  });
}

const summary = ({ statuses, error, events }) => ({ statuses, error, events });

/** What an event of a finished transaction tells. */
const fields = ({ found }, pallet, kind) => client.events[pallet][kind].find(found).palletEvent.data;

/** The first `count` different values that a subscription tells. */
function first(subscribe, count) {
  return new Promise((resolve, reject) => {
    const values = [];
    let stop;
    const told = (value) => {
      if (values.length < count && value !== values.at(-1)) values.push(value);
      if (values.length === count) { resolve(values); setTimeout(async () => (await stop)()); }
    };
    stop = subscribe(told);
    Promise.resolve(stop).catch(reject);
  });
}

const flows = {
  async connects() {
    const { metadata } = client;
    return {
      version: client.rpcVersion, chain: await client.chainSpec.chainName(), genesis: client.genesisHash,
      properties: await client.chainSpec.properties(), spec: client.runtimeVersion.specName, metadata: metadata.version,
      pallets: metadata.latest.pallets.map((pallet) => pallet.name), apis: metadata.latest.apis.map((api) => api.name),
      ss58: client.consts.system.ss58Prefix,
    };
  },

  async readsAnAccount() {
    const { address } = key('//Alice');
    const { data, nonce } = await client.query.system.account(address);
    return { address, free: data.free, nonce };
  },

  async estimatesAFee() {
    const alice = key('//Alice');
    const tx = client.tx.balances.transferKeepAlive(key('//Bob').address, UNIT);
    await tx.sign(alice);
    const bytes = tx.toU8a();
    const [{ partialFee, class: kind }, { inclusionFee }] = await within(
      async () => (await client.block.best()).hash,
      () => Promise.all([
        tx.paymentInfo(alice), client.call.transactionPaymentApi.queryFeeDetails(bytes, bytes.length),
      ]),
    );
    const { baseFee, lenFee, adjustedWeightFee } = inclusionFee;
    return { fee: partialFee, class: kind, detailed: baseFee + lenFee + adjustedWeightFee };
  },

  async transfersWithEveryScheme() {
    const schemes = ['sr25519', 'ed25519', 'ecdsa'];
    const transfer = (to, amount) => client.tx.balances.transferAllowDeath(to.address, amount);
    const signers = schemes.map((type) => key(`//Alice//dedot//${mode}`, type));
    await submit(client.tx.utility.batchAll(signers.map((to) => call(transfer(to, 10n * UNIT)))), key('//Alice'));
    const results = await Promise.all(signers.map(async (from, position) => {
      const target = key(`//Bob//${Date.now()}`, schemes[position]);
      const done = await submit(transfer(target, 3n * UNIT), from);
      const { data } = await client.query.system.account(target.address);
      return { received: data.free, ...summary(done) };
    }));
    return Object.fromEntries(schemes.map((type, position) => [type, results[position]]));
  },

  async decodesAFailure() {
    const [bob, charlie] = [key('//Bob'), key('//Charlie')];
    const [token, pallet] = await Promise.all([
      submit(client.tx.balances.transferKeepAlive(bob.address, 10n ** 30n), charlie),
      submit(client.tx.sudo.sudo(call(client.tx.system.remark('0x00'))), bob),
    ]);
    return { token: summary(token), pallet: summary(pallet) };
  },

  async isToldWhyATransactionIsRefused() {
    return new Promise((resolve) => {
      client.tx.system.remark('0x00').signAndSend(key('//Dave'), { nonce: 1 }, () => {}).then(
        () => resolve(null),
        (error) => resolve({ kind: error.name, message: error.message, data: error.data }),
      );
    });
  },

  async followsHeads() {
    const [best, finalized] = await Promise.all([
      first((told) => client.block.best(({ number }) => told(number)), 4),
      first((told) => client.block.finalized(({ number }) => told(number)), 4),
    ]);
    return { best, finalized };
  },

  async watchesStorage() {
    return first((told) => client.query.system.number(told), 3);
  },

  async readsAnOldBlock() {
    const hash = await (mode === 'legacy'
      ? client.rpc.chain_getBlockHash(1) : client.rpc.archive_v1_hashByHeight(1).then(([only]) => only));
    const header = await client.block.header(hash);
    const [inherent] = await client.block.body(hash);
    const at = await client.at(hash);
    const extrinsic = client.registry.$Extrinsic.tryDecode(inherent);
    return {
      requested: hash, recomputed: client.registry.hashAsHex($Header.tryEncode(header)), parent: header.parentHash,
      number: header.number, version: extrinsic.version,
      call: `${extrinsic.call.pallet}.${extrinsic.call.palletCall.name}`,
      stateNumber: await at.query.system.number(), events: (await at.query.system.events()).map(name),
      nonce: (await at.query.system.account(key('//Alice').address)).nonce,
    };
  },

  async readsEntriesOfMaps() {
    const entries = await client.query.system.account.entries();
    const ofOne = await client.query.datanets.contributors.entries(settled.datanet);
    const pages = [];
    if (mode === 'legacy') {
      let startKey;
      do {
        const page = await client.query.system.account.pagedKeys({ pageSize: 4, startKey });
        pages.push(page.map((account) => account.address()));
        startKey = page.length ? client.query.system.account.rawKey(page.at(-1)) : undefined;
      } while (pages.at(-1).length === 4);
    }
    const some = entries.slice(0, 3).map(([account]) => account);
    const values = await client.query.system.account.multi(some);
    return {
      accounts: entries.map(([account]) => account.address()), pages,
      same: values.every(({ nonce }, position) => nonce === entries[position][1].nonce),
      contributors: ofOne.map(([[datanet, account], { records }]) => (
        { datanet, account: account.address(), records }
      )),
    };
  },

  async callsTheRuntime() {
    const { address } = key('//Alice');
    const version = await client.call.core.version();
    return {
      spec: version.specVersion, transaction: version.transactionVersion,
      nonce: await client.call.accountNonceApi.accountNonce(address),
      stored: (await client.query.system.account(address)).nonce,
      lengthFee: await client.call.transactionPaymentApi.queryLengthToFee(100),
    };
  },

  async callsRuntimeApisOfOurOwn() {
    const batch = BigInt(settled.batch);
    const [[[, account]]] = await client.query.datanets.contributors.entries(settled.datanet);
    const found = await client.call.attributionApi.attribution(batch);
    const why = await client.call.attributionApi.whyNotPaid(batch, account);
    const none = await client.call.attributionApi.attribution(2n ** 60n);
    const { modelName: model, clusters, duty } = found;
    return { model, clusters, duty: duty.stage, why: why.reason, none: none ?? null };
  },

  async asksForManyAtOnce() {
    const found = await Promise.all(Array.from({ length: 300 }, (_, position) => (
      client.query.system.account(`0x${position.toString(16).padStart(64, '0')}`)
    )));
    return { asked: found.length, empty: found.filter(({ data }) => data.free === 0n).length };
  },

  async checksTheStateRoot() {
    if (mode === 'legacy') {
      const hash = await client.rpc.chain_getFinalizedHead();
      const { stateRoot } = await client.block.header(hash);
      const { proof } = await client.rpc.state_getReadProof([client.query.system.number.rawKey()], hash);
      const hashes = proof.map((node) => u8aToHex(blake2AsU8a(hexToU8a(node), 256)));
      return { now: [stateRoot, hashes.find((found) => found === stateRoot) ?? null] };
    }
    const connection = await JsonRpcClient.new(new Provider(endpoint));
    const [head, archive] = [new ChainHead(connection), new Archive(connection)];
    await head.follow();
    const hash = await head.finalizedHash();
    const { stateRoot } = $Header.tryDecode(await head.header(hash));
    const question = [{ key: '0x', type: 'closestDescendantMerkleValue' }];
    const [now] = await head.storage(question, undefined, hash);
    const [old] = await archive.hashByHeight(1);
    const header = $Header.tryDecode(await archive.header(old));
    const [then] = await archive.storage(question, null, old);
    const [height, genesis] = await Promise.all([archive.finalizedHeight(), archive.genesisHash()]);
    await head.unfollow();
    await connection.disconnect();
    return {
      now: [stateRoot, now.closestDescendantMerkleValue], then: [header.stateRoot, then.closestDescendantMerkleValue],
      height, genesis,
    };
  },

  async readsASettlement() {
    const records = await (await client.at(settled.block)).query.system.events();
    const { Paid, Settled } = client.events.inference;
    return {
      paid: Paid.filter(records).map(({ palletEvent: { data } }) => ({ ...data, account: data.account?.address() })),
      settled: Settled.filter(records).map(({ palletEvent }) => palletEvent.data),
    };
  },

  async readsOurStorage() {
    const { datanet, model, session, batch } = settled;
    const found = await client.query.datanets.datanets(datanet);
    const trained = await client.query.models.models(model);
    return {
      datanet: { ...found, name: text(found.name), schema: found.schema.map(text), owner: found.owner.address() },
      version: await client.query.datanets.versions([datanet, 0]),
      model: { ...trained, name: text(trained.name), owner: trained.owner.address() },
      session: await client.query.inference.sessions(BigInt(session)),
      batch: await client.query.inference.batches(BigInt(batch)),
      duty: await client.query.attribution.duties(BigInt(batch)),
      deposit: client.consts.datanets.creationDeposit,
      error: client.errors.datanets.NameTaken.meta.docs.join(' '),
    };
  },

  async contributesToADatanet() {
    const ferdie = key('//Ferdie');
    const policy = { open: true, bondPerRecord: UNIT / 10n, minBond: UNIT };
    const bytes = (value) => u8aToHex(Buffer.from(value));
    const create = (named) => client.tx.datanets.create(bytes(named), ['title', 'text'].map(bytes), policy);
    const named = `dedot ${mode} ${Date.now()}`;
    const created = await submit(create(named), ferdie);
    const { datanet } = fields(created, 'datanets', 'Created');
    const again = await submit(create(settled.name), ferdie);
    const { subRoot, count, bytes: size, blob, licence } = { ...settled.records, subRoot: settled.records.sub_root };
    const submitted = await submit(
      client.tx.datanets.submitBatch(datanet, subRoot, count, BigInt(size), blob, bytes(licence), UNIT), ferdie,
    );
    const { batch } = fields(submitted, 'datanets', 'BatchSubmitted');
    const uploaded = await client.rpc.openledger_blob_put(blob, 0, settled.data);
    const accepted = await submit(client.tx.utility.batchAll([
      call(client.tx.datanets.accept(datanet, batch)), call(client.tx.datanets.publishVersion(datanet)),
    ]), ferdie);
    const stored = await client.query.datanets.datanets(datanet);
    return {
      name: named, created: summary(created), again: summary(again), submitted: summary(submitted), uploaded,
      accepted: summary(accepted), stored: { ...stored, name: text(stored.name), owner: stored.owner.address() },
      batch: await client.query.datanets.batches([datanet, batch]),
      contributor: await client.query.datanets.contributors([datanet, ferdie.address]),
    };
  },

  async stakesAndOpensASession() {
    const [ferdie, bob, eve] = [key('//Ferdie'), key('//Bob'), key('//Eve')];
    const parent = undefined;
    const versions = [{ datanet: settled.datanet, version: 0 }];
    const [proposed, backed, opened] = await Promise.all([
      submit(client.tx.models.propose(
        u8aToHex(Buffer.from(`dedot ${mode}`)), 0, parent, 0, versions, 10n * UNIT,
      ), ferdie),
      submit(client.tx.models.back(settled.model, UNIT), bob),
      submit(client.tx.inference.openSession(
        settled.model, settled.executor, key('//Eve//voucher').address, 5n * UNIT, UNIT, 1000,
      ), eve),
    ]);
    const { model } = fields(proposed, 'models', 'Proposed');
    const { session } = fields(opened, 'inference', 'SessionOpened');
    return {
      proposed: { ...summary(proposed), stored: await client.query.models.models(model) },
      backed: { ...summary(backed), stored: await client.query.models.models(settled.model) },
      opened: { ...summary(opened), stored: await client.query.inference.sessions(session) },
    };
  },

  async spoke() {
    return [...sent].sort();
  },
};

await report(flows);
