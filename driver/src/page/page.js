// What the process says becomes what the page shows.

const EVERY = 2000;
const PATIENCE = 8000;
// Listings and mounts that are older than this are marked.
const STALE = 60000;

const by = (id) => document.getElementById(id);
const chip = (text, level, title) => el('span', { class: `chip ${level || ''}`, title }, text);
const code = (text) => el('code', {}, breakable(text));
let last = null;

const KINDS = {
  volume: '', volume_name: 'name', snapshot: 'snapshot', snapshot_name: 'snapshot name', group_snapshot: 'group',
  group_snapshot_name: 'group name', claim: 'claim', path: '', other: '',
};

// The names of volumes, by their ids.
let titles = new Map();

function object(one) {
  const title = one.kind === 'volume' && titles.get(one.name);
  const rest = [one.node && `on ${one.node}`, one.backend && `in ${one.backend}`].filter(Boolean).join(' ');
  return el('div', {}, title ? el('div', { class: 'name' }, title) : '', KINDS[one.kind] ? `${KINDS[one.kind]} ` : '', code(one.name), rest ? el('small', {}, ` ${rest}`) : '');
}

const called = (one) => one.objects.map((other) => titles.get(other.name) || '');
const names = (one) => one.objects.map((other) => other.name).join(' ');
const method = (one) => [one.method, one.bridge ? el('small', {}, ' bridge') : ''];

const tables = {
  work: new Table(by('work'), 'Calls that run or wait, and for whom', [
    { title: 'Call', cell: (w) => method(w), order: (w) => w.method },
    { title: 'Of', cell: (w) => w.objects.map(object), order: names },
    { title: 'State', cell: (w) => (w.began ? chip('runs', 'busy') : chip('waits', 'waits')), order: (w) => (w.began ? 0 : 1) },
    { title: 'For', kind: 'number', cell: (w) => age(w.began || w.since), order: (w) => -(w.began || w.since), descending: true },
    { title: 'Came', kind: 'number rest', cell: (w) => age(w.since, ' ago'), order: (w) => -w.since, descending: true },
    { title: 'Behind', cell: (w) => w.ahead.map((other) => el('div', {}, other)) },
    { title: 'Callers', kind: 'number', cell: (w) => String(w.callers), order: (w) => w.callers },
  ], 3, true),
  failures: new Table(by('failures'), 'What failed last, by object and method', [
    { title: 'Call', cell: (f) => method(f), order: (f) => f.method },
    { title: 'Of', cell: (f) => f.objects.map(object), order: names },
    { title: 'What it said', kind: 'wide', cell: (f) => [el('b', {}, f.code), ' ', f.message], order: (f) => f.code },
    { title: 'Times', kind: 'number', cell: (f) => String(f.times), order: (f) => f.times, descending: true },
    { title: 'Last', kind: 'number', cell: (f) => age(f.last, ' ago'), order: (f) => -f.last },
    { title: 'Since', kind: 'number rest', cell: (f) => age(f.first, ' ago'), order: (f) => -f.first },
    {
      title: 'Now',
      cell: (f) => (f.overcome ? [chip('overcome', 'good'), el('small', {}, ` by ${f.overcome_by}, `, age(f.overcome, ' ago'))] : chip('stands', 'bad')),
      order: (f) => (f.overcome ? 1 : 0),
    },
  ], 4),
  takeovers: new Table(by('takeovers'), 'Volumes that were taken from other nodes, and on what evidence', [
    { title: 'Volume', cell: (t) => code(t.volume), order: (t) => t.volume },
    { title: 'From', cell: (t) => t.from, order: (t) => t.from },
    { title: 'To', kind: 'word', cell: (t) => t.to, order: (t) => t.to },
    { title: 'Outcome', cell: (t) => [chip(t.outcome, { done: 'good', failed: 'bad' }[t.outcome] || 'waits'), t.error ? el('small', {}, ` ${t.error}`) : ''], order: (t) => t.outcome },
    { title: 'When', kind: 'number', cell: (t) => age(t.time, ' ago'), order: (t) => -t.time },
    {
      title: 'Evidence',
      kind: 'wide',
      cell: (t) => el('details', {}, el('summary', {}, `${t.grade}, allowed by ${t.policy}`),
        el('ul', {}, t.evidence.map((one) => el('li', {}, el('b', {}, one.source), ` ${one.words} `, el('small', {}, age(one.asked, ' ago')))))),
    },
  ], 4),
  volumes: new Table(by('volumes'), 'Volumes, who has them and where they are mounted on this node', [
    { title: 'Volume', cell: (v) => [v.name ? el('div', { class: 'name' }, v.name) : '', code(v.id)], order: (v) => v.name || v.id },
    { title: 'Backend', cell: (v) => v.backend, order: (v) => v.backend },
    { title: 'Size', kind: 'number', cell: (v) => (v.bytes === null ? '–' : size(v.bytes)), order: (v) => v.bytes || 0, descending: true },
    { title: 'Held by', kind: 'word', cell: (v) => (v.nodes.length ? v.nodes.map((node) => el('div', {}, node)) : el('span', { class: 'faint' }, 'nobody')), order: (v) => v.nodes.join(' ') },
    { title: 'Mounted here', kind: 'paths', cell: (v) => v.paths.map((m) => el('div', {}, code(m.path), m.read_only ? el('small', {}, ' read-only') : '')), order: (v) => v.paths.length, descending: true },
    {
      title: 'Condition',
      kind: 'wide',
      cell: (v) => v.states.map(([level, word, more]) => el('div', {}, chip(word, level), more ? el('small', {}, ` ${more}`) : '')),
      order: (v) => v.rank,
    },
  ], 0),
};

// Volumes from everywhere: listed by backends, mounted here, or only spoken of by calls.
function volumes(told) {
  const all = new Map();
  const at = (id) => {
    if (!all.has(id)) all.set(id, { key: id, id, name: '', backend: id.split(':')[0], bytes: null, nodes: [], paths: [], states: [], rank: 3 });
    return all.get(id);
  };
  for (const volume of told.volumes) Object.assign(at(volume.id), volume);
  for (const mount of told.mounts ? told.mounts.mounts : []) at(mount.volume).paths.push(mount);
  const state = (id, rank, ...words) => {
    const volume = at(id);
    volume.states.push(words);
    volume.rank = Math.min(volume.rank, rank);
  };
  for (const volume of told.volumes) if (volume.trouble) state(volume.id, 0, 'bad', 'in trouble', volume.trouble);
  const ids = (one) => one.objects.filter((other) => other.kind === 'volume').map((other) => other.name);
  for (const failure of told.failures) {
    if (failure.overcome) continue;
    for (const id of ids(failure)) if (all.has(id)) state(id, 1, 'bad', 'failed', `${failure.method}: ${failure.code}`);
  }
  for (const work of told.work) for (const id of ids(work)) if (all.has(id)) state(id, 2, work.began ? 'busy' : 'waits', work.began ? 'busy' : 'waits', work.method);
  for (const volume of all.values()) {
    if (!volume.states.length) volume.states.push(['good', 'in order', '']);
    volume.as = JSON.stringify([volume.name, volume.backend, volume.bytes, volume.nodes, volume.paths, volume.states]);
    volume.text = [volume.id, volume.name, volume.nodes, volume.paths.map((m) => m.path), volume.states.flat()].flat().join(' ').toLowerCase();
    volume.level = volume.rank < 2 ? 'troubled' : '';
  }
  return [...all.values()];
}

function sift(rows) {
  const words = by('filter').value.toLowerCase().split(/\s+/).filter(Boolean);
  return rows.filter((row) => words.every((word) => row.text.includes(word)));
}

function work(told) {
  const number = (one) => `${one.bridge ? 'b' : 'd'}${one.number}`;
  const known = new Map(told.work.map((one) => [number(one), one]));
  return told.work.map((one) => {
    const before = one.behind.map((other) => known.get(number({ ...one, number: other }))).filter(Boolean);
    const told_of = before.map((other) => `${other.method}${other.began ? '' : ', which waits'}`);
    return { ...one, key: number(one), ahead: told_of, as: JSON.stringify([one, told_of, called(one)]) };
  });
}

// What is asked beside the page: how old, and whether an answer is missing.
function fresh(one, what) {
  const parts = [];
  if (one.age === null) parts.push(el('span', {}, one.asking === null ? `${what} not asked yet` : `${what}: no answer yet`));
  else parts.push(el('span', { class: one.age > STALE ? 'warn' : '' }, `${what} seen `, age(now() - one.age, ' ago')));
  if (one.asking !== null && one.asking > 5000) parts.push(el('span', { class: 'warn' }, 'asked for ', age(now() - one.asking), ' without an answer'));
  if (one.error) parts.push(el('span', { class: 'bad' }, `last answer: ${one.error}`));
  return parts;
}

const cards = new Map();

function card(name) {
  if (!cards.has(name)) {
    const plots = [
      new Plot('Calls / 10 s', [{ name: 'calls', of: 'calls' }], String, 5),
      new Plot('Failed / 10 s', [{ name: 'failed', of: 'failed' }], String, 5),
      new Plot('Latency', [{ name: 'longest', of: 'longest_ms' }, { name: 'mean', of: 'mean_ms' }], millis, 1),
    ];
    const state = el('p', { class: 'state' });
    const element = el('article', { 'data-backend': name }, el('h3', {}, name), state, el('div', { class: 'plots' }, plots.map((plot) => plot.figure)));
    cards.set(name, { element, state, plots, as: '' });
    by('backend-list').append(element);
  }
  return cards.get(name);
}

function backends(told) {
  // A young process has no hour to show.
  const wide = told.process && told.now - told.process.started < 900000 ? 90 : 360;
  for (const backend of told.backends) {
    const { state, plots, element } = card(backend.name);
    const parts = backend.trouble.map((ill) => el('span', { class: 'bad' }, chip('in trouble', 'bad'), ` ${ill.side}: ${ill.operation} failed ${plural(ill.failures, 'time', 'times')} since `, age(ill.since, ' ago'), `: ${ill.error}`));
    if (!parts.length) parts.push(chip('in order', 'good'));
    if (backend.listing) {
      parts.push(el('span', {}, plural(backend.listing.volumes, 'volume', 'volumes') + (backend.listing.more ? ' shown, there are more' : '')));
      parts.push(...fresh(backend.listing, 'listing'));
    }
    element.classList.toggle('troubled', backend.trouble.length > 0);
    state.replaceChildren(...parts);
    if (backend.oldest) {
      const long = backend.oldest.age > 10000;
      parts.push(el('span', { class: long ? 'warn' : '' }, `${plural(backend.running, 'call', 'calls')} under way, ${backend.oldest.operation} for `, age(now() - backend.oldest.age)));
    }
    const empty = new Array(360).fill(0);
    const history = told.history.find((one) => one.backend === backend.name)
      || { backend: backend.name, calls: empty, failed: empty, mean_ms: empty.map(() => null), longest_ms: empty.map(() => null) };
    const sum = (values) => values.reduce((one, other) => one + other, 0);
    const minute = sum(history.calls.slice(-6));
    const [calls, failed] = [sum(history.calls), sum(history.failed)];
    const took = sum(history.mean_ms.map((mean, at) => (mean || 0) * history.calls[at]));
    const longest = Math.max(0, ...history.longest_ms.filter((value) => value !== null));
    plots[0].show(history, told.step_s, wide, `${minute} in the last minute, ${calls} in the last hour`);
    plots[1].show(history, told.step_s, wide, calls ? `${failed} in the last hour, ${((100 * failed) / calls).toFixed(failed && failed * 1000 < calls ? 2 : 1)} %` : 'none');
    plots[2].show(history, told.step_s, wide, calls ? `mean ${millis(took / calls)}, longest ${millis(longest)}` : 'no calls');
  }
}

function sums(told, rows) {
  const waits = told.work.filter((one) => !one.began).length;
  const stands = told.failures.filter((one) => !one.overcome).length;
  const ill = told.backends.filter((one) => one.trouble.length).length;
  const tiles = [
    [`${told.backends.length - ill} of ${told.backends.length}`, 'backends in order', ill ? 'bad' : '', '#backends'],
    [told.work.length - waits, 'calls run', '', '#work'],
    [waits, waits === 1 ? 'call waits' : 'calls wait', waits ? 'waits' : '', '#work'],
    [stands, stands === 1 ? 'failure stands' : 'failures stand', stands ? 'bad' : '', '#failures'],
    [rows.length, rows.length === 1 ? 'volume' : 'volumes', '', '#volumes'],
  ];
  const list = by('sums');
  tiles.forEach(([number, words, level, to], at) => {
    let tile = list.children[at];
    if (!tile) {
      tile = el('li', {}, el('a', { href: to }, el('b'), ' ', el('span')));
      list.append(tile);
    }
    tile.className = level;
    say(tile.querySelector('b'), String(number));
    say(tile.querySelector('span'), words);
  });
}

function facts(told) {
  const process = told.process;
  say(by('driver'), process ? process.driver : 'Hawser');
  const pairs = process ? [['Role', process.role], ['Node', process.node], ['Version', process.version]] : [];
  const as = JSON.stringify([pairs, process && process.started]);
  if (by('facts').dataset.as === as) return;
  by('facts').dataset.as = as;
  if (process) document.title = `${process.node || process.driver} · Hawser ${process.role}`;
  const items = pairs.filter(([, value]) => value).map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value)));
  if (process) items.push(el('div', {}, el('dt', {}, 'Up'), el('dd', {}, age(process.started))));
  by('facts').replaceChildren(...items);
}

function show(told) {
  last = told;
  ahead = told.now - Date.now();
  facts(told);
  titles = new Map(told.volumes.map((volume) => [volume.id, volume.name]));
  const rows = volumes(told);
  sums(told, rows);
  backends(told);
  tables.work.show(work(told));
  const failures = told.failures.map((one) => ({ ...one, key: `${one.bridge} ${one.method} ${names(one)}`, as: JSON.stringify([one, called(one)]), level: one.overcome ? 'past' : '' }));
  tables.failures.show(failures.filter((one) => !one.overcome || by('overcome').checked), failures.length);
  const of_bridge = Boolean(told.process) && told.process.role === 'bridge';
  by('takeovers').hidden = !of_bridge;
  const unread = by('takeovers').querySelector('.banner');
  unread.hidden = !told.takeovers_error;
  say(unread, told.takeovers_error);
  tables.takeovers.show(told.takeovers.map((one) => ({ ...one, key: one.id, as: JSON.stringify(one) })));
  tables.volumes.show(sift(rows), rows.length);
  say(tables.volumes.none, rows.length ? 'No volume has all these words.' : 'No volume is known.');
  tick();
}

// Said only when it changes, so that nobody is told of every look.
function linked(level, text) {
  by('link').className = level;
  say(by('link'), text);
}

async function look() {
  try {
    const answer = await fetch('/status.json', { signal: AbortSignal.timeout(PATIENCE), cache: 'no-store' });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const told = await answer.json();
    show(told);
    linked('good', told.process ? 'Live' : 'The process is starting');
    document.body.classList.remove('lost');
  } catch (error) {
    document.body.classList.add('lost');
    linked('bad', last ? `No answer since ${new Date(last.now).toLocaleTimeString()}` : 'No answer');
  }
}

// One look at a time, and none while nobody sees the page.
async function live() {
  if (!document.hidden) await look();
  setTimeout(live, EVERY);
}

by('filter').addEventListener('input', () => last && show(last));
by('overcome').addEventListener('change', () => last && show(last));
document.addEventListener('visibilitychange', () => { if (!document.hidden) look(); });
setInterval(tick, 1000);
live();
