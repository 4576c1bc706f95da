// What a browser loads: the verifier, and the page's part where the page has one.

import { enhance } from './page.js';

export * from './index.js';

const section = document.getElementById('verify');
if (section) enhance(section);
