// A visitor's tour of papi-console: blocks, storage, constants, runtime calls and extrinsics.
import { tour } from './browser.mjs';

const settings = JSON.parse(process.argv[2]);
const at = `networkId=custom&endpoint=${encodeURIComponent(settings.node)}`;
const open = (page, path, more = '') => page.goto(`${settings.url}/${path}#${at}${more}`);

async function choose(page, label, option) {
  await page.locator('label', { hasText: label }).getByRole('combobox').click();
  await page.getByPlaceholder('Filter').first().fill(option).catch(() => page.keyboard.type(option));
  await page.getByRole('option', { name: option, exact: true }).click();
}

await tour(settings, {
  async 'papi-console-blocks'(page) {
    await open(page, 'explorer');
    await page.getByText('Recent Blocks').waitFor();
    await page.getByText(/0x[0-9a-f]{64}/).nth(2).waitFor();
  },
  async 'papi-console-block'(page) {
    await open(page, `explorer/${settings.block}`);
    await page.getByText(settings.block).first().waitFor();
    await page.getByRole('tab', { name: 'Events' }).or(page.getByText('Events', { exact: true })).first().click();
    await page.getByText(/Settled/).first().waitFor();
  },
  async 'papi-console-storage'(page) {
    await open(page, 'storage');
    await choose(page, 'Pallet', 'Datanets');
    await choose(page, 'Entry', 'Datanets');
    await page.getByText('Docs').first().waitFor();
    await page.getByPlaceholder('u32').fill('0');
    await page.getByRole('button', { name: 'Query' }).last().click();
    await page.getByText('manuals').first().waitFor();
  },
  async 'papi-console-constants'(page) {
    await open(page, 'constants');
    await page.getByText('Datanets', { exact: true }).click();
    await page.getByText('CreationDeposit:').hover();
    await page.getByText('Held while a Datanet exists.').first().waitFor();
  },
  async 'papi-console-runtime-calls'(page) {
    await open(page, 'runtimeCalls');
    await choose(page, 'API', 'DatanetsApi');
    await page.getByText('Docs').first().waitFor();
  },
  async 'papi-console-extrinsic'(page) {
    await open(page, 'extrinsics', `&data=${settings.call}`);
    await page.getByText('Datanets').first().waitFor();
    await page.getByText('create').first().waitFor();
  },
});
