// Draws the load as it is: counters are asked for each second, and their differences are the rates.
const pause = 1000, kept = 60;
const number = new Intl.NumberFormat(document.documentElement.lang);
const tiles = [...document.querySelectorAll('[data-series]')].map((tile) => ({
  name: tile.dataset.series, value: tile.querySelector('b'), small: tile.querySelector('small'),
  line: tile.querySelector('polyline'), area: tile.querySelector('polygon'), past: [], peak: 0,
}));
const away = document.getElementById('away');
const rooms = document.getElementById('rooms');
const shards = document.getElementById('shards');
const titles = new Map([...document.querySelectorAll('#titles dt')].map((dt) => [dt.textContent, dt.nextElementSibling.textContent]));
const { peak } = document.querySelector('.tiles').dataset;
const words = rooms.closest('table').dataset;

const total = (v, name) => v.shards.reduce((sum, s) => sum + (s[name] ?? 0), 0);

const draw = (tile) => {
  const most = Math.max(1, ...tile.past), from = kept - tile.past.length;
  const points = tile.past.map((y, i) => `${from + i},${(40 - 38 * y / most).toFixed(2)}`);
  tile.line.setAttribute('points', points.join(' '));
  tile.area.setAttribute('points', `${from},40 ${points.join(' ')} ${kept - 1},40`);
};

const cell = (text, label, name) => {
  const td = document.createElement('td');
  if (text instanceof Node) td.append(text); else td.textContent = text;
  if (label) td.dataset.label = label;
  if (name) td.className = name;
  return td;
};

const rowOf = (...cells) => {
  const tr = document.createElement('tr');
  tr.append(...cells);
  return tr;
};

const showRooms = (sales) => {
  if (sales.length === 0) {
    const none = cell(words.none, '', 'soft');
    none.colSpan = 4;
    rooms.replaceChildren(rowOf(none));
    return;
  }
  const shown = [...sales].sort((a, b) => b.people - a.people || Number(b.engaged) - Number(a.engaged) || a.opens.localeCompare(b.opens)).slice(0, 8);
  rooms.replaceChildren(...shown.map((s) => {
    const link = document.createElement('a'), tag = document.createElement('span');
    link.href = `/booking/sales/${encodeURIComponent(s.sale)}`;
    link.textContent = `${titles.get(s.spot) ?? s.spot} ${s.sale.slice(-8).replace(/(....)(..)(..)/, '$1-$2-$3')}`;
    tag.className = `tag ${s.engaged ? 'warn' : 'good'}`;
    tag.textContent = s.engaged ? words.engaged : words.free;
    return rowOf(cell(link), cell(s.opens.slice(0, 16).replace('T', ' '), words.opens), cell(number.format(s.people), words.people, 'people'), cell(tag));
  }));
};

const showShards = (now, before, seconds) => {
  const label = shards.dataset;
  shards.replaceChildren(...now.shards.map((s, i) => {
    const was = before?.shards[i];
    const batches = was ? s.batches - was.batches : 0, records = was ? s.durable - was.durable : 0;
    return rowOf(cell(String(s.shard)), cell(batches > 0 ? (records / batches).toFixed(1) : '–', label.labelBatch),
      cell(was ? number.format(Math.round(batches / seconds)) : '–', label.labelRate), cell(number.format(s.durable), label.labelDurable), cell(s.problem ?? '', '', 'away'));
  }));
};

const show = (now, before, seconds) => {
  for (const tile of tiles) {
    const sum = total(now, tile.name);
    let value = sum;
    let said = `${tile.small.dataset.limit} ${number.format(total(now, 'intake'))}`;
    if (tile.name !== 'waiting') {
      said = `${tile.small.dataset.total} ${number.format(sum)}`;
      value = before ? Math.max(0, (sum - total(before, tile.name)) / seconds) : 0;
    }
    tile.peak = Math.max(tile.peak, value);
    tile.small.textContent = `${said} · ${peak} ${number.format(Math.round(tile.peak))}`;
    tile.value.textContent = number.format(Math.round(value));
    tile.past.push(value);
    if (tile.past.length > kept) tile.past.shift();
    draw(tile);
  }
  showRooms(now.sales ?? []);
  showShards(now, before, seconds);
};

let before = null, asked = 0;
const look = async () => {
  const began = performance.now();
  try {
    const answer = await fetch('/api/booking/live', { headers: { 'Accept-Language': document.documentElement.lang } });
    if (!answer.ok) throw new Error(String(answer.status));
    const now = await answer.json(), at = Date.parse(now.at);
    if (!before || at > asked) {
      show(now, before, (at - asked) / 1000);
      before = now;
      asked = at;
    }
    away.hidden = true;
  } catch {
    away.hidden = false;
  }
  setTimeout(look, Math.max(100, pause - (performance.now() - began)));
};
look();
