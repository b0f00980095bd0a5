// Prometheus's text format, as far as /metrics uses it.

const SAMPLE = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/** Families by name: {name, help, type, samples: [{labels, value}]}. Of a histogram only _sum and _count are kept. */
export function parseFigures(text) {
  const families = new Map();
  let family = null;
  for (const line of text.split("\n")) {
    const [, word, name, rest] = /^# (HELP|TYPE) (\S+) ?(.*)$/.exec(line) ?? [];
    if (word) {
      family = families.get(name) ?? { name, help: "", type: "", samples: [] };
      families.set(name, family);
      family[word.toLowerCase()] = rest;
      continue;
    }
    const sample = SAMPLE.exec(line);
    if (!sample || !family || sample[1].endsWith("_bucket") || sample[1].endsWith("_created")) continue;
    const part = /_(sum|count)$/.exec(sample[1])?.[1];
    const labels = Object.fromEntries(Array.from((sample[2] ?? "").matchAll(LABEL), ([, key, value]) => [key, value]));
    if (family.type === "histogram" && part) labels.of = part;
    family.samples.push({ labels, value: Number(sample[3]) });
  }
  for (const [name, { samples }] of families) if (!samples.length) families.delete(name);
  return families;
}
