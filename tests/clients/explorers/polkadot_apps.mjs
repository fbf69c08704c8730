// A visitor's tour of Polkadot.js Apps: blocks, storage, constants, runtime calls and extrinsics.
import { tour } from './browser.mjs';

const settings = JSON.parse(process.argv[2]);
const open = (page, path) => page.goto(`${settings.url}/?rpc=${settings.node}#/${path}`);

async function select(page, position, text) {
  const dropdown = page.locator('.ui--InputExtrinsic, .ui--DropdownLinked').first();
  const field = dropdown.locator('.ui--Dropdown').nth(position);
  await field.click();
  await field.getByRole('option').filter({ hasText: text }).first().click();
}

await tour(settings, {
  async 'polkadot-apps-blocks'(page) {
    await open(page, 'explorer');
    await page.getByText('recent blocks').waitFor();
    await page.getByText(/0x[0-9a-f]{64}/).nth(2).waitFor();
  },
  async 'polkadot-apps-block'(page) {
    await open(page, `explorer/query/${settings.block}`);
    await page.getByText('inference.Settled').first().waitFor();
  },
  async 'polkadot-apps-storage'(page) {
    await open(page, 'chainstate');
    await page.getByText('selected state query').waitFor();
    await select(page, 0, 'datanets');
    await select(page, 1, /^datanets/);
    await page.locator('button').filter({ has: page.locator('.fa-plus') }).first().click();
    await page.getByText('manuals').first().waitFor();
  },
  async 'polkadot-apps-constants'(page) {
    await open(page, 'chainstate/constants');
    await page.getByText('selected constant query').waitFor();
    await select(page, 0, 'datanets');
  },
  async 'polkadot-apps-runtime-calls'(page) {
    await open(page, 'runtime');
    await page.getByText('api').first().waitFor();
  },
  async 'polkadot-apps-extrinsic'(page) {
    await open(page, `extrinsics/decode/${settings.call}`);
    await page.getByText('datanets').first().waitFor();
  },
  async 'polkadot-apps-accounts'(page) {
    await open(page, 'accounts');
    await page.getByText('ALICE').first().waitFor();
  },
});
