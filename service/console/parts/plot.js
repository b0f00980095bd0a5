// Recipients per second over time, drawn by uPlot. Its figures are said in words as well.
import { html, useEffect, useRef } from "../html.js";
import { rate } from "../format.js";

const HEIGHT = 180;
const DARK = matchMedia("(prefers-color-scheme: dark)");
const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400]; // seconds

/** `points`: pairs of a time in seconds and a rate, in order of time. */
export function RatePlot({ points }) {
  const place = useRef(null);
  const plot = useRef(null);
  const shown = useRef(null);
  shown.current = columns(points);

  useEffect(() => {
    const element = place.current;
    const draw = () => {
      plot.current?.destroy();
      plot.current = new globalThis.uPlot(options(element), shown.current, element);
    };
    draw();
    const resized = new ResizeObserver(() => plot.current.setSize({ width: element.clientWidth, height: HEIGHT }));
    resized.observe(element);
    DARK.addEventListener("change", draw);
    return () => {
      DARK.removeEventListener("change", draw);
      resized.disconnect();
      plot.current.destroy();
      plot.current = null;
    };
  }, []);

  useEffect(() => {
    plot.current?.setData(shown.current);
  }, [points]);

  return html`<div class="plot" role="img" aria-label=${inWords(points)} ref=${place}></div>`;
}

export function inWords(points) {
  const rates = points.map(([, each]) => each);
  const highest = rates.reduce((most, each) => Math.max(most, each), 0);
  return `Recipients per second over time. Highest: ${rate(highest)}. Last: ${rate(rates.at(-1) ?? 0)}.`;
}

const columns = (points) => [points.map(([at]) => at), points.map(([, each]) => each)];

function options(place) {
  const style = getComputedStyle(place);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = {
    stroke: colour("--quiet"),
    font: `12px ${style.fontFamily}`,
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
  };
  return {
    width: place.clientWidth,
    height: HEIGHT,
    padding: [8, 36, 0, 0],
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, y: false },
    scales: { y: { range: (_plot, _least, most) => [0, Math.max(10, most * 1.1)] } },
    axes: [
      { ...axis, size: 28, space: 100, incrs: STEPS, values: (_plot, splits) => splits.map((each) => CLOCK.format(new Date(each * 1_000))) },
      { ...axis, size: 56, values: (_plot, splits) => splits.map(rate) },
    ],
    series: [
      {},
      {
        stroke: colour("--accent"),
        fill: colour("--accent-faint"),
        width: 2,
        points: { size: 5, fill: colour("--accent") },
      },
    ],
  };
}
