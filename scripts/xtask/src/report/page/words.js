"use strict";
// Numbers as words, and elements of the page.

const PAGE_SIZE = 4096;

const hex = (number) => "0x" + number.toString(16);

const grouped = (number) => number.toLocaleString("en");

const plural = (count, noun) => `${grouped(count)} ${noun}${count === 1 ? "" : "s"}`;

/** Returns a number of bytes in the largest unit that it is a multiple of. */
function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1024 && bytes % 1024 === 0 && unit < units.length - 1) {
    bytes /= 1024;
    unit += 1;
  }
  return `${bytes} ${units[unit]}`;
}

/** Returns the place of the first element that is not below `wanted`, in an ascending list. */
function lowerBound(list, wanted, key = (element) => element) {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (key(list[middle]) < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

const byId = (id) => document.getElementById(id);

/** Makes an element. What is given as text stays text: nothing of a trace is ever read as HTML. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "onclick") made.addEventListener("click", value);
    else if (value !== undefined && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== undefined));
  return made;
}
