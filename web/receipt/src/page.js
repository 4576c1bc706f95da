// The page's part. It enhances a form that the server wrote (README.en.md says which elements); files that people choose
// are read here, on their own machine, and go nowhere. All that is ever fetched is the file of public keys.

import { parse } from './receipt.js';
import { Refusal } from './refusal.js';
import { prepare } from './sm.js';
import { style } from './style.js';
import { parseTrust } from './trust.js';
import { refused, result, said } from './verdict.js';
import { verify } from './verify.js';
import { speak } from './words.js';

/** The largest files that are read, in bytes. */
const most = { receipt: 64 << 10, trust: 1 << 20, original: 256 << 20 };

/** enhance makes the section verify what is chosen or dropped, and say what it found in #verdict. */
export function enhance(section) {
  const find = (id) => section.querySelector('#' + id);
  const inputs = { receipt: find('receipt'), original: find('original'), trust: find('trust') };
  const say = speak(section.dataset.lang === 'en' ? 'en' : 'zh');
  const source = section.dataset.trust;
  let turn = 0; // of the latest check: an earlier one that ends later says nothing

  async function check() {
    const mine = ++turn;
    const show = (...content) => mine === turn && find('verdict').replaceChildren(...content);
    if (!inputs.receipt.files[0]) return show();
    show(said(say('checking')));
    await painted();
    try {
      show(...(await judge(inputs, source, say)));
    } catch (error) {
      if (!(error instanceof Problem)) console.error(error);
      show(...refused(say, say(error instanceof Problem ? error.message : 'broken')));
    }
  }

  for (const input of Object.values(inputs)) input?.addEventListener('change', check);
  takeDrops(find('drop'), say, async (files) => {
    await sort(files, inputs);
    await check();
  });
  if (document.adoptedStyleSheets) document.adoptedStyleSheets = [...document.adoptedStyleSheets, style()];
  section.hidden = false;
  setTimeout(prepare, 300); // once the page stands
  check(); // a browser that goes back in history has kept the files
}

/** Problem is what keeps a check from being made at all. Its message is a key of the words. */
class Problem extends Error {}

/** judge returns what there is to show of the files that are chosen. */
async function judge(inputs, source, say) {
  const [receipt, original, own] = await Promise.all([read(inputs, 'receipt'), read(inputs, 'original'), read(inputs, 'trust')]);
  const prefix = { of: 'receiptRefused' };
  try {
    parse(receipt); // first of all, as it needs no keys
    const trust = decode(own ?? (await fetched(source)));
    prefix.of = 'trustRefused';
    parseTrust(trust);
    prefix.of = 'receiptRefused';
    return result(say, verify(receipt, trust, { original }), own !== null);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return refused(say, say(prefix.of, error.in(say.lang)), error);
  }
}

/** read returns the bytes of the file that an input has, or null where it has none. */
async function read(inputs, name) {
  const file = inputs[name]?.files[0];
  if (!file) return null;
  if (file.size > most[name]) throw new Problem(name + 'TooLarge');
  try {
    return new Uint8Array(await file.arrayBuffer());
  } catch {
    throw new Problem('unreadable');
  }
}

/** fetched returns the bytes of the page's own file of keys. */
async function fetched(source) {
  if (!source) throw new Problem('noTrust');
  const answer = await fetch(source, { cache: 'no-cache', redirect: 'error' }).catch(() => null);
  const bytes = answer?.ok ? await answer.arrayBuffer().catch(() => null) : null;
  if (bytes === null) throw new Problem('noTrust');
  return new Uint8Array(bytes);
}

/** decode keeps a mark of byte order, which is no part of a file of keys. */
const decode = (bytes) => new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);

/** painted resolves when the browser has shown what was written: hashing a large original keeps it busy. */
const painted = () => new Promise((done) => setTimeout(done, 30));

/** takeDrops gives files that are dropped anywhere on the page, where a near miss would otherwise open them instead. */
function takeDrops(zone, say, take) {
  if (zone.textContent.trim() === '') zone.textContent = say('drop');
  zone.hidden = false;
  const on = (name, handle) => document.addEventListener(name, (event) => {
    if (!event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    handle(event);
  });
  on('dragover', () => zone.classList.add('over'));
  on('drop', (event) => {
    zone.classList.remove('over');
    take([...event.dataTransfer.files]);
  });
  document.addEventListener('dragleave', (event) => {
    if (!event.relatedTarget) zone.classList.remove('over');
  });
}

/** sort puts dropped files where they belong, by how they begin, or else by their names. */
async function sort(files, inputs) {
  for (const file of files) {
    const input = inputs[await kindOf(file)] ?? (inputs.receipt.files[0] || files.length > 1 ? inputs.original : inputs.receipt);
    const chosen = new DataTransfer();
    chosen.items.add(file);
    input.files = chosen.files;
  }
}

async function kindOf(file) {
  const head = await file.slice(0, 4096).text().catch(() => '');
  if (head.startsWith('c2sp.org/tlog-proof@') || file.name.endsWith('.receipt')) return 'receipt';
  if (head.startsWith('qiong-original/')) return 'original';
  return head.includes('-----BEGIN PUBLIC KEY-----') || file.name.endsWith('.pem') ? 'trust' : '';
}
