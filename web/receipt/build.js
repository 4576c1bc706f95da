// Bundles src/browser.js into one file that a page loads as a module. Usage: node build.js [FILE]
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** licences returns those of the packages in a bundle: whoever passes on their code passes on these. */
function licences(metafile) {
  const packages = new Set(Object.keys(metafile.inputs).flatMap((file) => file.match(/node_modules\/(?:@[^/]+\/)?[^/]+/) ?? []));
  return [...packages].sort().map((path) => {
    const file = readdirSync(here(path)).find((name) => /^licen[cs]e/i.test(name));
    return `/*! ${path.replace('node_modules/', '')}\n${readFileSync(here(`${path}/${file}`), 'utf8').trim()}\n*/\n`;
  });
}

/** bundle returns the text of the bundle. */
export async function bundle() {
  const { outputFiles, metafile } = await build({
    absWorkingDir: here('.'),
    entryPoints: ['src/browser.js'],
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2020',
    external: ['crypto'], // which the library imports where there is no Web Crypto: in no browser
    charset: 'utf8',
    legalComments: 'none', // the whole licences follow
    metafile: true,
    write: false,
  });
  return outputFiles[0].text + licences(metafile).join('');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const out = process.argv[2] ?? here('../../service/evidence/web/dist/verify.js');
  mkdirSync(dirname(out), { recursive: true });
  writeFileSync(out, await bundle());
}
