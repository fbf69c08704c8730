// A headless Chromium that reaches this machine only, and what the tours of the explorers share.
import { createRequire } from 'node:module';

const installed = createRequire(`${process.cwd()}/package.json`);
const { chromium } = await import(installed.resolve('playwright-core')).then((m) => m.default ?? m);
const PATIENCE = 30_000;

export async function tour(settings, steps) {
  const browser = await chromium.launch({
    executablePath: settings.browser,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
      '--disable-background-networking', '--disable-component-update',
      '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
    ],
  });
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  page.setDefaultTimeout(PATIENCE);
  const faults = [];
  page.on('pageerror', (fault) => faults.push(fault.message));
  const seen = {};
  try {
    for (const [name, step] of Object.entries(steps)) {
      await step(page);
      await page.waitForTimeout(500);
      if (settings.pictures.includes(name)) {
        await page.screenshot({ path: `${settings.folder}/${name}.png` });
      }
      seen[name] = await page.innerText('body');
    }
  } catch (fault) {
    await page.screenshot({ path: `${settings.folder}/failed.png` });
    console.error(await page.innerText('body'));
    throw fault;
  } finally {
    await browser.close();
  }
  console.log(JSON.stringify({ seen, faults }));
}
