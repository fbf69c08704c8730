// The flow of a wallet with the unmodified @polkadot/api: everything it saw goes out as one JSON object.
import { load, report, within } from './installed.mjs';

const [endpoint, told] = process.argv.slice(2);
const settled = JSON.parse(told);
const { ApiPromise, WsProvider } = await load('@polkadot/api');
const { Keyring } = await load('@polkadot/keyring');
const { cryptoWaitReady } = await load('@polkadot/util-crypto');

const UNIT = 10n ** 18n;
await cryptoWaitReady();
const api = await ApiPromise.create({ provider: new WsProvider(endpoint), noInitWarn: true });

const flows = {
  async connects() {
    const [chain, name, version] = await Promise.all([
      api.rpc.system.chain(), api.rpc.system.name(), api.rpc.system.version(),
    ]);
    return {
      chain: chain.toString(), name: name.toString(), version: version.toString(),
      genesis: api.genesisHash.toHex(), spec: api.runtimeVersion.specName.toString(),
      ss58: api.registry.chainSS58, decimals: api.registry.chainDecimals, symbols: api.registry.chainTokens,
      pallets: api.runtimeMetadata.asLatest.pallets.map((p) => p.name.toString()),
    };
  },

  async readsAnAccount() {
    const alice = new Keyring({ type: 'sr25519' }).addFromUri('//Alice');
    const { data, nonce } = await api.query.system.account(alice.address);
    return { address: alice.address, free: data.free.toString(), nonce: nonce.toNumber() };
  },

  async estimatesAFee() {
    const alice = new Keyring({ type: 'sr25519' }).addFromUri('//Alice');
    const bob = new Keyring({ type: 'sr25519' }).addFromUri('//Bob');
    const call = api.tx.balances.transferKeepAlive(bob.address, UNIT);
    const signed = (await call.signAsync(alice)).toHex();
    const [info, details] = await within(
      async () => (await api.rpc.chain.getBlockHash()).toHex(),
      () => Promise.all([call.paymentInfo(alice), api.rpc.payment.queryFeeDetails(signed)]),
    );
    const fee = details.inclusionFee.unwrap();
    return {
      fee: info.partialFee.toString(), class: info.class.toString(), refTime: info.weight.refTime.toString(),
      detailed: fee.baseFee.add(fee.lenFee).add(fee.adjustedWeightFee).toString(),
    };
  },

  async transfersWithEveryScheme() {
    const sudo = new Keyring({ type: 'sr25519' }).addFromUri('//Alice');
    const results = {};
    for (const type of ['sr25519', 'ed25519', 'ecdsa']) {
      const signer = new Keyring({ type }).addFromUri('//Alice//client-tests');
      const target = new Keyring({ type }).addFromUri(`//Bob//${type}//${Date.now()}`);
      await submit(api.tx.balances.transferKeepAlive(signer.address, 100n * UNIT), sudo);
      const done = await submit(api.tx.balances.transferAllowDeath(target.address, 3n * UNIT), signer);
      const { data } = await api.query.system.account(target.address);
      results[type] = {
        received: data.free.toString(), statuses: done.statuses, events: done.events, error: done.error,
      };
    }
    return results;
  },

  async decodesAFailure() {
    const alice = new Keyring({ type: 'sr25519' }).addFromUri('//Alice');
    const bob = new Keyring({ type: 'sr25519' }).addFromUri('//Bob');
    const poor = await submit(api.tx.balances.transferKeepAlive(bob.address, 10n ** 30n), alice);
    const notSudo = await submit(api.tx.sudo.sudo(api.tx.system.remark('0x00')), bob);
    return {
      token: { events: poor.events, error: poor.error }, pallet: { events: notSudo.events, error: notSudo.error },
    };
  },

  async isToldWhyATransactionIsRefused() {
    const alice = new Keyring({ type: 'sr25519' }).addFromUri('//Alice');
    const call = api.tx.system.remark('0x00');
    const stale = await call.signAsync(alice, { nonce: 0 });
    return new Promise((resolve) => {
      api.rpc.author.submitExtrinsic(stale).then(
        () => resolve({ error: null }), (error) => resolve({ error: error.message, code: error.code }),
      );
    });
  },

  async followsHeads() {
    const follow = async (subscribe) => {
      const numbers = [];
      await new Promise((resolve, reject) => {
        let stop;
        subscribe((header) => {
          numbers.push(header.number.toNumber());
          if (numbers.length === 3) { stop?.(); resolve(); }
        }).then((unsubscribe) => { stop = unsubscribe; }, reject);
      });
      return numbers;
    };
    return {
      best: await follow((told) => api.rpc.chain.subscribeNewHeads(told)),
      finalized: await follow((told) => api.rpc.chain.subscribeFinalizedHeads(told)),
      all: await follow((told) => api.rpc.chain.subscribeAllHeads(told)),
    };
  },

  async readsAnOldBlock() {
    const hash = await api.rpc.chain.getBlockHash(1);
    const { block, justifications } = await api.rpc.chain.getBlock(hash);
    const at = await api.at(hash);
    return {
      requested: hash.toHex(), recomputed: block.header.hash.toHex(), number: block.header.number.toNumber(),
      calls: block.extrinsics.map((x) => `${x.method.section}.${x.method.method}`),
      stateNumber: (await at.query.system.number()).toNumber(),
      events: (await at.query.system.events()).map(({ event }) => `${event.section}.${event.method}`),
      engine: justifications.isSome ? justifications.unwrap()[0][0].toUtf8() : null,
    };
  },

  async pagesThroughAMap() {
    const entries = await api.query.system.account.entriesPaged({ args: [], pageSize: 3 });
    const next = await api.query.system.account.entriesPaged({ args: [], pageSize: 3, startKey: entries.at(-1)[0].toHex() });
    const all = await api.query.system.account.entries();
    return {
      first: entries.map(([key]) => key.args[0].toString()), second: next.map(([key]) => key.args[0].toString()),
      all: all.map(([key]) => key.args[0].toString()),
    };
  },

  async watchesStorage() {
    const seenNumbers = [];
    await new Promise((resolve, reject) => {
      let stop;
      api.query.system.number((number) => {
        seenNumbers.push(number.toNumber());
        if (seenNumbers.length === 3) { stop?.(); resolve(); }
      }).then((unsubscribe) => { stop = unsubscribe; }, reject);
    });
    return seenNumbers;
  },

  async provesStorage() {
    const key = api.query.system.number.key();
    const head = await api.rpc.chain.getFinalizedHead();
    const { at, proof } = await api.rpc.state.getReadProof([key], head);
    return { at: at.toHex(), head: head.toHex(), nodes: proof.length };
  },

  async readsEveryPallet() {
    const values = {};
    for (const [section, items] of Object.entries(api.query)) {
      for (const [name, item] of Object.entries(items)) {
        if (item.creator?.meta?.type?.isPlain) {
          values[`${section}.${name}`] = (await item()).toString().slice(0, 120);
        }
      }
    }
    return values;
  },

  async readsASettlement() {
    const records = await (await api.at(settled.block)).query.system.events();
    return records.filter(({ event }) => event.section === 'inference').map(({ event }) => ({
      name: event.method, fields: event.data.names,
      values: event.data.map((value) => (value.toJSON() === null ? null : value.toString())),
    }));
  },

  async readsOurStorage() {
    const { datanet, model, session, batch } = settled;
    return {
      datanet: (await api.query.datanets.datanets(datanet)).toHuman(),
      version: (await api.query.datanets.versions(datanet, 0)).toHuman(),
      model: (await api.query.models.models(model)).toHuman(),
      session: (await api.query.inference.sessions(session)).toHuman(),
      batch: (await api.query.inference.batches(batch)).toHuman(),
      duty: (await api.query.attribution.duties(batch)).toHuman(),
      contributors: (await api.query.datanets.contributors.entries(datanet)).map(([key, value]) => (
        { account: key.args[1].toString(), records: value.unwrap().records.toNumber() }
      )),
    };
  },

  async readsConstantsAndErrors() {
    const { creationDeposit } = api.consts.datanets;
    return {
      deposit: creationDeposit.toString(), docs: creationDeposit.meta.docs.join(' '),
      error: api.errors.datanets.NameTaken.meta.docs.join(' '),
    };
  },

  async callsOurPallets() {
    const ferdie = new Keyring({ type: 'sr25519' }).addFromUri('//Ferdie');
    const policy = { open: true, bondPerRecord: UNIT / 10n, minBond: UNIT };
    const create = (name) => api.tx.datanets.create(name, ['title', 'text'], policy);
    const name = `javascript ${Date.now()}`;
    const created = await submit(create(name), ferdie);
    const id = (await api.query.datanets.names(name)).unwrap();
    const stored = (await api.query.datanets.datanets(id)).unwrap();
    const again = await submit(create(settled.name), ferdie);
    return {
      name, error: created.error, events: created.events, stored: stored.toHuman(),
      again: { error: again.error, events: again.events },
    };
  },
};

function submit(call, signer) {
  const statuses = [];
  return new Promise((resolve, reject) => {
    call.signAndSend(signer, { nonce: -1 }, ({ status, events, dispatchError }) => {
      statuses.push(status.type);
      if (status.isFinalized) {
        let error = null;
        if (dispatchError?.isModule) {
          const { section, name, docs } = api.registry.findMetaError(dispatchError.asModule);
          error = { section, name, docs: docs.join(' ') };
        } else if (dispatchError) {
          error = { section: dispatchError.type, name: dispatchError.toString() };
        }
        resolve({ statuses, error, events: events.map(({ event }) => `${event.section}.${event.method}`) });
      } else if (status.isError) {
        reject(new Error(`${status}`));
      }
    }).catch(reject);
  });
}

await report(flows);
