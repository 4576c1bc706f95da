// Keeps the remaining places current, and counts down to the opening of sales.
import { again, countDown } from './count.js';

const pause = 15000;
let soon = Promise.resolve();
const refresh = () => { soon = soon.then(() => again()).catch(() => {}); }; // away: the page stays as it was

countDown(refresh);
setTimeout(() => setInterval(() => { if (!document.hidden) refresh(); }, pause), Math.random() * pause); // not everyone at once
