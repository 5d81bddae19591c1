// Making elements and words. Nothing here reads text as markup: what comes from storage and tasks can only be text.
'use strict';

function el(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === true) element.setAttribute(name, '');
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ''));
  return element;
}

function svg(tag, attributes, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// By how much the clock of the process is ahead of this one.
let ahead = 0;
const now = () => Date.now() + ahead;

function span(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
}

function millis(ms) {
  if (ms === null) return '–';
  if (ms < 1) return `${Math.max(1, Math.round(ms * 1000))} µs`;
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 10000) return `${(ms / 1000).toFixed(1)} s`;
  return span(ms);
}

function size(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) {
    bytes /= 1024;
    unit += 1;
  }
  return `${Number.isInteger(bytes) ? bytes : bytes.toFixed(1)} ${units[unit]}`;
}

const plural = (count, one, many) => `${count} ${count === 1 ? one : many}`;

// For how long, counted on by tick().
function age(since, after) {
  const time = el('time', {
    datetime: new Date(since).toISOString(), title: new Date(since).toLocaleString(), 'data-since': since, 'data-after': after || '',
  });
  tell(time);
  return time;
}

function tell(time) {
  const text = span(now() - Number(time.dataset.since)) + time.dataset.after;
  if (time.textContent !== text) time.textContent = text;
}

function tick() {
  document.querySelectorAll('time[data-since]').forEach(tell);
}

// Sets an element's text and leaves it alone when it says so already.
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Ids and paths may be broken behind the signs that divide them.
function breakable(text) {
  return text.split(/(?<=[:/._-])/).flatMap((part, at) => (at ? [el('wbr'), part] : [part]));
}

